"""The clock, passed in so that tests can move it."""

import asyncio
from datetime import UTC, datetime
from typing import Protocol

LONGEST_NAP = 30.0
"""Seconds after which a sleeper looks at the wall clock again, in case somebody set it."""


class Clock(Protocol):
    """What time it is, and waiting until it is later."""

    def now(self) -> datetime:
        """Return the moment, aware UTC."""

    async def until(self, moment: datetime) -> None:
        """Wait until a moment."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the moment, aware UTC."""
        return datetime.now(UTC)

    async def until(self, moment: datetime) -> None:
        """Wait until a moment, however the clock is set meanwhile."""
        while True:
            left = (moment - self.now()).total_seconds()
            if left <= 0:
                return
            await asyncio.sleep(min(left, LONGEST_NAP))


class MovableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment
        self._moved = asyncio.Condition()

    def now(self) -> datetime:
        """Return the moment, aware UTC."""
        return self._moment

    async def until(self, moment: datetime) -> None:
        """Wait until the clock is moved to a moment or past it."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._moment >= moment)

    async def move_to(self, moment: datetime) -> None:
        """Set the clock, forward or back."""
        async with self._moved:
            self._moment = moment
            self._moved.notify_all()
