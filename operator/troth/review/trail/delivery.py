"""Delivery of entries to one sink, in order, until it has them."""

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from troth.review.trail.entry import Entry
from troth.review.trail.sinks import Sink, SinkError

MOST_WAITING_BYTES = 384 * 1024
"""Size of the entries that may wait for a sink. They are in the head, whose size is limited."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

log = structlog.get_logger()


class Backoff:
    """Pauses between attempts, each twice as long as the one before, up to half a minute."""

    def __init__(self) -> None:
        self._pause = _FIRST_PAUSE

    async def wait(self) -> None:
        """Wait for the next attempt."""
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


class Delivery:
    """Entries that wait for a sink."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.fault: str | None = None
        """Why the sink cannot be written at the moment, None if it can."""
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        self._changed = asyncio.Condition()
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether so many entries wait that no further ones may come."""
        return self._bytes >= MOST_WAITING_BYTES

    def put(self, entries: Sequence[Entry]) -> None:
        """Add entries at the end."""
        self._waiting.extend(entries)
        self._bytes += sum(len(each.line) for each in entries)
        if entries:
            self._arrived.set()

    def next_sequence(self, otherwise: int) -> int:
        """Return the number of the first entry that waits, or another one if none does."""
        return self._waiting[0].sequence if self._waiting else otherwise

    async def has_room(self) -> None:
        """Wait until few entries wait."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.full)

    async def has_delivered(self) -> None:
        """Wait until no entry waits."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting)

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._deliver(tuple(self._waiting))

    async def _deliver(self, entries: Sequence[Entry]) -> None:
        backoff = Backoff()
        while True:
            try:
                await self.sink.write(entries)
            except SinkError as error:
                if str(error) != self.fault:
                    _log_fault(self.sink.name, str(error))
                    self.fault = str(error)
                await backoff.wait()
            else:
                break
        self.fault = None
        async with self._changed:
            for each in entries:
                self._waiting.popleft()
                self._bytes -= len(each.line)
            self._changed.notify_all()


def _log_fault(sink: str, fault: str) -> None:
    log.error("audit log not written", sink=sink, fault=fault)
