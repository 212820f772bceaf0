"""Conditions of a kind, and what ends each of their reasons."""

from dataclasses import dataclass
from enum import Enum

INTERNAL_ERROR = "InternalError"
"""Reason of a condition whose planner raised an exception, which is a fault of Troth."""


class Course(Enum):
    """What ends a reason."""

    STAYS = "manual action"
    PASSES = "no manual action"
    SOON = "no manual action, within moments"


@dataclass(frozen=True, slots=True)
class ConditionType:
    """A condition of a kind, and its reasons.

    A condition that is True has a reason of `met`. Otherwise it has one of `stays`, `passes` or
    `soon`, by what ends it. One that is not `listed` in the status only decides about `Ready`.
    """

    name: str
    met: frozenset[str]
    stays: frozenset[str]
    passes: frozenset[str]
    soon: frozenset[str]
    listed: bool = True

    @property
    def reasons(self) -> frozenset[str]:
        """Every reason of the condition."""
        return self.met | self.stays | self.passes | self.soon

    def course(self, reason: str) -> Course:
        """Return what ends a reason: manual action, if the reason is unknown."""
        if reason in self.soon:
            return Course.SOON
        return Course.PASSES if reason in self.passes else Course.STAYS


def condition(
    name: str,
    *,
    met: str = "",
    stays: str = "",
    passes: str = "",
    soon: str = "",
    listed: bool = True,
) -> ConditionType:
    """Return a condition from its reasons, separated by spaces.

    The planner of every condition may raise an exception.
    """
    return ConditionType(
        name,
        met=frozenset(met.split()),
        stays=frozenset([INTERNAL_ERROR, *stays.split()]),
        passes=frozenset(passes.split()),
        soon=frozenset(soon.split()),
        listed=listed,
    )
