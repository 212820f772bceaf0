"""Cache of results that depend only on facts, valid while these are the same objects.

A broker has thousands of grants. When one changes, results of the others are not computed again.
"""

import operator
from collections.abc import Callable
from typing import Any, TypeVar

from troth.resources.references import Ref

T = TypeVar("T")


class Memo:
    """Cache of results about resources; facts are compared by identity, not by content."""

    def __init__(self) -> None:
        self._known: dict[Ref, dict[str, tuple[tuple[object, ...], Any]]] = {}

    def of(self, what: str, ref: Ref, facts: tuple[object, ...], work: Callable[[], T]) -> T:
        """Return the last result of `work` for the same facts, or call it."""
        known = self._known.get(ref, {}).get(what)
        if known is not None and _same(known[0], facts):
            found: T = known[1]
            return found
        found = work()
        self._known.setdefault(ref, {})[what] = facts, found
        return found

    def forget(self, ref: Ref) -> None:
        """Remove the results about a resource, because it does not exist any more."""
        self._known.pop(ref, None)

    def clear(self) -> None:
        """Remove all results."""
        self._known.clear()


def _same(known: tuple[object, ...], facts: tuple[object, ...]) -> bool:
    return len(known) == len(facts) and all(map(operator.is_, known, facts))
