"""The fence of the Lease: only the replica that holds the lease may write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

LOOK = 0.5
"""Maximum seconds between two checks of the fence while a block runs."""


class LeaderFence(Protocol):
    """Whether this replica may write."""

    @property
    def remaining(self) -> float:
        """Seconds for which this replica may certainly write."""

    async def gained(self) -> None:
        """Wait until this replica may write."""


class LeaseLost(Exception):  # noqa: N818 - no error of what was being done
    """This replica may not write now."""


def require_lease(fence: LeaderFence) -> None:
    """Raise `LeaseLost` unless this replica may write now. May be called from any thread."""
    if fence.remaining <= 0:
        raise LeaseLost


@asynccontextmanager
async def leading(fence: LeaderFence) -> AsyncIterator[None]:
    """Run a block for as long as this replica may write.

    A renewal of the lease extends the time. Raises `LeaseLost` and cancels the block once the time
    is over, and at once if it is over already.
    """
    require_lease(fence)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(None) as limit:
            checking: asyncio.TimerHandle | None = None

            def look() -> None:
                nonlocal checking
                left = fence.remaining
                if left > 0:
                    checking = loop.call_later(min(left, LOOK), look)
                else:
                    limit.reschedule(loop.time())

            look()
            try:
                yield
            finally:
                if checking is not None:
                    checking.cancel()
    except TimeoutError:
        if limit.expired():
            raise LeaseLost from None
        raise
