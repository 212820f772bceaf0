"""Consumer of sealed events for aiokafka.

Each partition has a lane, which consumes its messages one after the other, so its offsets are
committed in order. While a message waits, for its dead letter or for newer files, the other lanes
go on.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from functools import partial
from time import monotonic, time
from types import TracebackType
from typing import Any, Final, Literal, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import ConsumerStoppedError, KafkaError

from troth.documents.client_name import client_name
from troth.documents.identity.document import Messages
from troth.edge.events.adapters.aiokafka.closing import close_consumer
from troth.edge.events.adapters.aiokafka.lane import Lane
from troth.edge.events.adapters.aiokafka.producer import DeadLetterProducer
from troth.edge.events.adapters.kafka_files import Source, combined
from troth.edge.events.adapters.kafka_topics import Topics
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.consumption.driving import Duplicates
from troth.edge.events.consumption.flow import (
    ATTEMPTS,
    FIRST_PAUSE,
    LOG_EVERY,
    PATIENCE,
    Consumption,
    Hooks,
)
from troth.edge.events.consumption.handlers import Handler
from troth.edge.events.opening import MOST_BYTES, Opener
from troth.edge.events.rejection import RejectedError
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import IdentityError
from troth.resources.messaging.broker_type import BrokerType

COMMIT_SECONDS: Final = 10.0
"""Maximum time in seconds for one commit of offsets."""
REBALANCE_MS: Final = 300_000
"""Default of the maximum time in milliseconds for which a handler may delay a rebalance."""

_BEAT_MS = 1000
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 5.0
"""How often a consumer looks for a retry topic that the broker does not show."""
_NOWHERE = TopicPartition("", 0)
"""Partition of no topic: asking for its messages shows the group that this consumer works."""
_LOG = logging.getLogger("troth.edge.events")


class EventConsumer:
    """Consumes the events of one policy with a handler.

    A message is committed after it was handled, or after the broker acknowledged its dead letter.
    Offsets are committed every second, at a rebalance and at the end. After a crash the messages of
    the last second are delivered again; `duplicates` recognises the events that were handled.
    """

    def __init__(
        self,
        identity: Identity,
        handler: Handler[..., Any],
        configuration: Source,
        *,
        duplicates: Duplicates | None,
        concurrency: int = 1,
        attempts: int = ATTEMPTS,
        patience: float = PATIENCE,
        first_pause: float = FIRST_PAUSE,
        on_rejected: Literal["stop", "drop"] = "stop",
        hooks: Hooks | None = None,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create a consumer without connecting.

        `configuration` has the options of the connection; a function that returns them is called
        for each new connection. Topics and `group_id` are those of the policy. A new group begins
        with the oldest message, unless `auto_offset_reset` says otherwise. `duplicates` recognises
        repeated events; with None they are handled again. `concurrency` is the number of partitions
        whose events are handled at once; a plain function is called in a thread. The other options
        are those of `Consumption`.

        A rebalance waits for the current handlers: keep them shorter than `rebalance_timeout_ms`,
        five minutes by default.
        """
        self._identity = identity
        self._handler = handler
        self._source = configuration
        policy, group = handler.policy, handler.group
        self._opener = Opener(identity, policy, group=group, most_bytes=most_bytes, clock=clock)
        self._consumption = Consumption(
            self._opener,
            DeadLetters(identity, policy, group=group, clock=clock),
            deduplicates=duplicates is not None,
            prepare=handler.prepare,
            attempts=attempts,
            patience=patience,
            first_pause=first_pause,
            on_rejected=on_rejected,
            hooks=hooks,
            clock=clock,
        )
        self._duplicates = duplicates
        self._letters = DeadLetterProducer(configuration, policy)
        self._turns = asyncio.Semaphore(concurrency)
        self._consumer: AIOKafkaConsumer | None = None
        self._lanes: dict[TopicPartition, Lane] = {}
        self._consumed: dict[TopicPartition, int] = {}
        self._waits_for: str | None = None
        self._look_at = 0.0
        self._committing = asyncio.Lock()
        self._leaving: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._logged: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the consumer."""
        self.stop()

    def stop(self) -> None:
        """Let `run` return after the current handlers. Messages that wait are delivered again."""
        self._stopping.set()

    async def run(self) -> None:
        """Consume until `stop` is called. This can be called once.

        Raises `StoppedError` if a message can neither be handled nor rejected; nothing is committed
        for that message. Raises `ValueError` for a configuration with which messages could be lost.
        """
        stopping = asyncio.create_task(self._stopping.wait())
        work = asyncio.create_task(self._work())
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._letters.close)
            stack.push_async_callback(self._leave)
            try:
                await asyncio.wait({stopping, work}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._stopping.set()
                stopping.cancel()
                work.cancel()  # the library can catch it; then the work ends when it looks next
                await asyncio.gather(stopping, work, return_exceptions=True)
        if not work.cancelled():
            work.result()

    # Connecting

    async def _work(self) -> None:
        while not self._stopping.is_set():
            granted = await self._granted()
            try:
                await self._join(granted)
                await self._stay(granted)
            except (KafkaError, ConsumerStoppedError, IdentityError, OSError) as error:
                name = type(error).__name__
                self._log(name, f"Kafka reports {name}: policy {self._opener.policy}")
                await self._leave()
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await self._leave()

    async def _granted(self) -> Messages:
        """Wait for the grant, and return it."""
        granted = self._grant()
        while granted is None:
            await asyncio.sleep(_RETRY_SECONDS)
            granted = self._grant()
        if granted.type is not BrokerType.KAFKA:
            raise ValueError(
                f"the TopicPolicy {granted.policy} is for {granted.type}, not for kafka"
            )
        return granted

    def _grant(self) -> Messages | None:
        try:
            return self._opener.rights(self._identity.current).granted
        except (IdentityError, RejectedError) as error:
            # What is queued here waits. Until then, an existing consumer remains in its group.
            if self._consumer is None:
                self._log("NoGrant", f"Consumer waits: policy {self._opener.policy}: {error}")
            return None

    async def _join(self, granted: Messages) -> None:
        own: dict[str, Any] = {
            "client_id": client_name([granted.policy]),
            "enable_auto_commit": False,
            "key_deserializer": None,
            "value_deserializer": None,
        }
        if granted.group is not None:
            own["group_id"] = granted.group
        defaults = {"auto_offset_reset": "earliest", "rebalance_timeout_ms": REBALANCE_MS}
        consumer = AIOKafkaConsumer(**combined(self._source, own, defaults))
        self._consumer = consumer
        topics = Topics.of(granted)
        self._waits_for = None
        if topics.prefix is not None or topics.retry is None:
            self._subscribe(consumer, topics)
            await consumer.start()
            return
        # The library consumes nothing while one of its topics is denied.
        await consumer.start()
        if topics.retry not in await consumer.topics():
            self._waits_for = topics.retry
            self._look_at = monotonic() + _LOOK_SECONDS
            self._log("NoRetryTopic", f"Consumer waits for its retry topic {topics.retry}")
        self._subscribe(consumer, topics)

    def _subscribe(self, consumer: AIOKafkaConsumer, topics: Topics) -> None:
        listener = _Listener(self._begin, self._revoke)
        names = [each for each in topics.named if each != self._waits_for]
        if topics.prefix is None:
            consumer.subscribe(topics=names, listener=listener)
        else:
            patterns = [f"{re.escape(topics.prefix)}.*", *map(re.escape, names)]
            consumer.subscribe(pattern=f"(?:{'|'.join(patterns)})$", listener=listener)

    async def _is_retry_shown(self, consumer: AIOKafkaConsumer) -> bool:
        """Return whether the broker shows the retry topic for which this consumer waits."""
        if self._waits_for is None or monotonic() < self._look_at:
            return False
        self._look_at = monotonic() + _LOOK_SECONDS
        return self._waits_for in await consumer.topics()

    async def _stay(self, granted: Messages) -> None:
        """Return when the topics or the group to subscribe to change; raise what a lane raises."""
        wanted = Topics.of(granted)
        failed = asyncio.create_task(self._failed.wait())
        try:
            while not self._stopping.is_set() and wanted == Topics.of(self._grant() or granted):
                assert self._consumer is not None
                beat = asyncio.create_task(self._consumer.getmany(_NOWHERE, timeout_ms=_BEAT_MS))
                try:
                    await asyncio.wait({beat, failed}, return_when=asyncio.FIRST_COMPLETED)
                    if self._failure is not None:
                        raise self._failure
                    beat.result()
                finally:
                    beat.cancel()
                await self._commit(self._consumer)
                if await self._is_retry_shown(self._consumer):
                    return
        finally:
            failed.cancel()

    async def _leave(self) -> None:
        """Commit what was consumed, and leave the group; a cancellation does not interrupt this."""
        if self._leaving is None and self._consumer is not None:
            self._leaving = asyncio.create_task(self._commit_and_close(self._consumer))
        if self._leaving is None:
            return
        try:
            await asyncio.shield(self._leaving)
        finally:
            if self._leaving.done():
                self._leaving = None

    async def _commit_and_close(self, consumer: AIOKafkaConsumer) -> None:
        try:
            await self._end(self._lanes.keys())
            await self._commit(consumer)
        finally:
            self._consumer = None
            self._consumed.clear()
            self._failure = None
            self._failed.clear()
            await close_consumer(consumer)

    # Partitions

    def _begin(self, places: Collection[TopicPartition]) -> None:
        assert self._consumer is not None
        for each in places:
            lane = Lane(
                self._consumer,
                each,
                self._consumption,
                handle=self._handler.call,
                letters=self._letters,
                duplicates=self._duplicates,
                turns=self._turns,
                done=self._consumed.__setitem__,
            )
            self._lanes[each] = lane
            lane.task.add_done_callback(partial(self._ended, lane))

    async def _revoke(self, places: Collection[TopicPartition]) -> None:
        """End lanes: the partitions' next owners get the messages that wait."""
        await self._end(places)
        if self._consumer is not None:
            await self._commit(self._consumer)
        for each in places:
            self._consumed.pop(each, None)

    async def _end(self, places: Collection[TopicPartition]) -> None:
        lanes = [self._lanes.pop(each) for each in list(places) if each in self._lanes]
        for lane in lanes:
            lane.end()
        if lanes:
            await asyncio.wait([lane.task for lane in lanes])

    def _ended(self, lane: Lane, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if task.cancelled() and not lane.is_ending:
            error = RuntimeError("the handler of a message was cancelled; it is not committed")
        if error is not None and self._failure is None:
            self._failure = error
            self._failed.set()

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        async with self._committing:
            owned = consumer.assignment()
            offsets = {place: at for place, at in self._consumed.items() if place in owned}
            if not offsets:
                return
            try:
                async with asyncio.timeout(COMMIT_SECONDS):
                    await consumer.commit(offsets)
            except (KafkaError, OSError) as error:
                # The next commit has the same offsets, or the partition's next owner gets them.
                name = type(error).__name__
                self._log(name, f"Offsets are not committed ({name}): {self._opener.policy}")
                return
            for place, at in offsets.items():
                if self._consumed.get(place) == at:
                    del self._consumed[place]

    def _log(self, cause: str, line: str) -> None:
        now = monotonic()
        if now - self._logged.get(cause, float("-inf")) >= LOG_EVERY:
            self._logged[cause] = now
            _LOG.warning("%s", line)


class _Listener(ConsumerRebalanceListener):
    """Begins and ends lanes as the group assigns partitions."""

    def __init__(
        self,
        begin: Callable[[Collection[TopicPartition]], None],
        revoke: Callable[[Collection[TopicPartition]], Any],
    ) -> None:
        self._begin = begin
        self._revoke = revoke

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._revoke(revoked)

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._begin(assigned)
