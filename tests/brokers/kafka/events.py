"""Checkout, fulfilment and a stranger at a real Kafka."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import MECHANISM, access, bare
from tests.brokers.waiting import observed
from tests.edge.events.market import Market
from tests.edge.events.trade import POLICY
from tests.patience import PATIENCE
from troth.brokers.kafka.driver import Kafka
from troth.brokers.kafka.rules import rules
from troth.brokers.protocol import Batch, Credential
from troth.edge.events.adapters.confluent import EventConsumer, EventProducer
from troth.edge.events.bindings import kafka as binding
from troth.edge.events.consumption.dead_letters import DeadLetter, DeadLetterReader
from troth.edge.events.consumption.handlers import handler
from troth.edge.events.event import Event
from troth.edge.events.message import Message
from troth.trust.grants import Action, Grant, Slot, Topic

PASSWORD = "a-password-of-the-test"
LOG_APPEND = {"message.timestamp.type": "LogAppendTime"}
UNREADY = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


class KafkaMarket:
    """A topic and its dead-letter topic, with the grants that Troth gives its principals."""

    def __init__(self, server: KafkaServer, broker: Kafka, mine: str, path: Path) -> None:
        self.server = server
        self.broker = broker
        self.market = Market(path, topic=f"{mine}orders", group=f"{mine}fulfilment")
        self.topic, self.dead_letters = self.market.topic, self.market.dead_letters
        self.checkout, self.fulfilment = f"{mine}checkout", f"{mine}fulfilment"
        self.handled: list[Event] = []
        self.more: dict[str, Any] = {}

    async def open(
        self,
        *,
        partitions: int = 1,
        config: Mapping[str, str] = LOG_APPEND,
        dead_letters: bool = True,
    ) -> None:
        """Create topics and credentials, and grant what the policy declares."""
        admin = bare(self.server)
        topics = [NewTopic(self.topic, partitions, 1, config=dict(config))]
        topics.append(NewTopic(self.dead_letters, 1, 1))
        for made in admin.create_topics(topics).values():
            made.result()
        await self.grant(
            Grant(self.checkout, Action.PUBLISH, Topic(self.topic)),
            Grant(self.fulfilment, Action.CONSUME, Topic(self.topic), self.market.group),
        )
        if dead_letters:
            await self.grant_dead_letters()

    async def grant_dead_letters(self) -> None:
        await self.grant(Grant(self.fulfilment, Action.PUBLISH, Topic(self.dead_letters)))

    async def grant(self, *grants: Grant) -> None:
        additions = rules(grants)
        principals = {each.principal for each in grants}
        held = tuple(Credential(each, Slot.FIRST, PASSWORD) for each in principals)
        assert await self.broker.apply(Batch(held, tuple(additions))) == ()
        await observed(
            self.broker,
            lambda seen: (
                {(each, Slot.FIRST) for each in principals} <= seen.credentials
                and additions <= seen.rules
            ),
        )

    def properties(self, principal: str) -> dict[str, Any]:
        """Return what a mounted `client.properties` has."""
        return {
            "bootstrap.servers": self.server.client_address,
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": MECHANISM[Slot.FIRST],
            "sasl.username": principal,
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(self.server.authority.certificate),
            "log_level": 0,
        }

    def producer(self) -> EventProducer:
        identity = self.market.identity(self.market.checkout)
        return EventProducer(identity, POLICY, self.properties(self.checkout))

    def publish(self, *, count: int = 1, partition: int | None = None, **options: Any) -> list[str]:
        """Publish orders; return their IDs."""
        data, given = b'{"sku":"A-1","quantity":2}', {"type": "shop.order.placed"} | options
        with self.producer() as producer:
            sealed = [producer.produce(data, partition=partition, **given) for _ in range(count)]
        return [each.attributes["id"] for each in sealed]

    def inject(
        self,
        headers: list[tuple[str, Any]],
        value: bytes | None = b"",
        *,
        topic: str = "",
        partition: int = -1,
        most: int = 1_000_000,
        key: bytes | None = None,
    ) -> None:
        """Produce a record as the administrator, who may do everything."""
        producer = Producer(
            {**access(self.server).configuration(), "log_level": 0, "message.max.bytes": most}
        )
        producer.produce(topic or self.topic, value, headers=headers, partition=partition, key=key)
        assert producer.flush(PATIENCE) == 0

    @contextmanager
    def consumer(
        self, call: Callable[[Event], object] | None = None, **options: Any
    ) -> Iterator[EventConsumer]:
        identity = self.market.identity(self.market.fulfilment)
        function = handler(policy=POLICY)(call or self.handled.append)
        given: dict[str, Any] = {"duplicates": None} | options
        with EventConsumer(
            identity, function, self.properties(self.fulfilment) | self.more, **given
        ) as consumer:
            yield consumer

    def committed(self) -> dict[int, int]:
        """Return the group's committed offsets by partition; others are left out."""
        with self._witness(self.market.group) as witness:
            known = witness.list_topics(self.topic).topics[self.topic].partitions
            asked = [TopicPartition(self.topic, each) for each in known]
            found = _committed(witness, asked)
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def letters(self) -> list[DeadLetter]:
        """Return all dead letters, verified."""
        identity = self.market.identity(self.market.fulfilment)
        reader = DeadLetterReader(identity, POLICY)
        read = [reader.read(each) for each in self.records(self.dead_letters)]
        assert all(isinstance(each, DeadLetter) for each in read), read
        return [each for each in read if isinstance(each, DeadLetter)]

    def reasons(self) -> list[str]:
        return [str(each.rejection.reason) for each in self.letters()]

    def records(self, topic: str) -> list[Message]:
        """Return all records of a topic with one partition."""
        with self._witness("") as witness:
            place = TopicPartition(topic, 0, 0)
            _, end = witness.get_watermark_offsets(place, PATIENCE)
            witness.assign([place])
            found: list[Message] = []
            while len(found) < end:
                record = witness.poll(PATIENCE)
                assert record is not None
                assert record.error() is None
                headers: Any = record.headers() or []
                found.append(binding.read(topic, headers, record.value(), offset=record.offset()))
        return found

    @contextmanager
    def _witness(self, group: str) -> Iterator[Consumer]:
        own = {"group.id": group or "witness", "enable.auto.commit": False, "log_level": 0}
        witness = Consumer({**access(self.server).configuration(), **own})
        try:
            yield witness
        finally:
            witness.close()


def _committed(witness: Consumer, asked: list[TopicPartition]) -> list[TopicPartition]:
    """Ask again while the group's coordinator is not ready; a busy server moves it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return witness.committed(asked, PATIENCE)
        except KafkaException as failed:
            if failed.args[0].code() not in UNREADY or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def drive(consumer: EventConsumer, condition: Callable[[], bool]) -> None:
    """Let a consumer work until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        consumer.poll(0.05)
