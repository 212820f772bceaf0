"""Kafka clients as services use them, and the results of their attempts."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupState,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from sandbox.brokers.kafka import KafkaServer
from tests.patience import PATIENCE
from tests.pki.builders import Made
from troth.brokers.kafka.admin import Certificate
from troth.brokers.kafka.client import Access
from troth.brokers.kafka.driver import Kafka
from troth.trust.grants import Slot

MECHANISM = {Slot.FIRST: "SCRAM-SHA-256", Slot.SECOND: "SCRAM-SHA-512"}

DONE = "done"
DENIED = {
    "TOPIC_AUTHORIZATION_FAILED",
    "GROUP_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
}
REFUSED = "_AUTHENTICATION"
TURNED_AWAY = "_ALL_BROKERS_DOWN"
"""Error of librdkafka if the only server closes the connection without a message."""


def access(server: KafkaServer) -> Access:
    """Return the administrator's access."""
    return Access(
        (server.admin_address,),
        Certificate(
            server.administrator.certificate.read_text(), server.administrator.key.read_text()
        ),
        server.authority.certificate.read_text(),
    )


def administered(server: KafkaServer, *, timeout: float = 10) -> Kafka:
    return Kafka(access(server), clients=(server.client_address,), timeout=timeout)


def bare(server: KafkaServer) -> AdminClient:
    """Return the library's own client, for foreign changes."""
    return AdminClient({**access(server).configuration(), "log_level": 0})


def make_topics(server: KafkaServer, names: Iterable[str]) -> None:
    """Create topics with one message each."""
    names = list(names)
    admin = bare(server)
    for made in admin.create_topics([NewTopic(name, 1, 1) for name in names]).values():
        made.result()
    fill_topics(server, names)


def fill_topics(server: KafkaServer, names: Iterable[str]) -> None:
    """Add one message to each topic."""
    producer = Producer({**access(server).configuration(), "log_level": 0})
    for name in names:
        producer.produce(name, b"for whoever may read")
    assert producer.flush(PATIENCE) == 0


def wait_until_joined(server: KafkaServer, group: str, names: set[str]) -> None:
    """Wait until a group has exactly members with these client IDs, and is stable."""
    admin, deadline = bare(server), time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(KafkaException):  # the group's coordinator may still be loading
            found = admin.describe_consumer_groups([group])[group].result()
            members = {each.client_id for each in found.members}
            if members == names and found.state is ConsumerGroupState.STABLE:
                return
        time.sleep(0.05)
    raise AssertionError("the group has other members")


@dataclass
class Client:
    """Principal with one credential. Its calls block, and each attempt opens its own connection."""

    server: KafkaServer
    principal: str
    password: str
    slot: Slot = Slot.FIRST
    errors: list[KafkaError] = field(default_factory=list)

    def publish(self, topic: str) -> str:
        """Publish a message; return `DONE`, or the name of the error."""
        return self.producer().publish(topic)

    def producer(self) -> "LiveProducer":
        return LiveProducer(self)

    def consume(self, topic: str, group: str) -> str:
        """Consume a message; return `DONE`, or the name of the error."""
        consumer = Consumer(
            {
                **self.configuration(),
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        try:
            consumer.subscribe([topic])
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                message = consumer.poll(0.1)
                if message and (error := message.error()):
                    return str(error.name())
                if message:
                    consumer.commit(message=message, asynchronous=False)
                    return DONE
                if refused := self.refused():
                    return refused
        except KafkaException as failed:
            return str(failed.args[0].name())
        finally:
            consumer.close()
        raise AssertionError("neither a message nor an error")

    def read(self, topic: str) -> str:
        """Read a message of a partition, without a group; return `DONE`, or the error's name.

        librdkafka needs the name of a group and looks for its coordinator. It also reads if the
        server denies that. If the server denies the topic, it only says so in the metadata.
        """
        consumer = Consumer(
            {**self.configuration(), "group.id": "unused", "enable.auto.commit": False}
        )
        try:
            denied = consumer.list_topics(topic, PATIENCE).topics[topic].error
            if denied is not None:
                return str(denied.name())
            consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                message = consumer.poll(0.1)
                error = None if message is None else message.error()
                if error is not None and error.name() != "GROUP_AUTHORIZATION_FAILED":
                    return str(error.name())
                if message is not None and error is None:
                    return DONE
                if refused := self.refused():
                    return refused
        finally:
            consumer.close()
        raise AssertionError("neither a message nor an error")

    @contextmanager
    def members(
        self, topic: str, group: str, *names: str, protocol: str = "classic"
    ) -> Iterator[None]:
        """Keep members of a group, with these client IDs; all have joined it."""
        consumers = [self._consumer(group, name, protocol) for name in names]
        ending = Event()

        def keep(consumer: Consumer) -> None:
            consumer.subscribe([topic])
            while not ending.is_set():
                consumer.poll(0.05)
            consumer.close()

        with ThreadPoolExecutor(len(names)) as pool:
            kept = [pool.submit(keep, each) for each in consumers]
            try:
                wait_until_joined(self.server, group, set(names))
                yield
            finally:
                ending.set()
                for each in kept:
                    each.result()

    def _consumer(self, group: str, name: str, protocol: str) -> Consumer:
        session = {"session.timeout.ms": 6000} if protocol == "classic" else {}
        return Consumer(
            {
                **self.configuration(),
                "client.id": name,
                "group.id": group,
                "enable.auto.commit": False,
                "group.protocol": protocol,
                **session,
            }
        )

    def refused(self) -> str:
        return next((REFUSED for error in self.errors if error.name() == REFUSED), "")

    def configuration(self) -> dict[str, Any]:
        self.errors.clear()
        return {
            "bootstrap.servers": self.server.client_address,
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": MECHANISM[self.slot],
            "sasl.username": self.principal,
            "sasl.password": self.password,
            "ssl.ca.location": str(self.server.authority.certificate),
            "error_cb": self.errors.append,
            "log_level": 0,
        }


@asynccontextmanager
async def joined(
    client: Client, topic: str, group: str, *names: str, protocol: str = "classic"
) -> AsyncIterator[None]:
    """Keep members of a group while the event loop continues."""
    members = client.members(topic, group, *names, protocol=protocol)
    await asyncio.to_thread(members.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(members.__exit__, None, None, None)


class Holder(Client):
    """Client with a certificate; the server maps the certificate to a principal."""

    def __init__(self, server: KafkaServer, held: Made, address: str = "") -> None:
        super().__init__(server, principal="", password="")
        self.held = held
        self._address = address or server.identity_address

    def refused(self) -> str:
        return next((TURNED_AWAY for error in self.errors if error.name() == TURNED_AWAY), "")

    def configuration(self) -> dict[str, Any]:
        self.errors.clear()
        return {
            "bootstrap.servers": self._address,
            "security.protocol": "ssl",
            "ssl.certificate.pem": self.held.pem.decode(),
            "ssl.key.pem": self.held.key_pem.decode(),
            "ssl.ca.location": str(self.server.authority.certificate),
            "error_cb": self.errors.append,
            "log_level": 0,
        }


class LiveProducer:
    """Idempotent producer, the default of the Java client, whose connection stays open."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._producer = Producer(
            {
                **client.configuration(),
                "enable.idempotence": True,
                "linger.ms": 0,
                "message.timeout.ms": int(PATIENCE * 1000),
            }
        )

    def publish(self, topic: str) -> str:
        outcomes: list[str] = []

        def delivered(error: KafkaError | None, _: object) -> None:
            outcomes.append(error.name() if error else DONE)

        deadline = time.monotonic() + PATIENCE
        try:
            self._producer.produce(topic, b"hello", on_delivery=delivered)
            while time.monotonic() < deadline:
                self._producer.poll(0.02)
                if outcomes:
                    return outcomes[0]
                if refused := self._client.refused():
                    return refused
        except KafkaException as failed:
            # A client that may write to no topic gets no producer ID, and its producer fails for
            # good.
            return str(failed.args[0].name())
        raise AssertionError("neither delivered nor refused")
