"""A notice about a resource, from which an Event is made."""

from dataclasses import dataclass
from typing import Literal

REPAIRED = "Repaired"
"""Reason of a notice about drift that was restored."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Notice about a resource: a CamelCase reason and a sentence."""

    reason: str
    note: str
    type: Literal["Normal", "Warning"] = "Normal"
