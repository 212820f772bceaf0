"""The fence of the Lease: only the replica that holds the lease may write."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Protocol

LOOK = 0.5
"""Maximum seconds between two checks of the fence while a block runs."""


class Fence(Protocol):
    """Whether this replica may write: anything, or the keys of one shard."""

    @property
    def remaining(self) -> float:
        """Seconds for which this replica may certainly write."""


class LeaderFence(Fence, Protocol):
    """Fence of a replica, which its workers wait for."""

    async def gained(self) -> None:
        """Wait until this replica may write."""


_CURRENT: ContextVar[Fence | None] = ContextVar("fence", default=None)
"""Fence of what the current task writes."""


class LeaseLost(Exception):  # noqa: N818 - no error of what was being done
    """This replica may not write now."""


def require_lease(fence: Fence) -> None:
    """Raise `LeaseLost` unless this replica may write now. May be called from any thread."""
    if fence.remaining <= 0:
        raise LeaseLost


def write_under(fence: Fence) -> None:
    """Let a fence be that of all that the current task writes from now on."""
    _CURRENT.set(fence)


def may_write(fence: Fence) -> bool:
    """Return whether the current task may write now; `fence` is for tasks without their own."""
    return (_CURRENT.get() or fence).remaining > 0


@asynccontextmanager
async def leading(fence: Fence) -> AsyncIterator[None]:
    """Run a block for as long as this replica may write.

    A renewal of the lease extends the time. Raises `LeaseLost` and cancels the block once the time
    is over, and at once if it is over already.
    """
    require_lease(fence)
    before = _CURRENT.set(fence)
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
    finally:
        _CURRENT.reset(before)
