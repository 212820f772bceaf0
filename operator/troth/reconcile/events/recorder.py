"""Event recorder: posts Events in order, outside the reconcile loop.

An Event tells a person what happened; nothing depends on it. When a fleet becomes ready at once,
there are as many Events as statuses, and no status may wait for an Event.

A note that is repeated is a series: only its first, second, fourth, eighth, … occurrence is posted,
with the count. So two controllers that undo each other's writes cannot fill the API server's store.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.reconcile.runtime.lease_fence import LeaderFence, write_under
from troth.world.facts.objects import Manifest
from troth.world.origin import origin

MOST = 20_000
"""Maximum number of waiting Events. The recorder drops and logs any beyond it."""
SERIES_LASTS = timedelta(minutes=10)
"""Time after which a note without a repetition begins a new series."""
MOST_SERIES = 10_000
"""Maximum number of series that are counted."""
log = structlog.get_logger()


class SeriesCounter:
    """Counts repetitions of notes, by the object that they are about."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str], tuple[int, datetime]] = OrderedDict()

    def counted(self, event: Manifest) -> Manifest | None:
        """Return the Event to post, with its count if it is a repetition, None to post none."""
        at = datetime.fromisoformat(event["eventTime"])
        series = str(event["regarding"].get("uid")), event["reason"], event["note"]
        count, last = self._known.pop(series, (0, at))
        count = count + 1 if at - last < SERIES_LASTS else 1
        self._known[series] = count, at
        self._forget_ended(at)
        if count == 1:
            return event
        if count & (count - 1):  # no power of two
            return None
        return {**event, "series": {"count": count, "lastObservedTime": event["eventTime"]}}

    def _forget_ended(self, now: datetime) -> None:
        """Drop the series that have ended, and the oldest ones if there are too many."""
        while len(self._known) > 1:
            series, (_, last) = next(iter(self._known.items()))
            if len(self._known) <= MOST_SERIES and now - last < SERIES_LASTS:
                return
            del self._known[series]


class EventRecorder:
    """Posts Events in order. `close` drops the Events that still wait."""

    def __init__(
        self, create: Callable[[Manifest], Awaitable[Manifest]], leader_fence: LeaderFence
    ) -> None:
        self._create = create
        self._leader_fence = leader_fence
        self._waiting: deque[Manifest] = deque()
        self._series = SeriesCounter()
        self._task: asyncio.Task[None] | None = None

    def record(self, event: Manifest) -> None:
        """Queue an Event to be posted, unless it only repeats others."""
        counted = self._series.counted(event)
        if counted is None:
            return
        if len(self._waiting) >= MOST:
            _lost(event, {"reason": "TooMany"})
            return
        self._waiting.append(counted)
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
        write_under(self._leader_fence)  # not that of the key with the first Event
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
            if self._leader_fence.remaining <= 0:  # it was not sent, and waits for the next lease
                self._waiting.appendleft(event)
                return
            # no Event can be created in a terminating namespace; the log keeps it
            _lost(event, logged(error))
        except Exception as error:  # noqa: BLE001 - one Event must not stop the others
            log.error("event not created", error=origin(error))  # noqa: TRY400


def _lost(event: Manifest, why: dict[str, object]) -> None:
    about, said = event["regarding"], f"{event['reason']}: {event['note']}"
    log.warning("event lost", kind=about["kind"], name=about["name"], lost=said, **why)
