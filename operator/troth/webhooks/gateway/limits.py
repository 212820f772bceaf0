"""How many deliveries of an endpoint are let through: as many a second as it says, and no more at
once than in one second.

What is counted is verified, and new: else whoever knows the URL, or has a copy of one delivery,
could use up what is the sender's.
"""

import time
from collections.abc import Callable


class Bucket:
    """A token bucket (as RFC 2697 has it, with one rate), full at first."""

    __slots__ = ("_clock", "_filled", "_level", "rate")

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._level = float(rate)
        self._filled = clock()

    def take(self) -> bool:
        """Take one, and say whether there was one."""
        now = self._clock()
        self._level = min(float(self.rate), self._level + (now - self._filled) * self.rate)
        self._filled = now
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def give_back(self) -> None:
        """Give back one that was taken for what is not let through."""
        self._level = min(float(self.rate), self._level + 1)
