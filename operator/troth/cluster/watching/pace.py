"""The rate at which informers that share an API server begin to list and watch.

Troth that watches some namespaces has hundreds of informers. After a start, and after a restart of
the API server, all of them have a request to send at the same moment.
"""

import asyncio

RATE = 50.0
"""Rounds of a list and a watch, or of a watch, that begin in a second."""
BURST = 32
"""Rounds that begin at once after a quiet time; more than Troth that watches all namespaces has."""
LISTS = 32
"""Lists in progress; half of the connections, so that other requests do not wait for lists."""


class Pace:
    """Rate of the rounds of informers, and a limit for lists in progress."""

    def __init__(self, rate: float = RATE, burst: int = BURST, lists: int = LISTS) -> None:
        self.listing = asyncio.Semaphore(lists)
        """What an informer holds during a list."""
        self._interval = 1 / rate
        self._burst = burst
        self._due = float("-inf")
        """Time of the last turn, at the earliest so that a burst may follow."""

    async def turn(self) -> None:
        """Wait until a round may begin. Rounds begin in the order of these calls."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - self._burst * self._interval) + self._interval
        if self._due > now:
            await asyncio.sleep(self._due - now)
