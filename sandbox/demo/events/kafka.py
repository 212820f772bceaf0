"""The exchange at Kafka, with confluent-kafka."""

import time
from functools import partial
from typing import Any, Literal

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from sandbox.brokers.kafka import KafkaServer
from sandbox.demo.errors import DemoError
from sandbox.demo.events.exchange import (
    ATTEMPTS,
    FIRST_PAUSE,
    GROUP,
    PATIENCE,
    POLICY,
    SECONDS,
    Fulfilment,
    Party,
)
from sandbox.demo.events.orders import TYPE
from sandbox.demo.messages.broker import DEAD_LETTERS, ORDERS
from troth.cli.event.kafka_topic import message_of
from troth.edge.events.adapters.confluent import EventConsumer, EventProducer, client_properties
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.blocking_duplicates import BlockingDuplicates
from troth.edge.events.consumption.duplicates import Duplicates, window_of
from troth.edge.events.message import Message, Sealed
from troth.replay.memory import Memory

POLL = 0.05


class KafkaExchange:
    """Checkout's producer, fulfilment's consumer, and the owner of the topics."""

    binding: Literal["kafka", "nats"] = "kafka"

    def __init__(
        self, server: KafkaServer, checkout: Party, fulfilment: Party, got: Fulfilment
    ) -> None:
        self._checkout = checkout
        self.reconnect()
        self._fulfilment = fulfilment
        self._got = got
        window = window_of(fulfilment.granted("Consume").context.max_age)
        memory = Duplicates(Memory(), window, group=GROUP)
        self._duplicates = BlockingDuplicates(memory)
        self._consumer: EventConsumer | None = None
        self._owner = _owner(server)

    def order(self, data: bytes, **context: Any) -> Sealed:  # noqa: ANN401 - those of `Sealer.seal`
        """Publish an order with the library."""
        failures: list[KafkaError] = []
        sealed = self._guarded.produce(
            data, type=TYPE, on_delivery=partial(_note, failures), **context
        )
        _check(self._guarded.flush(SECONDS), failures)
        return sealed

    def publish(self, sealed: Sealed) -> None:
        """Publish a message."""
        failures: list[KafkaError] = []
        producer = Producer(_configuration(self._checkout))
        producer.produce(
            ORDERS,
            sealed.data,
            headers=[*kafka.headers(sealed)],
            on_delivery=partial(_note, failures),
        )
        _check(producer.flush(SECONDS), failures)

    def consume(self, count: int) -> None:
        """Poll until the messages are committed."""
        if self._consumer is None:
            self._consumer = EventConsumer(
                self._fulfilment.identity,
                self._got.handler,
                partial(_configuration, self._fulfilment),
                duplicates=self._duplicates,
                attempts=ATTEMPTS,
                patience=PATIENCE,
                first_pause=FIRST_PAUSE,
                hooks=self._got,
            )
        deadline = time.monotonic() + SECONDS
        while len(self._got.outcomes) < count:
            self._consumer.poll(POLL)
            if time.monotonic() > deadline:
                raise DemoError(f"fulfilment did not consume a message within {SECONDS:.0f} s")

    def stop(self) -> None:
        """Commit, and leave the group."""
        if self._consumer is not None:
            self._consumer.close()
        self._consumer = None

    def reconnect(self) -> None:
        """Make a new producer: the library remembers that it was denied.

        The credential's files may change after those of the identity, which have the grant.
        """
        source = partial(_configuration, self._checkout)
        self._guarded = EventProducer(self._checkout.identity, POLICY, source)

    def dead_letter(self) -> Message:
        """Read the next record."""
        record = self._owner.poll(SECONDS)
        if record is None or record.error():
            raise DemoError(f"there is no further message in {DEAD_LETTERS}")
        return message_of(record)

    def close(self) -> None:
        """Leave the group, and close the owner's connection."""
        self.stop()
        self._duplicates.close()
        self._owner.close()


def _configuration(party: Party) -> dict[str, Any]:
    """Return the configuration that a party's mounted files have now."""
    return {**client_properties(party.credential), "log_level": 0}


def _owner(server: KafkaServer) -> Consumer:
    """Return a consumer of all dead letters, with the rights of the topics' owner."""
    consumer = Consumer(
        {
            "bootstrap.servers": server.admin_address,
            "security.protocol": "ssl",
            "ssl.ca.location": str(server.authority.certificate),
            "ssl.certificate.location": str(server.administrator.certificate),
            "ssl.key.location": str(server.administrator.key),
            "group.id": "owner",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    consumer.assign([TopicPartition(DEAD_LETTERS, 0, 0)])
    return consumer


def _note(failures: list[KafkaError], error: KafkaError | None, _message: object) -> None:
    if error is not None:
        failures.append(error)


def _check(left: int, failures: list[KafkaError]) -> None:
    if failures:
        raise DemoError(f"Kafka rejects a message of checkout: {failures[0].name()}")
    if left:
        raise DemoError(f"Kafka did not acknowledge a message within {SECONDS:.0f} s")
