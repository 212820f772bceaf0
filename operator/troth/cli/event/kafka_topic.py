"""Reads topics of Kafka without a consumer group: nothing is committed, and nobody is disturbed.

Needs the extra `kafka`.
"""

from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from confluent_kafka import (
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka import Message as Record
from confluent_kafka.admin import TopicMetadata

from troth.brokers.kafka.client import CERTIFICATE_REFUSED, REFUSED, UNANSWERED
from troth.cli.event.tailing import Reading, Show, TailError
from troth.edge.events.bindings import kafka
from troth.edge.events.message import Message
from troth.edge.events.rejection import Reason, Rejection

_NOT_ALLOWED = (
    "Kafka does not allow the principal to read the topic; name the credential of an administrator "
    "with --credentials"
)
_LIST = 1.0
"""Seconds to wait for a list of topics before librdkafka's errors are looked at."""
_POLL = 0.2
"""Seconds between two looks at errors that librdkafka reports outside of messages."""
_DENIED = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED})

_Place = tuple[str, int]


def read_topic(
    properties: Mapping[str, str],
    group: str,
    partition: int | None,
    reading: Reading,
    show: Show,
) -> None:
    """Show the messages of a topic, or of all topics with a prefix.

    `group` is a group that the principal may use; the client does not join it. `partition` is the
    only one to read, None for all. Raises `TailError`.
    """
    errors: list[KafkaError] = []
    try:
        consumer = Consumer(
            {
                **properties,
                "client.id": reading.name,
                "group.id": group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "auto.offset.reset": "earliest",
                "error_cb": errors.append,
                "log_level": 0,
            }
        )
    except KafkaException as error:
        raise TailError(_configuration(error, properties)) from None
    try:
        _Topics(consumer, reading, errors).read(partition, show)
    except KafkaException as error:
        raise TailError(_sentence([*errors, error.args[0]], reading)) from None
    finally:
        consumer.close()


class _Topics:
    def __init__(self, consumer: Consumer, reading: Reading, errors: list[KafkaError]) -> None:
        self._consumer = consumer
        self._reading = reading
        self._errors = errors

    def read(self, partition: int | None, show: Show) -> None:
        ends = self._assign(partition)
        until = monotonic() + self._reading.timeout
        while ends or self._reading.follow:
            record = self._consumer.poll(_POLL)
            if record is None:
                self._check(expected=not self._reading.follow and monotonic() > until)
                continue
            until = monotonic() + self._reading.timeout
            place = (str(record.topic()), record.partition() or 0)
            error = record.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name
                    raise KafkaException(error)
                ends.pop(place, None)
                continue
            if not self._reading.follow and place not in ends:
                continue  # it came after the end that was seen at the start
            if not show(message_of(record)):
                return
            if (record.offset() or 0) + 1 >= ends.get(place, 0):
                ends.pop(place, None)

    def _assign(self, only: int | None) -> dict[_Place, int]:
        """Assign the partitions; return the end of each that has messages to show."""
        begins: list[TopicPartition] = []
        ends: dict[_Place, int] = {}
        for topic, partition in self._partitions(only):
            low, high = self._consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=self._reading.timeout
            )
            first = self._reading.start.within(low, high)
            begins.append(TopicPartition(topic, partition, first))
            if first < high:
                ends[topic, partition] = high
        self._consumer.assign(begins)
        return ends

    def _partitions(self, only: int | None) -> list[_Place]:
        reading, listed = self._reading, self._listed()
        found: list[_Place] = []
        for name, topic in listed.items():
            if not (name.startswith(reading.topic) if reading.prefix else name == reading.topic):
                continue
            if topic.error is not None:
                raise KafkaException(topic.error)
            found += [(name, each) for each in topic.partitions if only in (None, each)]
        if not found:
            what = "topic with that prefix" if reading.prefix else "such topic or partition"
            raise TailError(f"Kafka has no {what} that this principal may describe")
        return sorted(found)

    def _listed(self) -> dict[str, TopicMetadata]:
        """Return the topics by name, or all that may be the one to read."""
        reading, consumer = self._reading, self._consumer
        until = monotonic() + reading.timeout
        while True:
            try:
                if reading.prefix:
                    listed = consumer.list_topics(timeout=_LIST)
                else:
                    listed = consumer.list_topics(reading.topic, timeout=_LIST)
            except KafkaException:
                consumer.poll(0)  # calls error_cb
                self._check(expected=monotonic() > until)
            else:
                return dict(listed.topics)

    def _check(self, *, expected: bool) -> None:
        """Raise the error that librdkafka reported, or one for a message that does not come."""
        if _cause(self._errors) is not None:
            raise KafkaException(self._errors[-1])
        if expected:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001


def message_of(record: Record) -> Message:
    """Return a record as a message; the broker's time counts only if it is that of the log."""
    kind, milliseconds = record.timestamp()
    stored = milliseconds / 1000 if kind == TIMESTAMP_LOG_APPEND_TIME else None
    topic, value = str(record.topic()), record.value()
    partition, offset = record.partition(), record.offset()
    try:
        pairs: Any = record.headers() or []
    except UnicodeDecodeError:
        # The library raises once. A second call returns a list that crashes who reads it.
        fault = Rejection(Reason.MALFORMED, "the name of a header is not UTF-8")
        return Message(topic, {}, value, stored, partition, offset, (), fault)
    headers = [(name, each.encode() if isinstance(each, str) else each) for name, each in pairs]
    return kafka.read(topic, headers, value, stored_at=stored, partition=partition, offset=offset)


def _configuration(error: KafkaException, properties: Mapping[str, str]) -> str:
    """Return which property librdkafka rejects; its own message may quote the value."""
    said = str(error.args[0].str())
    named = next((name for name in properties if f'"{name}"' in said or f" {name} " in said), None)
    what = f"the property {named}" if named else "a property, or a file that one names,"
    return f"{what} is unknown or has an invalid value"


_CAUSES: tuple[tuple[Callable[[KafkaError], bool], str], ...] = (
    (
        lambda error: CERTIFICATE_REFUSED.search(error.str()) is not None,
        "Kafka does not accept the client's certificate; name other files with --credentials",
    ),
    (
        lambda error: error.code() in REFUSED,
        "Kafka rejects the credential; name a current one with --credentials",
    ),
    (
        lambda error: "certificate verify failed" in error.str(),
        "the certificate of Kafka is not from a trusted authority, or is for another name",
    ),
    (
        lambda error: error.code() in _DENIED,
        _NOT_ALLOWED,
    ),
    (
        lambda error: error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART,
        "Kafka has no such topic that this principal may describe",
    ),
)


def _sentence(errors: list[KafkaError], reading: Reading) -> str:
    """Return the cause in a sentence, which quotes nothing that the broker sent."""
    cause = _cause(errors)
    if cause is not None:
        return cause
    last = errors[-1]
    if last.code() in UNANSWERED:
        return f"Kafka did not answer within {reading.timeout:g} s; check the servers"
    return f"Kafka answered {last.name()}"


def _cause(errors: list[KafkaError]) -> str | None:
    """Return the sentence for a cause that does not pass by itself, None without one."""
    for applies, sentence in _CAUSES:
        if any(applies(each) for each in errors):
            return sentence
    return None
