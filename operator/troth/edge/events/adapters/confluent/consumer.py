"""Consumer of sealed events for confluent-kafka.

At most one message of a partition is being consumed, so its offsets are committed in order. While
that message waits, for its dead letter or for newer files, its partition is paused, and the others
go on.
"""

import logging
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, time
from types import TracebackType
from typing import Any, Literal, Self

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka import Message as Record

from troth.documents.client_name import client_name
from troth.documents.identity.document import Messages
from troth.edge.events.adapters.confluent.producer import (
    CREDENTIAL_ERRORS,
    DeadLetterProducer,
    Delivery,
)
from troth.edge.events.adapters.kafka_files import Source, combined, letter_key
from troth.edge.events.adapters.kafka_topics import Topics
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.consumption.driving import Blocking, BlockingDuplicates
from troth.edge.events.consumption.flow import (
    ATTEMPTS,
    FIRST_PAUSE,
    LOG_EVERY,
    PATIENCE,
    Consumed,
    Consumption,
    Flow,
    Hooks,
    Publish,
    TooLargeError,
    UnavailableError,
)
from troth.edge.events.consumption.handlers import Handler
from troth.edge.events.message import Message
from troth.edge.events.opening import MOST_BYTES, Opener
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import IdentityError
from troth.resources.messaging.broker_type import BrokerType

POLL_SECONDS = 0.5
"""Default of the maximum time in seconds of one `poll`."""
RECONNECT_SECONDS = 10.0
"""Minimum time in seconds between two clients, while the broker rejects the credential."""

_DELIVERY_POLL_SECONDS = 0.05
_LOOK_MS = 10_000
"""How often a consumer looks for a retry topic that does not exist yet, in milliseconds."""
_MILLISECOND = 0.001
_SPECIAL = re.compile(r"([.\\+*?\[\]^$(){}|])")
_LOG = logging.getLogger("troth.edge.events")


@dataclass
class _Lane:
    """A partition with a message that is being consumed."""

    record: Record
    flow: Flow
    due: float | None = None
    delivery: Delivery | None = None
    paused: bool = False
    later: deque[Record] = field(default_factory=deque)

    @property
    def place(self) -> tuple[str, int]:
        return _place(self.record)


class EventConsumer:
    """Consumes the events of one policy with a handler. Only one thread may use it.

    A message is committed after it was handled, or after the broker acknowledged its dead letter.
    Offsets are committed every second (`auto.commit.interval.ms`), at a rebalance and by `close`.
    After a crash the messages of the last second are delivered again; `duplicates` recognises the
    events that were handled.
    """

    def __init__(
        self,
        identity: Identity,
        handler: Handler[..., Any],
        configuration: Source,
        *,
        duplicates: BlockingDuplicates | None,
        attempts: int = ATTEMPTS,
        patience: float = PATIENCE,
        first_pause: float = FIRST_PAUSE,
        on_rejected: Literal["stop", "drop"] = "stop",
        hooks: Hooks | None = None,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create a consumer without connecting.

        `configuration` has the properties of the connection; a function that returns them is called
        for each new connection, and again if the broker rejects the credential. Topics and
        `group.id` are those of the policy. A new group begins with the oldest message, unless
        `auto.offset.reset` says otherwise. `duplicates` recognises repeated events; with None they
        are handled again. The other options are those of `Consumption`.

        The handler is called between two polls: keep it shorter than `max.poll.interval.ms`.
        """
        if handler.is_async:
            raise TypeError("confluent-kafka calls handlers in a thread; use a plain function")
        self._identity = identity
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
        self._driver = Blocking(handle=handler.handle, publish=None, duplicates=duplicates)
        self._letters = DeadLetterProducer(configuration, policy)
        self._consumer: Consumer | None = None
        self._subscribed: Topics | None = None
        self._connected = 0.0
        self._rejected = False
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._stopping = threading.Event()
        self._closed = False
        self._logged: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the consumer."""
        self.close()

    def run(self) -> None:
        """Consume until `stop` is called.

        Raises `StoppedError` if a message can neither be handled nor rejected, and `KafkaException`
        for a fatal error of the library. Nothing is committed for that message.
        """
        while not self._stopping.is_set():
            self.poll()

    def stop(self) -> None:
        """Let `run` return after the current message. Every thread may call this."""
        self._stopping.set()

    def close(self) -> None:
        """Commit what was consumed, and leave the group. Messages that wait are delivered again."""
        self._closed = True
        self._stopping.set()
        self._leave()
        self._letters.close()

    def poll(self, timeout: float = POLL_SECONDS) -> None:
        """Consume what is due, or wait for at most `timeout` seconds. Raises as `run` does."""
        if self._closed:
            raise RuntimeError("the consumer is closed")
        consumer = self._current()
        if consumer is None:
            self._stopping.wait(timeout)
            return
        try:
            for lane in list(self._lanes.values()):
                self._go_on(lane)
            record = consumer.poll(self._wait(timeout))
            if record is not None and (error := record.error()) is not None:
                self._report(error)
            elif record is not None:
                self._take(record)
        except BaseException:
            # Another poll would commit the messages after this one, and so this one too.
            self._closed = True
            raise

    # Connecting

    def _current(self) -> Consumer | None:
        """Return a consumer that is subscribed as the policy says, None until there is a grant."""
        try:
            granted = self._opener.rights(self._identity.current).granted
        except (IdentityError, RejectedError) as error:
            # What is queued here waits. Until then, an existing consumer remains in its group.
            if self._consumer is None:
                self._log("NoGrant", f"Consumer waits: policy {self._opener.policy}: {error}")
            return self._consumer
        if granted.type is not BrokerType.KAFKA:
            raise ValueError(
                f"the TopicPolicy {granted.policy} is for {granted.type}, not for kafka"
            )
        wanted = Topics.of(granted)
        if self._consumer is None or wanted != self._subscribed or self._is_rejected():
            try:
                configuration = self._configuration(granted)
            except (OSError, IdentityError) as error:
                if self._consumer is None:
                    raise
                name = type(error).__name__
                self._log(name, f"Credential is not read ({name}): policy {self._opener.policy}")
                return self._consumer
            self._leave()
            self._consumer = self._join(granted, configuration)
            self._subscribed = wanted
            self._connected, self._rejected = monotonic(), False
        return self._consumer

    def _is_rejected(self) -> bool:
        """Return whether the broker rejects a credential that may have been rotated."""
        due = self._connected + RECONNECT_SECONDS
        return self._rejected and callable(self._source) and monotonic() >= due

    def _configuration(self, granted: Messages) -> dict[str, Any]:
        own: dict[str, Any] = {
            "client.id": client_name([granted.policy]),
            "enable.auto.commit": True,
            "enable.auto.offset.store": False,
        }
        if granted.group is not None:
            own["group.id"] = granted.group
        defaults = {
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": 1000,
            "error_cb": self._report,
        }
        if granted.retry is not None:
            defaults["topic.metadata.refresh.interval.ms"] = _LOOK_MS
        return combined(self._source, own, defaults)

    def _join(self, granted: Messages, configuration: dict[str, Any]) -> Consumer:
        consumer = Consumer(configuration)
        topics = Topics.of(granted)
        names = topics.named
        if topics.prefix is not None:
            names = ["^" + _SPECIAL.sub(r"\\\1", topics.prefix) + ".*", *names]
        consumer.subscribe(names, on_revoke=self._revoked, on_lost=self._revoked)
        return consumer

    def _leave(self) -> None:
        for lane in self._lanes.values():
            lane.flow.close()
        self._lanes.clear()
        if self._consumer is not None:
            self._consumer.close()
        self._consumer = None

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Drop messages that wait: the partition's next owner gets them."""
        for each in partitions:
            lane = self._lanes.pop((each.topic, each.partition), None)
            if lane is None:
                continue
            lane.flow.close()
            if lane.paused:
                # librdkafka keeps a partition paused when it is assigned to this client again.
                consumer.resume([TopicPartition(*lane.place)])

    # Consuming

    def _take(self, record: Record) -> None:
        lane = self._lanes.get(_place(record))
        if lane is not None:  # it was fetched before its partition was paused
            lane.later.append(record)
            return
        lane = _Lane(record, self._consumption.flow(_message(record)))
        self._lanes[lane.place] = lane
        self._advance(lane)

    def _go_on(self, lane: _Lane) -> None:
        """Continue with a message whose wait has ended, or whose dead letter was answered."""
        delivery = lane.delivery
        if delivery is not None and delivery.done:
            lane.delivery = None
            self._advance(lane, delivery.failure)
        elif delivery is None and lane.due is not None and monotonic() >= lane.due:
            lane.due = None
            self._advance(lane)

    def _advance(self, lane: _Lane, failure: Exception | None = None) -> None:
        while True:
            reached = self._driver.advance(lane.flow, failure)
            failure = None
            if isinstance(reached, Consumed):
                self._store(lane.record)
                if not lane.later:
                    self._release(lane)
                    return
                lane.record = lane.later.popleft()
                lane.flow = self._consumption.flow(_message(lane.record))
                continue
            if isinstance(reached, Publish):
                try:
                    key = letter_key(lane.record.key())
                    lane.delivery = self._letters.send(reached.dead_letter, key)
                except (UnavailableError, TooLargeError) as error:
                    failure = error
                    continue
            else:
                lane.due = monotonic() + reached.seconds
            self._hold(lane)
            return

    def _store(self, record: Record) -> None:
        assert self._consumer is not None
        try:
            self._consumer.store_offsets(message=record)
        except KafkaException as error:
            # The partition was lost during the handler. Its next owner gets the message.
            _LOG.warning(
                "Message %s is not committed: %s", _message(record).origin, error.args[0].name()
            )

    def _hold(self, lane: _Lane) -> None:
        if not lane.paused:
            assert self._consumer is not None
            self._consumer.pause([TopicPartition(*lane.place)])
            lane.paused = True

    def _release(self, lane: _Lane) -> None:
        del self._lanes[lane.place]
        if lane.paused:
            assert self._consumer is not None
            self._consumer.resume([TopicPartition(*lane.place)])

    def _wait(self, timeout: float) -> float:
        """Return how long to wait for a record."""
        if any(each.delivery is not None for each in self._lanes.values()):
            self._letters.poll(min(timeout, _DELIVERY_POLL_SECONDS))
            return 0.0
        due = min((each.due for each in self._lanes.values() if each.due is not None), default=None)
        return timeout if due is None else min(timeout, max(due - monotonic(), 0.0))

    def _report(self, error: KafkaError) -> None:
        """Log an error of the library, which recovers by itself unless the error is fatal."""
        if error.fatal():
            raise KafkaException(error)
        self._rejected = self._rejected or error.code() in CREDENTIAL_ERRORS
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes begin with _
            name = str(error.name())
            self._log(name, f"Kafka reports {name}: policy {self._opener.policy}")

    def _log(self, cause: str, line: str) -> None:
        now = monotonic()
        if now - self._logged.get(cause, float("-inf")) >= LOG_EVERY:
            self._logged[cause] = now
            _LOG.warning("%s", line)


def _place(record: Record) -> tuple[str, int]:
    topic, partition = record.topic(), record.partition()
    assert topic is not None
    assert partition is not None
    return topic, partition


def _message(record: Record) -> Message:
    """Return a record as a message. Only the broker's own timestamp counts."""
    kind, milliseconds = record.timestamp()
    place: dict[str, Any] = {
        "stored_at": milliseconds * _MILLISECOND if kind == TIMESTAMP_LOG_APPEND_TIME else None,
        "partition": record.partition(),
        "offset": record.offset(),
    }
    topic, value = _place(record)[0], record.value()
    try:
        headers: Any = record.headers() or []
    except UnicodeDecodeError:
        fault = Rejection(Reason.MALFORMED, "the name of a header is not UTF-8")
        return Message(topic, {}, value, fault=fault, **place)
    return kafka.read(topic, headers, value, **place)
