"""Turns on the event loop, so that few plans run in one iteration of it.

Each iteration runs whatever is ready, and timers run only between iterations. If every worker had a
long plan in the same iteration, leases and probes would wait for all of these plans.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 0.02
"""Seconds of an iteration that plans may take before the next one has to wait for another."""


class Turns:
    """The time that plans have taken in the current iteration of the loop."""

    def __init__(self) -> None:
        self._taken = 0.0

    async def take(self) -> None:
        """Wait for an iteration in which a plan may begin."""
        while self._taken > SHARE:  # noqa: ASYNC110 - an iteration that begins wakes nobody
            await asyncio.sleep(0)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the time that the context takes, in which nothing is awaited."""
        began = time.perf_counter()
        try:
            yield
        finally:
            if not self._taken:
                asyncio.get_running_loop().call_soon(self._begin_iteration)
            self._taken += time.perf_counter() - began

    def _begin_iteration(self) -> None:
        self._taken = 0.0
