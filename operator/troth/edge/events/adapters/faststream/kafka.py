"""Middleware for FastStream's broker for Kafka with aiokafka."""

import logging
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord
from faststream.kafka.subscriber.usecase import (
    ConcurrentBetweenPartitionsSubscriber,
    DefaultSubscriber,
)
from faststream.middlewares import AckPolicy

from troth.edge.events.adapters.aiokafka.lane import message_of
from troth.edge.events.adapters.aiokafka.producer import DeadLetterProducer
from troth.edge.events.adapters.faststream.guard import Guard, Middleware
from troth.edge.events.adapters.kafka_files import Source, letter_key
from troth.edge.events.bindings import kafka
from troth.edge.events.message import Message, Sealed
from troth.edge.identity.files import Identity

_LOG = logging.getLogger("troth.edge.events")


class EventMiddleware(Middleware[ConsumerRecord[Any, Any]]):
    """Verifies and seals the events of a `KafkaBroker` or `KafkaRouter`."""

    def __init__(
        self,
        identity: Identity,
        configuration: Source,
        *,
        consumes: str | None = None,
        **options: Any,  # noqa: ANN401 - those of `Middleware`
    ) -> None:
        """Create the middleware.

        `configuration` has the options of aiokafka with which dead letters are published: by a
        producer of the middleware's own, so that all replicas acknowledge them. The other options
        are those of `Middleware`.
        """
        super().__init__(identity, consumes=consumes, **options)
        self.letters = None if consumes is None else DeadLetterProducer(configuration, consumes)

    def __call__(
        self,
        msg: ConsumerRecord[Any, Any] | None,
        /,
        *,
        context: Any,  # noqa: ANN401 - FastStream's
    ) -> "_KafkaGuard":
        """Return the guard of one message; FastStream calls this."""
        return _KafkaGuard(self, msg, context=context)

    async def close(self) -> None:
        """Close the connections of the producer of dead letters; use it `after_shutdown`."""
        if self.letters is not None:
            await self.letters.close()


class _KafkaGuard(Guard[ConsumerRecord[Any, Any]]):
    _owner: EventMiddleware

    def fault(self, subscriber: Any) -> str | None:  # noqa: ANN401 - as in the base
        if not isinstance(subscriber, DefaultSubscriber) or isinstance(self.msg, tuple):
            return "a batch cannot be guarded: its messages have one acknowledgement"
        concurrent = type(subscriber) is not DefaultSubscriber
        if concurrent and not isinstance(subscriber, ConcurrentBetweenPartitionsSubscriber):
            return "max_workers needs ack_policy=AckPolicy.MANUAL, or messages are lost"
        if subscriber.ack_policy is not AckPolicy.MANUAL:
            return "the subscriber needs ack_policy=AckPolicy.MANUAL, or messages are lost"
        if subscriber.group_id is None:
            return "the subscriber needs group_id, the policy's group, or messages are lost"
        return None

    def message(self) -> Message:
        return message_of(self.msg)

    async def publish(self, sealed: Sealed) -> None:
        assert self._owner.letters is not None
        await self._owner.letters.publish(sealed, letter_key(self.msg.key))

    async def acknowledge(self) -> None:
        consumer, place = self._consumer, self._place
        try:
            await consumer.commit({place: self.msg.offset + 1})
        except KafkaError as error:
            # The partition's next owner gets the message.
            name = type(error).__name__
            _LOG.warning("Message %s is not committed: %s", self.message().origin, name)

    async def give_back(self) -> None:
        for record in self.msg if isinstance(self.msg, tuple) else (self.msg,):
            consumer = self._consumer
            if consumer is not None:
                place = TopicPartition(record.topic, record.partition)
                with suppress(KafkaError):
                    if await consumer.position(place) > record.offset:
                        consumer.seek(place, record.offset)

    def headers(self, sealed: Sealed) -> dict[str, str]:
        return {name: value.decode() for name, value in kafka.headers(sealed)}

    @property
    def _place(self) -> TopicPartition:
        return TopicPartition(self.msg.topic, self.msg.partition)

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        subscriber = self.context.get_local("handler_")
        return getattr(self.msg, "consumer", None) or getattr(subscriber, "consumer", None)
