"""Changes of a schema that are, or may be, incompatible."""

from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """Who may still have the old schema."""

    PRODUCERS = "producers"
    """Messages of the old schema are not valid in the new one."""
    CONSUMERS = "consumers"
    """Messages of the new schema are not valid in the old one."""


class Verdict(StrEnum):
    """Answer of a comparison."""

    COMPATIBLE = "Compatible"
    INCOMPATIBLE = "Incompatible"
    UNDECIDED = "Undecided"


@dataclass(frozen=True, slots=True)
class Change:
    """Incompatible or undecided change of a schema: whom it affects, and its place in a message."""

    side: Side
    path: str
    """Place in a message, such as /lines/*/sku."""
    sentence: str
    certain: bool = True
    """Whether the change is incompatible; otherwise it depends on what messages contain."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Reason why a message of one schema may not be valid in another."""

    path: str
    sentence: str
    certain: bool = True


def verdict(changes: tuple[Change, ...], side: Side) -> Verdict:
    """Return the answer for one side."""
    of_side = [each for each in changes if each.side is side]
    if any(each.certain for each in of_side):
        return Verdict.INCOMPATIBLE
    return Verdict.UNDECIDED if of_side else Verdict.COMPATIBLE
