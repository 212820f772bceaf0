"""One thing to tell about a resource, before it is an Event."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell about a resource: a CamelCase reason, and a sentence."""

    reason: str
    note: str
    type: Literal["Normal", "Warning"] = "Normal"
