"""A notice about a resource, from which an Event is made."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Notice:
    """Notice about a resource: a CamelCase reason and a sentence."""

    reason: str
    note: str
    type: Literal["Normal", "Warning"] = "Normal"
