"""A dead-letter topic of Kafka."""

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from typing import Any, Final

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from troth.edge.events.adapters.kafka_files import Source
from troth.edge.events.bindings import kafka
from troth.edge.events.message import Sealed
from troth.review.brokers import BrokerUnavailableError, Redelivery, Stored
from troth.review.kafka.client import (
    ANSWER_SECONDS,
    Lost,
    Thread,
    configuration,
    of,
    unavailable,
)
from troth.review.kafka.publishing import Outgoing, Publisher
from troth.review.kafka.reading import Getter, Reader, start
from troth.review.letters.letter import Position

IDLE_SECONDS: Final = 1.0
"""Time without a new message after which `read` yields an empty batch."""
RECORDS_PARTITION: Final = 0
"""Partition of all records, so that they have one order."""

_GRACE_SECONDS = 2.0


class KafkaTopic:
    """Dead-letter topic of one policy. Only one event loop may use it."""

    def __init__(self, topic: str, policy: str, source: Source) -> None:
        """Create it without connecting.

        `policy` is `<namespace>/<name>`, and `source` returns the configuration of the connection
        for each new client.
        """
        self._topic, self._policy, self._source = topic, policy, source
        self._getter = Getter(topic, policy, source)
        self._publisher = Publisher(policy, source)
        self._asking, self._getting, self._publishing = Thread(), Thread(), Thread()
        self._admin: AdminClient | None = None
        self._lost = Lost()

    async def incarnation(self) -> str:
        """Return the ID of the topic, which Kafka chooses when it is created."""
        description = await self._asking.run(self._describe)
        return str(description.topic_id)

    async def bounds(self) -> Mapping[int, tuple[int, int]]:
        """Return the first offset and the one after the last, by partition."""
        return await self._asking.run(self._bounds)

    async def read(self, positions: Mapping[int, int]) -> AsyncIterator[Sequence[Stored]]:
        """Yield the messages from an offset in each partition on; see `DeadLetterTopic`."""
        places = start(await self.bounds(), positions)
        thread = Thread()
        reader = await thread.run(Reader, self._topic, self._policy, self._source, places)
        try:
            while True:
                batch = await thread.run(reader.batch, IDLE_SECONDS)
                if batch is not None:
                    yield batch
        finally:
            thread.end(reader.close)

    async def get(self, position: Position) -> Stored | None:
        """Return one message, None if the broker no longer has it."""
        kept = self._getter.kept(position)
        return kept or await self._getting.run(self._getter.fetch, position)

    async def record(self, sealed: Sealed) -> None:
        """Publish a record; its key is its ID, so that compaction keeps it."""
        message = Outgoing(
            sealed.topic,
            kafka.headers(sealed),
            sealed.data,
            sealed.attributes["id"].encode(),
            RECORDS_PARTITION,
        )
        (failure,) = await self._publishing.run(self._publisher.publish, [message])
        if failure is not None:
            raise failure

    async def redeliver(self, messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        """Publish messages to their topics; see `DeadLetterTopic`."""
        outgoing = [Outgoing(each.topic, each.headers, each.data, each.key) for each in messages]
        return await self._publishing.run(self._publisher.publish, outgoing)

    async def close(self) -> None:
        """Close the connections."""
        self._asking.end(self._forget)
        self._getting.end(self._getter.close)
        self._publishing.end(self._publisher.close)

    # In the thread of the client that asks

    def _describe(self) -> Any:  # noqa: ANN401 - the library's answers have no types
        topics = TopicCollection([self._topic])
        return self._ask(
            lambda admin: admin.describe_topics(topics, request_timeout=ANSWER_SECONDS)
        )[self._topic]

    def _bounds(self) -> dict[int, tuple[int, int]]:
        places = [TopicPartition(self._topic, each.id) for each in self._describe().partitions]
        firsts = self._offsets(places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = self._offsets(places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {each.partition: (firsts[each].offset, ends[each].offset) for each in places}

    def _offsets(self, places: Sequence[TopicPartition], which: OffsetSpec) -> dict[Any, Any]:
        asked = dict.fromkeys(places, which)
        return self._ask(lambda admin: admin.list_offsets(asked, request_timeout=ANSWER_SECONDS))

    def _ask(self, call: Any) -> dict[Any, Any]:  # noqa: ANN401 - as above
        """Return the results of a request; raises `BrokerUnavailableError`."""
        try:
            futures: Mapping[Any, Future[Any]] = call(self._client())
            return {
                each: future.result(ANSWER_SECONDS + _GRACE_SECONDS)
                for each, future in futures.items()
            }
        except KafkaException as error:
            fault = unavailable(self._topic, of(error))
        except LateError:
            fault = BrokerUnavailableError(f"Kafka topic {self._topic}: no answer in time")
        admin, self._admin = self._admin, None
        if admin is not None:
            admin.poll(0)
        self._lost.check(self._topic)  # says why there was no answer
        raise fault

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._lost = Lost()
            self._admin = AdminClient(configuration(self._source, self._policy, {}, self._lost))
        return self._admin

    def _forget(self) -> None:
        self._admin = None
