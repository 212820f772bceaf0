"""Rate limit of an endpoint: deliveries per second, with a burst of the same size, at least one.

Only verified and new deliveries count. Otherwise anybody who knows the URL, or has a copy of one
delivery, could use up the sender's share.
"""

import time
from collections.abc import Callable


class Bucket:
    """Token bucket (RFC 2697, with a single rate), full at the beginning."""

    __slots__ = ("_clock", "_filled", "_level", "_most", "rate")

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._level = self._most = max(float(rate), 1.0)
        self._filled = clock()

    def take(self) -> bool:
        """Take one token, and return whether there was one."""
        now = self._clock()
        self._level = min(self._most, self._level + (now - self._filled) * self.rate)
        self._filled = now
        if self._level < 1:
            return False
        self._level -= 1
        return True

    def give_back(self) -> None:
        """Return one token, for a delivery that is not forwarded."""
        self._level = min(self._most, self._level + 1)
