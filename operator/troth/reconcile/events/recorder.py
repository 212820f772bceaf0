"""Event recorder: posts Events in order, outside the reconcile loop.

An Event tells a person what happened; nothing depends on it. When a fleet becomes ready at once,
there are as many Events as statuses, and no status may wait for an Event.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from troth.cluster.errors import ApiError
from troth.reconcile.loop.lease_fence import LeaderFence
from troth.world.facts.objects import Manifest

MOST = 20_000
"""Maximum number of waiting Events. The recorder drops and logs any beyond it."""
log = structlog.get_logger()


class EventRecorder:
    """Posts Events in order. `close` drops the Events that still wait."""

    def __init__(
        self, create: Callable[[Manifest], Awaitable[Manifest]], leader_fence: LeaderFence
    ) -> None:
        self._create = create
        self._leader_fence = leader_fence
        self._waiting: deque[Manifest] = deque()
        self._task: asyncio.Task[None] | None = None

    def record(self, event: Manifest) -> None:
        """Queue an Event to be posted."""
        if len(self._waiting) >= MOST:
            _lost(event, "TooMany")
            return
        self._waiting.append(event)
        if self._task is None:
            self._task = asyncio.create_task(self._post_all(), name="Events")

    async def flush(self) -> None:
        """Wait until all queued Events are posted."""
        while self._task is not None:
            await asyncio.wait({self._task})

    async def close(self) -> None:
        """Cancel the posting of Events."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _post_all(self) -> None:
        try:
            while self._waiting:
                await self._leader_fence.gained()
                await self._make(self._waiting.popleft())
        finally:
            self._task = None

    async def _make(self, event: Manifest) -> None:
        try:
            await self._create(event)
        except ApiError as error:
            # no Event can be created in a terminating namespace; the log keeps it
            _lost(event, error.reason)
        except Exception as error:  # one Event must not stop the others
            log.error("event not created", error=type(error).__name__, exc_info=True)  # noqa: G201


def _lost(event: Manifest, why: str) -> None:
    about, said = event["regarding"], f"{event['reason']}: {event['note']}"
    log.warning("event lost", kind=about["kind"], name=about["name"], reason=why, lost=said)
