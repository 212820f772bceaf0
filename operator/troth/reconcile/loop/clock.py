"""The clock, passed in so that tests can move it."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from troth.planning.moment import Moment

LONGEST_NAP = 30.0
"""Seconds after which a sleeper looks at the wall clock again, in case somebody set it."""


class Clock(Protocol):
    """What time it is, and waiting until it is later."""

    def now(self) -> datetime:
        """Return the moment, aware UTC."""

    def uptime(self) -> float:
        """Return seconds on a clock that nobody can set."""

    async def until(self, moment: datetime, uptime: float) -> None:
        """Wait until a moment, or until `uptime`, whichever comes first."""


class SystemClock:
    """The machine's clock."""

    def uptime(self) -> float:
        """Return seconds on the machine's monotonic clock."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the moment, aware UTC."""
        return datetime.now(UTC)

    async def until(self, moment: datetime, uptime: float) -> None:
        """Wait until a moment, however the clock is set meanwhile, or until `uptime`."""
        while True:
            left = min((moment - self.now()).total_seconds(), uptime - self.uptime())
            if left <= 0:
                return
            await asyncio.sleep(min(left, LONGEST_NAP))


class Moments:
    """Reads a clock; knows how far the wall clock has been set since the process began."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._epoch = clock.now() - timedelta(seconds=clock.uptime())

    def read(self) -> Moment:
        """Return the moment. Only whole seconds count as set forward, and none as set back."""
        now, uptime = self._clock.now(), self._clock.uptime()
        ahead = (now - self._epoch).total_seconds() - uptime
        return Moment(now, uptime, timedelta(seconds=max(round(ahead), 0)))


class MovableClock:
    """A clock that stands still until it is moved; it lives through what it is moved forward."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment
        self._uptime = 0.0
        self._moved = asyncio.Condition()

    def now(self) -> datetime:
        """Return the moment, aware UTC."""
        return self._moment

    async def until(self, moment: datetime, uptime: float) -> None:
        """Wait until the clock is moved to a moment or past it, or has lived so long."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._moment >= moment or self._uptime >= uptime)

    def uptime(self) -> float:
        """Return the seconds lived through."""
        return self._uptime

    async def move_to(self, moment: datetime) -> None:
        """Let time pass until a moment; backwards the clock is only set."""
        async with self._moved:
            self._uptime += max((moment - self._moment).total_seconds(), 0.0)
            self._moment = moment
            self._moved.notify_all()

    async def jump_to(self, moment: datetime) -> None:
        """Set the wall clock, forward or back, without time passing."""
        async with self._moved:
            self._moment = moment
            self._moved.notify_all()
