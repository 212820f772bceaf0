"""Choices that follow a seed, and nothing else.

Python promises the same `random()` for the same seed in every version; what it makes of it in
`choice` or `sample` it does not promise, so they are here.
"""

import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Draws from small universes, so that what matters happens often."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self.rare = 0.03
        """How likely is what happens seldom, and what is usual does not."""

    def below(self, bound: int) -> int:
        """Return a number from 0 up to a bound."""
        return int(self._random.random() * bound)

    def chance(self, probability: float) -> bool:
        """Return whether something is so that seldom."""
        return self._random.random() < probability

    def often(self) -> bool:
        return not self.chance(self.rare)

    def sometimes(self) -> bool:
        return self.chance(self.rare)

    def half(self) -> bool:
        return self.chance(0.5)

    def pick(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.below(len(items))]

    def subset(self, items: Iterable[T], probability: float = 0.5) -> list[T]:
        """Return some of the items, in their order."""
        return [each for each in items if self.chance(probability)]

    def some(self, items: Sequence[T], probability: float = 0.5) -> list[T]:
        """Return at least one of the items, in their order."""
        return self.subset(items, probability) or [self.pick(items)]
