"""Random choices that depend on a seed only.

Python keeps the sequence of `random()` for a seed in every version, but not that of `choice` or
`sample`, so this module implements them.
"""

import random
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Draws from small universes, so that interesting combinations are frequent."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self.rare = 0.03
        """Probability that `sometimes` is true and `often` is false."""

    def below(self, bound: int) -> int:
        """Return a number from 0 up to, but not including, a bound."""
        return int(self._random.random() * bound)

    def chance(self, probability: float) -> bool:
        """Return true with this probability."""
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
