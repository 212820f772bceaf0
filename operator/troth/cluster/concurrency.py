"""Shares of what one process does at once, so that no caller takes the place of all others."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

SHARE = 4
"""A caller may have one part in so many of what is done at once."""


class ShareExceededError(Exception):
    """The caller has as much as it may have at once."""


class Shares:
    """Counts what each caller has at once."""

    def __init__(self, at_once: int) -> None:
        self._most = max(at_once // SHARE, 1)
        self._open: Counter[Hashable] = Counter()

    @contextmanager
    def part(self, caller: Hashable) -> Iterator[None]:
        """Count one part while the context lasts; raises `ShareExceededError` if it is too much."""
        if self._open[caller] >= self._most:
            raise ShareExceededError
        self._open[caller] += 1
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]
