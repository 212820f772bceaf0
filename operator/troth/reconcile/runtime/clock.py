"""Clocks: the system's, and one that tests can move."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from troth.planning.moment import Moment

LONGEST_NAP = 30.0
"""Maximum seconds between two reads of the wall clock while waiting, in case it is set."""


class Clock(Protocol):
    """Source of the current time, and of waits."""

    def now(self) -> datetime:
        """Return the current time, aware UTC."""

    def uptime(self) -> float:
        """Return the seconds of a monotonic clock."""

    async def until(self, moment: datetime, uptime: float) -> None:
        """Wait until `moment` or until `uptime`, whichever comes first."""


class SystemClock:
    """The system's clock."""

    def uptime(self) -> float:
        """Return the seconds of the system's monotonic clock."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the current time, aware UTC."""
        return datetime.now(UTC)

    async def until(self, moment: datetime, uptime: float) -> None:
        """Wait until `moment`, even if the wall clock is set meanwhile, or until `uptime`."""
        while True:
            left = min((moment - self.now()).total_seconds(), uptime - self.uptime())
            if left <= 0:
                return
            await asyncio.sleep(min(left, LONGEST_NAP))


class Moments:
    """Reads a clock, and measures how far the wall clock was set forward since process start."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._epoch = clock.now() - timedelta(seconds=clock.uptime())

    def read(self) -> Moment:
        """Return the moment. Only whole seconds set forward count; setting back never does."""
        now, uptime = self._clock.now(), self._clock.uptime()
        ahead = (now - self._epoch).total_seconds() - uptime
        return Moment(now, uptime, timedelta(seconds=max(round(ahead), 0)))


class MovableClock:
    """A clock that advances only when it is moved. Moving it forward also advances its uptime."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment
        self._uptime = 0.0
        self._moved = asyncio.Condition()

    def now(self) -> datetime:
        """Return the current time, aware UTC."""
        return self._moment

    async def until(self, moment: datetime, uptime: float) -> None:
        """Wait until the clock is at or past `moment`, or its uptime reaches `uptime`."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._moment >= moment or self._uptime >= uptime)

    def uptime(self) -> float:
        """Return the seconds that have passed by `move_to`."""
        return self._uptime

    async def move_to(self, moment: datetime) -> None:
        """Let time pass until `moment`. A `moment` in the past only sets the wall clock."""
        async with self._moved:
            self._uptime += max((moment - self._moment).total_seconds(), 0.0)
            self._moment = moment
            self._moved.notify_all()

    async def jump_to(self, moment: datetime) -> None:
        """Set the wall clock, forward or back, without letting time pass."""
        async with self._moved:
            self._moment = moment
            self._moved.notify_all()
