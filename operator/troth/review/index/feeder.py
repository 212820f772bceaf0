"""Keeps the index of one policy's letters in step with its dead-letter topic."""

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import chain
from time import monotonic, time
from typing import Final, Never, cast

from troth.edge.events.rejection import RejectedError, Rejection
from troth.edge.identity.snapshot import IdentityError
from troth.resources.references import Ref
from troth.review.brokers import BrokerUnavailableError, DeadLetterTopic, Stored
from troth.review.index.portion import Portion, settlements_of
from troth.review.index.store import LetterIndex
from troth.review.letters.letter import Letter, Position
from troth.review.letters.reading import LetterReader
from troth.review.letters.records import Record

CHECK_SECONDS: Final = 30.0
"""Time between two looks at the bounds of the topic: what expired, and whether it is the same."""
RETRY_SECONDS: Final = 5.0
"""Time after which the topic is read again, after the broker did not answer."""

_LOG_SECONDS = 60.0
_CERTAIN = 2
"""Empty batches after which everything that was published before is surely read."""
_LOG = logging.getLogger(__name__)


class Feeder:
    """Feeds the index from one topic. Only one event loop may use it."""

    def __init__(
        self,
        topic: DeadLetterTopic,
        index: LetterIndex,
        reader: LetterReader,
        *,
        unreadable: Callable[[Rejection], None] = lambda _: None,
        check_seconds: float = CHECK_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create it without I/O.

        `unreadable` is called in a thread for each message that is no valid dead letter. `clock`
        returns seconds since the epoch.
        """
        self.policy: Ref = reader.policy
        self.fault: str | None = None
        """Why the topic cannot be read at present, None if it can."""
        self.rebuilds = 0
        """Number of times that the index began again, because the topic was another one."""
        self.whole = False
        """Whether the index has all that was on the topic when it began."""
        self._topic = topic
        self._index = index
        self._reader = reader
        self._unreadable = unreadable
        self._check_seconds = check_seconds
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._ends: Mapping[int, int] = {}
        self._next: dict[int, int] = {}
        self._incarnation: str | None = None
        self._idle = 0
        self._rebuilt = 0
        self._progress = asyncio.Condition()
        self._logged = float("-inf")

    @property
    def lag(self) -> int:
        """Number of messages that were on the topic at the last look and are not indexed yet."""
        return sum(max(end - self._next.get(each, 0), 0) for each, end in self._ends.items())

    async def run(self) -> Never:
        """Read the topic for ever. It waits while the broker, the identity or the disk fails."""
        while True:
            try:
                await self._follow()
            except (BrokerUnavailableError, IdentityError, RejectedError, sqlite3.Error) as error:
                self.fault = str(error)
                _LOG.warning("Dead letters are not read: policy %s: %s", self.policy, error)
                await asyncio.sleep(self._retry_seconds)

    async def caught_up(self) -> None:
        """Return once the index has every letter that is on the topic now.

        Raises `BrokerUnavailableError`. While the topic cannot be read, this waits.
        """
        incarnation = await self._topic.incarnation()
        ends = {each: end for each, (_, end) in (await self._topic.bounds()).items()}
        idle = self._idle + _CERTAIN

        def is_read() -> bool:
            known = self._incarnation == incarnation and self._rebuilt == self.rebuilds
            return known and (
                self._idle >= idle
                or all(self._next.get(each, 0) >= end for each, end in ends.items())
            )

        async with self._progress:
            await self._progress.wait_for(is_read)

    async def _follow(self) -> None:
        """Read the topic until its partitions change, or it is another topic."""
        await self._look()
        incarnation, partitions = self._incarnation, self._ends.keys()
        read = self._topic.read(dict(self._next))
        due = monotonic() + self._check_seconds
        async with aclosing(cast("AsyncGenerator[Sequence[Stored]]", read)) as batches:
            async for batch in batches:
                await self._take(batch)
                self.fault = None
                if monotonic() < due:
                    continue
                restarted = await self._look()
                if restarted or (self._incarnation, self._ends.keys()) != (incarnation, partitions):
                    return
                due = monotonic() + self._check_seconds

    async def _look(self) -> bool:
        """Compare the index with the topic; return whether the index begins again."""
        incarnation = await self._topic.incarnation()
        bounds = await self._topic.bounds()
        restarted, self._next = await asyncio.to_thread(self._reconcile, incarnation, bounds)
        self._ends = {each: end for each, (_, end) in bounds.items()}
        self._incarnation = incarnation
        self._rebuilt = self.rebuilds
        self.whole = self.whole or not self.lag
        return restarted

    def _reconcile(
        self, incarnation: str, bounds: Mapping[int, tuple[int, int]]
    ) -> tuple[bool, dict[int, int]]:
        """Remove what the broker no longer has; return whether that is all, and next offsets."""
        index, policy = self._index, self.policy
        known, positions = index.incarnation(policy), index.positions(policy)
        # A broker that lost the end of its log uses the offsets again, as a new topic does.
        shorter = any(next_ > bounds.get(each, (0, 0))[1] for each, next_ in positions.items())
        restarted = shorter or known not in {None, incarnation}
        if restarted:
            _LOG.warning("Dead-letter topic was created again: policy %s", policy)
            # before the index forgets: who reads it meanwhile must be able to see that
            self.whole = False
            self.rebuilds += 1
            index.forget(policy)
            positions = {}
        if restarted or known is None:
            index.set_incarnation(policy, incarnation)
        for partition, (first, _) in bounds.items():
            index.mark_gone(policy, partition, first)
        letters = self._reader.entry.dead_letter
        assert letters is not None
        index.sweep(policy, datetime.fromtimestamp(self._clock() - letters.retention, UTC))
        following = {
            each: max(positions.get(each, 0), first) for each, (first, _) in bounds.items()
        }
        return restarted, following

    async def _take(self, batch: Sequence[Stored]) -> None:
        if batch:
            self._next |= await asyncio.to_thread(self._feed, batch)
        else:
            self._idle += 1
            self._next |= {
                each: max(end, self._next.get(each, 0)) for each, end in self._ends.items()
            }
        self.whole = self.whole or not self.lag
        async with self._progress:
            self._progress.notify_all()

    def _feed(self, batch: Sequence[Stored]) -> dict[int, int]:
        """Index some messages; return the offset after the last by partition."""
        letters: list[Letter] = []
        records: list[Record] = []
        unreadable: list[Position] = []
        following: dict[int, int] = {}
        for each in batch:
            partition, offset = each.position
            following[partition] = max(offset + 1, following.get(partition, 0))
            if each.message.data is None:  # a tombstone: it removes a letter of its key
                continue
            read = self._reader.read(each)
            if isinstance(read, Letter):
                letters.append(read)
            elif isinstance(read, Record):
                records.append(read)
            else:
                unreadable.append(each.position)
                self._report(each, read)
        settlements = tuple(chain.from_iterable(map(settlements_of, records)))
        self._index.feed(self.policy, Portion(letters, settlements, unreadable, following))
        return following

    def _report(self, stored: Stored, rejection: Rejection) -> None:
        self._unreadable(rejection)
        now = monotonic()
        if now - self._logged >= _LOG_SECONDS:
            self._logged = now
            _LOG.warning(
                "Message is no valid dead letter: policy %s, %s/%s: %s",
                self.policy,
                *stored.position,
                rejection,
            )
