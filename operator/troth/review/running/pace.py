"""Rate of redrives: how many letters a batch has, and when the next one may begin."""

import asyncio
import time
from collections.abc import Awaitable, Callable

MOST_TOGETHER = 256
"""Maximum number of letters of a batch."""
MOST_BYTES_TOGETHER = 16 * 1024 * 1024
"""Maximum size of the messages of a batch, unless one message alone is larger."""

_ROUNDING = 1e-6
"""Missing part of a token that counts as none: to wait for it could take no time, for ever."""
_LOOK_SECONDS = 1.0
"""Maximum time between two looks whether the review is stopped."""
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def per_second(rate: str) -> float:
    """Return the letters per second of a rate such as `50/s`."""
    count, _, unit = rate.partition("/")
    return int(count) / _SECONDS[unit]


def together(rate: str) -> int:
    """Return the maximum number of letters of a batch: those of one second, and at least one.

    A withdrawal stops a review after its batch, and after a crash a batch may be repeated.
    """
    return max(1, min(MOST_TOGETHER, int(per_second(rate))))


class TokenBucket:
    """Tokens that accrue at a rate, for at most one batch. The first batch needs not wait."""

    def __init__(
        self,
        rate: str,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._rate = per_second(rate)
        # at more than a batch per second, a late batch must not slow down the next ones
        self._most = max(1.0, float(together(rate)), self._rate)
        self._tokens = self._most
        self._monotonic = monotonic
        self._sleep = sleep
        self._at = monotonic()

    async def take(self, count: int, stopped: Callable[[], bool] = lambda: False) -> None:
        """Wait until there are tokens for `count` letters, at most one batch, and take them.

        If `stopped` says so, it returns without them, within a second. At one letter an hour, a
        withdrawal cannot wait for the next token.
        """
        while not stopped():
            now = self._monotonic()
            # a clock that goes back gives no tokens, and takes none
            self._tokens = min(self._most, self._tokens + self._rate * max(0.0, now - self._at))
            self._at = now
            missing = count - self._tokens
            if missing <= _ROUNDING:
                self._tokens -= count
                return
            await self._sleep(min(missing / self._rate, _LOOK_SECONDS))

    def give_back(self, count: int) -> None:
        """Take back the tokens of letters that were not delivered after all."""
        self._tokens = min(self._most, self._tokens + count)
