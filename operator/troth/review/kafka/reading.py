"""Consumers of one dead-letter topic: assigned to partitions, and members of no group.

librdkafka wants the name of a group, and asks who coordinates it. The broker denies that without a
right on the group, and nothing depends on the answer.
"""

from collections.abc import Mapping
from time import monotonic
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka import Message as Record

from troth.edge.events.adapters.kafka_files import Source
from troth.edge.events.bindings import kafka
from troth.review.brokers import BrokerUnavailableError, Stored
from troth.review.kafka.client import ANSWER_SECONDS, Lost, configuration, of, unavailable
from troth.review.letters.letter import Position

MOST_RECORDS: Final = 500
MOST_BYTES: Final = 8 * 1024 * 1024
"""Maximum of records and of bytes in a batch. The last record may exceed the bytes."""

_AT_ONCE = 25
_GROUP = "troth-review"
_FRESH_SECONDS = 5.0
_MILLISECOND = 0.001
_NO_COORDINATOR = frozenset(
    {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.COORDINATOR_NOT_AVAILABLE}
)
_LIMITS = {
    "group.id": _GROUP,
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "earliest",
    "queued.max.messages.kbytes": 8192,
    "fetch.max.bytes": 8 * 1024 * 1024,
    "fetch.message.max.bytes": 1024 * 1024,
    "fetch.wait.max.ms": 100,
}


class Reader:
    """Consumer that reads partitions from given offsets. Only one thread may use it."""

    def __init__(
        self, topic: str, policy: str, source: Source, positions: Mapping[int, int]
    ) -> None:
        """Assign the partitions; raises `BrokerUnavailableError`."""
        self._topic = topic
        self._lost = Lost()
        try:
            self._consumer = Consumer(configuration(source, policy, dict(_LIMITS), self._lost))
        except KafkaException as error:
            raise unavailable(topic, of(error)) from None
        self._ended: set[int] = set()
        self._partitions = frozenset(positions)
        self._consumer.assign([TopicPartition(topic, *each) for each in positions.items()])

    def batch(self, seconds: float) -> list[Stored] | None:
        """Return what comes within some seconds; None if more may be there.

        An empty list says that the end of each partition is reached. Raises
        `BrokerUnavailableError`.
        """
        found: list[Stored] = []
        size = 0
        end = monotonic() + seconds
        while len(found) < MOST_RECORDS and size < MOST_BYTES:
            patience = 0.0 if found else end - monotonic()
            if patience < 0:
                break
            records = self._consumer.consume(1 if patience else _AT_ONCE, patience)
            self._lost.check(self._topic)
            if not records and found:
                break
            for each in records:
                stored = self._stored(each)
                if stored is not None:
                    found.append(stored)
                    size += len(stored.message.data or b"")
        return found if found or self._ended >= self._partitions else None

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def _stored(self, record: Record) -> Stored | None:
        error = record.error()
        partition = record.partition()
        if error is None:
            assert partition is not None
            self._ended.discard(partition)
            return _stored(record)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
            assert partition is not None
            self._ended.add(partition)
        elif error.code() not in _NO_COORDINATOR:
            raise unavailable(self._topic, error)
        return None


class Getter:
    """Consumer that returns single records. Only one thread may use `fetch`.

    The records behind a wanted one are kept for a moment, because a review wants them next.
    """

    def __init__(self, topic: str, policy: str, source: Source) -> None:
        """Create it without connecting."""
        self._topic, self._policy, self._source = topic, policy, source
        self._lost = Lost()
        self._consumer: Consumer | None = None
        self._kept: dict[Position, Stored] = {}
        self._until = 0.0

    def kept(self, position: Position) -> Stored | None:
        """Return a record that was read just now, None if it was not. Every thread may call it."""
        return self._kept.pop(position, None) if monotonic() < self._until else None

    def fetch(self, position: Position) -> Stored | None:
        """Return a record, None if the broker no longer has it.

        Raises `BrokerUnavailableError`.
        """
        self._kept = {}
        try:
            return self._fetch(self._current(), position)
        except KafkaException as error:
            self.close()
            raise unavailable(self._topic, of(error)) from None
        except BrokerUnavailableError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connections."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _current(self) -> Consumer:
        if self._consumer is None:
            self._lost = Lost()
            options = configuration(self._source, self._policy, dict(_LIMITS), self._lost)
            self._consumer = Consumer(options)
        return self._consumer

    def _fetch(self, consumer: Consumer, position: Position) -> Stored | None:
        consumer.assign([TopicPartition(self._topic, *position)])
        record = self._first(consumer)
        if record is None or record.offset() != position.offset:
            return None
        kept: dict[Position, Stored] = {}
        size = 0
        while len(kept) < MOST_RECORDS and size < MOST_BYTES:
            following = [each for each in consumer.consume(_AT_ONCE, 0) if each.error() is None]
            if not following:
                break
            for each in map(_stored, following):
                kept[each.position] = each
                size += len(each.message.data or b"")
        self._kept, self._until = kept, monotonic() + _FRESH_SECONDS
        return _stored(record)

    def _first(self, consumer: Consumer) -> Record | None:
        """Return the first record from the assigned offset on, None if there is none."""
        end = monotonic() + ANSWER_SECONDS
        while (patience := end - monotonic()) > 0:
            record = consumer.poll(patience)
            self._lost.check(self._topic)
            error = None if record is None else record.error()
            if record is not None and error is None:
                return record
            if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
                return None
            if error is not None and error.code() not in _NO_COORDINATOR:
                raise unavailable(self._topic, error)
        raise BrokerUnavailableError(f"Kafka topic {self._topic}: no answer in time")


def start(bounds: Mapping[int, tuple[int, int]], positions: Mapping[int, int]) -> dict[int, int]:
    """Return where to read each partition from."""
    return {each: positions.get(each, OFFSET_BEGINNING) for each in bounds}


def _stored(record: Record) -> Stored:
    topic, partition, offset = record.topic(), record.partition(), record.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    kind, milliseconds = record.timestamp()
    headers: Any = record.headers() or []
    key = record.key()
    message = kafka.read(
        topic,
        headers,
        record.value(),
        stored_at=milliseconds * _MILLISECOND if kind == TIMESTAMP_LOG_APPEND_TIME else None,
        partition=partition,
        offset=offset,
    )
    return Stored(
        Position(partition, offset), message, key.encode() if isinstance(key, str) else key
    )
