"""What was worked out of facts, for as long as these are the very same objects.

A broker has thousands of grants, and when one of them changes the others have not: nothing that
follows from them alone is worked out again.
"""

import operator
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """Results by what they are of; facts are compared as objects, and never looked into."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[tuple[object, ...], Any]] = {}

    def of(self, what: Hashable, facts: tuple[object, ...], work: Callable[[], T]) -> T:
        """Return what `work` returned last for the same facts, or does now."""
        known = self._known.get(what)
        if known is not None and _same(known[0], facts):
            found: T = known[1]
            return found
        found = work()
        self._known[what] = facts, found
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()


def _same(known: tuple[object, ...], facts: tuple[object, ...]) -> bool:
    return len(known) == len(facts) and all(map(operator.is_, known, facts))
