"""Coverage of a record: types of steps, and reasons of conditions, edges and Events."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from troth.planning.plan import Plan
from troth.planning.steps.certificates import IssueLeaf


class Coverage:
    """Counts the worlds in which each type of step and each reason occurs."""

    def __init__(self) -> None:
        self.steps: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._steps: set[str] = set()
        self._reasons: set[str] = set()

    def count(self, plan: Plan, notices: Iterable[Any]) -> None:
        """Add the steps and reasons of a plan and its notices."""
        self._steps |= {type(step).__name__ for step in plan.steps}
        self.told(notices)
        self._reasons |= {step.reason for step in plan.steps if isinstance(step, IssueLeaf)}
        self._reasons |= set(reasons_in(plan.status))

    def told(self, notices: Iterable[Any]) -> None:
        """Add the reasons of Events."""
        self._reasons |= {notice.reason for notice in notices}

    def end_of_world(self) -> None:
        """Count everything added since the previous call."""
        self.steps.update(self._steps)
        self.reasons.update(self._reasons)
        self._steps, self._reasons = set(), set()


def reasons_in(value: Any) -> Iterator[str]:
    """Yield every `type`, `reason`, `state` and `phase` in a status, at any depth."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name in ("type", "reason", "state", "phase") and isinstance(member, str) and member:
                yield member
            else:
                yield from reasons_in(member)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from reasons_in(each)
