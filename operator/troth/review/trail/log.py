"""The audit log: appends decisions to the chain, and returns once they cannot be lost.

The head is written first, then the lines. One write of the head has all entries that arrived while
the one before was under way. What fails is tried again, for ever: while the log cannot be written,
`append` does not return, and its caller carries out nothing.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import time
from typing import TypeVar

import structlog

from troth.cluster.errors import ApiError
from troth.edge.events.seal.signer import CurrentSigner
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import IdentityError
from troth.review.trail.decisions import Decision, LogBegan, Written, parts
from troth.review.trail.delivery import Backoff, Delivery
from troth.review.trail.entry import Entry, write
from troth.review.trail.head import Head, HeadError, empty_head
from troth.review.trail.head_store import HeadStore, OvertakenError
from troth.review.trail.metrics import AuditLogMetrics
from troth.review.trail.sinks import Sink
from troth.review.trail.verification import check_head

MOST_TOGETHER = 16
"""Maximum number of entries in one write of the head, whose size is limited."""

log = structlog.get_logger()
T = TypeVar("T")


class ClosedError(Exception):
    """The log is closed; the entry may be written or not."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """Decision that waits. Its future, if it has one, gets the number of its entry."""

    decision: Written
    future: asyncio.Future[int] | None = None


class AuditLog:
    """The audit log of one worker. `run` writes what `append` is given."""

    def __init__(
        self,
        store: HeadStore,
        identity: Identity,
        sinks: Sequence[Sink],
        metrics: AuditLogMetrics,
        *,
        clock: Callable[[], float] = time,
    ) -> None:
        """`identity` signs. `clock` returns seconds since the epoch."""
        self._store = store
        self._identity = identity
        self._signer = CurrentSigner()
        self._clock = clock
        self._metrics = metrics
        self._deliveries = [Delivery(each) for each in sinks]
        self._queue: deque[_Waiting] = deque()
        self._taken: list[_Waiting] = []
        """Decisions whose entries are being written."""
        self._arrived = asyncio.Event()
        self._fault: str | None = None
        self._closed: Exception | None = None
        for each in self._deliveries:
            metrics.pending(each.sink.name, partial(self._pending, each))

    @property
    def fault(self) -> str | None:
        """Why no decision can be appended at the moment, None if one can."""
        holding = (each for each in self._deliveries if each.sink.required or each.full)
        return self._fault or next((each.fault for each in holding if each.fault), None)

    def _pending(self, delivery: Delivery) -> int:
        return len(self._queue) + len(self._taken) + len(delivery)

    async def append(self, entry: Decision) -> int:
        """Append a decision, and return the number of its entry once it is durable.

        That is the last entry if it needs several. If the caller is cancelled, what is not being
        written yet is dropped. Raises `OvertakenError` or `ClosedError` once the log has ended.
        """
        if self._closed is not None:
            raise self._closed
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting = [_Waiting(each) for each in parts(entry)]
        waiting[-1].future = future
        self._queue.extend(waiting)
        self._arrived.set()
        try:
            return await future
        except asyncio.CancelledError:
            for each in waiting:
                with suppress(ValueError):
                    self._queue.remove(each)
            raise

    async def run(self) -> None:
        """Write until cancelled; raises `OvertakenError` if another worker writes the log."""
        try:
            head = await self._open()
            async with asyncio.TaskGroup() as tasks:
                for each in self._deliveries:
                    each.put(head.entries)
                    tasks.create_task(each.run())
                await self._write_all(head)
        except* OvertakenError as group:
            self._closed = next(_leaves(group))
        finally:
            self._close()
        if self._closed is not None:
            raise self._closed

    async def _open(self) -> Head:
        found = await self._retried(self._loaded)
        if found is not None:
            return found
        log.warning("a new audit log begins", head=str(self._store.ref))
        self._queue.appendleft(_Waiting(LogBegan()))
        self._arrived.set()
        return empty_head(str(uuid.uuid4()))

    async def _loaded(self) -> Head | None:
        """Return the head; raises `HeadError` if this worker did not sign it."""
        head = await self._store.load()
        if head is not None:
            snapshot = self._identity.current
            check_head(head, snapshot.event_bundles, snapshot.spiffe_id)
        return head

    async def _write_all(self, head: Head) -> None:
        while True:
            await self._arrived.wait()
            for each in self._deliveries:
                await each.has_room()
            head = await self._write_next(head)
            if not self._queue:
                self._arrived.clear()

    async def _write_next(self, head: Head) -> Head:
        """Write what waits, and return the new head."""
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), MOST_TOGETHER))]
        if not taken:
            return head
        self._taken = taken
        entries = await self._retried(lambda: self._signed(head, taken))
        first = entries[0].sequence
        undelivered = min((each.next_sequence(first) for each in self._deliveries), default=first)
        new = head.followed_by(entries, undelivered)
        await self._retried(lambda: self._store.write(new, head))
        for each in self._deliveries:
            each.put(entries)
        for each in self._deliveries:
            if each.sink.required:
                await each.has_delivered()
        for written, entry in zip(taken, entries, strict=True):
            self._metrics.written(written.decision, entry.time)
            if written.future is not None and not written.future.done():
                written.future.set_result(entry.sequence)
        self._taken = []
        return new

    async def _signed(self, head: Head, taken: Sequence[_Waiting]) -> list[Entry]:
        """Return signed entries; raises `IdentityError` without a valid certificate."""
        snapshot = self._identity.current
        signer, now = self._signer.signer(snapshot), int(self._clock())
        if now >= signer.not_after:
            raise IdentityError("the certificate of this identity has expired")
        entries: list[Entry] = []
        sequence, previous = head.sequence, head.hash
        for each in taken:
            sequence += 1
            entry = write(
                each.decision,
                log=head.log,
                sequence=sequence,
                previous=previous,
                now=now,
                worker=snapshot.spiffe_id,
                signer=signer,
            )
            previous = entry.hash
            entries.append(entry)
        return entries

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        backoff = Backoff()
        while True:
            try:
                result = await attempt()
            except ApiError as error:
                fault = f"ConfigMap {self._store.ref} cannot be read or written: {error}"
            except HeadError as error:
                fault = (
                    f"ConfigMap {self._store.ref} is not the head of the log: {error}; restore it, "
                    "or delete it to begin a new log"
                )
            except IdentityError as error:
                fault = f"the worker's identity cannot sign: {error}"
            else:
                self._fault = None
                return result
            if fault != self._fault:
                log.error("audit log not written", fault=fault)
                self._fault = fault
            await backoff.wait()

    def _close(self) -> None:
        """Fail all that wait."""
        self._closed = self._closed or ClosedError("the audit log is closed")
        for each in (*self._taken, *self._queue):
            if each.future is not None and not each.future.done():
                each.future.set_exception(self._closed)
        self._queue.clear()
        self._taken = []


def _leaves(group: BaseExceptionGroup[OvertakenError]) -> Iterator[OvertakenError]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each
