"""Producer of redeliveries and records: idempotent, acknowledged by all replicas."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from troth.edge.events.adapters.kafka_files import Source
from troth.review.brokers import BrokerUnavailableError, NotStoredError, TooLargeError
from troth.review.kafka.client import (
    ANSWER_SECONDS,
    Lost,
    configuration,
    failure,
    of,
)

ALONE_BYTES: Final = 128 * 1024
"""Size in bytes from which a message is published alone.

A broker rejects a whole batch because of one message that is too large.
"""
BATCH_BYTES: Final = 512 * 1024
"""Maximum size in bytes of messages that are published together.

They are one batch of librdkafka for each partition. With several, a broker could store the second
after it has rejected the first, and the first would be sent again behind it.
"""

_UNKNOWN: Final = BrokerUnavailableError("Kafka does not say whether a message was stored")
_ANY = -1
_POLL_SECONDS = 0.05
_LIMITS = {
    "enable.idempotence": True,
    # a batch is sent when it is flushed, so that nothing divides it
    "linger.ms": 1000,
    # with room for what each message has besides its headers and data
    "batch.size": 2 * BATCH_BYTES,
    # the broker decides which message is too large
    "message.max.bytes": 100_000_000,
    "message.timeout.ms": int(ANSWER_SECONDS * 1000),
}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Message to publish; `partition` is None if the key chooses it."""

    topic: str
    headers: Sequence[tuple[str, bytes]] = field(repr=False)
    data: bytes = field(repr=False)
    key: bytes | None = field(default=None, repr=False)
    partition: int | None = None

    @property
    def size(self) -> int:
        """Size in bytes of data and headers."""
        return len(self.data) + sum(len(name) + len(value) for name, value in self.headers)


class Publisher:
    """Publishes messages. Only one thread may use it.

    After a failure the next messages get a new client: librdkafka caches a denial for minutes, and
    an idempotent producer that was denied its ID fails for good.
    """

    def __init__(self, policy: str, source: Source) -> None:
        """Create it without connecting."""
        self._policy, self._source = policy, source
        self._lost = Lost()
        self._producer: Producer | None = None

    def publish(self, messages: Sequence[Outgoing]) -> list[Exception | None]:
        """Publish messages in their order; return the failure of each once all have ended.

        A failure is a `BrokerUnavailableError` or a `TooLargeError`. After the former, nothing more
        is sent, because messages with one key keep their order.
        """
        outcomes: list[Exception | None] = []
        for group in _groups(messages):
            found = self._publish(group)
            outcomes += self._again(group, found) if len(group) > 1 else found
            if any(isinstance(each, BrokerUnavailableError) for each in outcomes):
                break
        return [*outcomes, *(_not_sent(each) for each in messages[len(outcomes) :])]

    def close(self) -> None:
        """Close the connections. Nothing is on its way then."""
        self._producer = None

    def _again(
        self, messages: Sequence[Outgoing], outcomes: Sequence[Exception | None]
    ) -> list[Exception | None]:
        """Publish the messages of a rejected batch one by one: which of them was too large?"""
        found, failed = list(outcomes), False
        for number, message in enumerate(messages):
            if not isinstance(found[number], TooLargeError):
                continue
            (found[number],) = [_not_sent(message)] if failed else self._publish([message])
            failed = failed or isinstance(found[number], BrokerUnavailableError)
        return found

    def _publish(self, messages: Sequence[Outgoing]) -> list[Exception | None]:
        outcomes: dict[int, Exception | None] = {}
        try:
            producer = self._current()
        except BrokerUnavailableError as error:
            return [NotStoredError(str(error))] * len(messages)
        for number, each in enumerate(messages):
            try:
                self._produce(producer, number, each, outcomes)
            except KafkaException as error:
                outcomes[number] = failure(each.topic, of(error))
        self._wait(producer, len(messages), outcomes)
        found = [outcomes.get(number, _UNKNOWN) for number in range(len(messages))]
        if any(isinstance(each, BrokerUnavailableError) for each in found):
            self._producer = None
        return found

    def _produce(
        self,
        producer: Producer,
        number: int,
        message: Outgoing,
        outcomes: MutableMapping[int, Exception | None],
    ) -> None:
        def delivered(error: KafkaError | None, _: object) -> None:
            outcomes[number] = None if error is None else failure(message.topic, error)

        while True:
            try:
                producer.produce(
                    message.topic,
                    message.data,
                    key=message.key,
                    headers=list(message.headers),
                    partition=_ANY if message.partition is None else message.partition,
                    on_delivery=delivered,
                )
            except BufferError:
                producer.poll(_POLL_SECONDS)
            else:
                return

    def _wait(
        self, producer: Producer, count: int, outcomes: Mapping[int, Exception | None]
    ) -> None:
        """Wait for the outcome of each message: until it ends, it may still be delivered."""
        end = monotonic() + 2 * ANSWER_SECONDS
        while len(outcomes) < count and monotonic() < end:
            producer.flush(_POLL_SECONDS)
            if len(outcomes) < count:
                self._end_early(producer)
        if len(outcomes) < count:
            producer.purge()
            producer.poll(_POLL_SECONDS)

    def _end_early(self, producer: Producer) -> None:
        """Give up what waits in the queue of a client whose credential is rejected."""
        try:
            self._lost.check("")
        except BrokerUnavailableError:
            producer.purge(in_flight=False)

    def _current(self) -> Producer:
        if self._producer is None:
            self._lost = Lost()
            options = configuration(self._source, self._policy, dict(_LIMITS), self._lost)
            try:
                self._producer = Producer(options)
            except KafkaException as error:
                raise BrokerUnavailableError(f"Kafka: {of(error).name()}") from None
        return self._producer


def _not_sent(message: Outgoing) -> NotStoredError:
    return NotStoredError(f"Kafka topic {message.topic}: a message before this one was not stored")


def _groups(messages: Sequence[Outgoing]) -> list[list[Outgoing]]:
    """Return messages in groups that are published together, in their order."""
    groups: list[list[Outgoing]] = []
    size = 0
    for each in messages:
        large = each.size >= ALONE_BYTES
        if large or not groups or size + each.size > BATCH_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(each)
        size = BATCH_BYTES if large else size + each.size
    return groups
