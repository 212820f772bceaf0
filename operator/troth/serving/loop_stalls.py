"""The longest stall of an event loop, as a metric.

While one callback runs, nothing else runs: no lease renewal, no probe, no delivery. A stall is the
delay of a timer of the loop.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Gauge

INTERVAL = 0.05
"""Seconds between two timers."""
SLOT = 60.0
SLOTS = 5
"""Number of one-minute slots for which a stall is reported, so that every scraper sees it."""


class LongestStall:
    """The longest stall recorded in the last `SLOTS` slots. Times are in seconds."""

    def __init__(self) -> None:
        self._longest: dict[int, float] = {}

    def note(self, stall: float, now: float) -> None:
        """Record a stall that has just ended."""
        slot = int(now // SLOT)
        self._longest = {each: most for each, most in self._longest.items() if each > slot - SLOTS}
        self._longest[slot] = max(stall, self._longest.get(slot, 0.0))

    def at(self, now: float) -> float:
        """Return the longest stall, 0 if there is none."""
        slot = int(now // SLOT)
        return max((m for each, m in self._longest.items() if each > slot - SLOTS), default=0.0)


@asynccontextmanager
async def stalls_measured(registry: CollectorRegistry) -> AsyncIterator[None]:
    """Measure the stalls of the running loop while the context is open, and export the longest."""
    now = asyncio.get_running_loop().time
    longest, due = LongestStall(), now() + INTERVAL

    async def measure() -> None:
        nonlocal due
        while True:
            await asyncio.sleep(max(due - now(), 0))
            longest.note(max(now() - due, 0.0), now())
            due = now() + INTERVAL

    gauge = Gauge(
        "troth_event_loop_longest_stall_seconds",
        "Longest time in the last 5 minutes that one callback blocked the event loop.",
        registry=registry,
    )
    # a scrape right after a stall may run before the timer fires
    gauge.set_function(lambda: max(longest.at(now()), now() - due))
    task = asyncio.create_task(measure(), name="event loop stalls")
    try:
        yield
    finally:
        registry.unregister(gauge)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
