"""An engine that runs against a real Kafka, on which each test has its own names."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.brokers.kafka import KafkaServer
from tests.broker_builders import orders, publisher, subscriber
from tests.brokers.kafka.clients import DENIED, DONE, MECHANISM, Client, Holder, LiveProducer, bare
from tests.brokers.waiting import becomes
from tests.builders import NOW, Manifest, domain, namespace
from tests.messaging import broker, consumer, producer
from tests.patience import PATIENCE
from tests.pki.builders import Made
from tests.reconcile.brokers.at_work import EVERY, MAIN, Working, secret, working
from tests.reconcile.serving import Server
from troth.brokers.kafka.acls import EVERYTHING
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.private import load_private_key
from troth.planning.owned_objects import secret_ref
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest as Stored
from troth.world.observation.objects import decoded

REFUSED = "_AUTHENTICATION"
CHECK = EVERY + timedelta(seconds=1)
"""Time after which the broker has been checked again."""
SLOTS = {mechanism: slot for slot, mechanism in MECHANISM.items()}


@dataclass(frozen=True)
class Stage:
    """One test's part of a server: the names that begin with `mine`."""

    server: KafkaServer
    mine: str

    @property
    def home(self) -> str:
        """Namespace of the services."""
        return self.mine.removesuffix(".")

    @property
    def topic(self) -> str:
        """Topic that `checkout` publishes and `fulfilment` consumes."""
        return f"{self.mine}orders"

    @property
    def group(self) -> str:
        """Consumer group of `fulfilment`."""
        return f"{self.mine}packing"

    @property
    def checkout(self) -> Ref:
        return Ref(self.home, "checkout")

    @property
    def fulfilment(self) -> Ref:
        return Ref(self.home, "fulfilment")

    @property
    def orders(self) -> Ref:
        """Policy of the topic."""
        return Ref(self.home, "orders")

    def broker(
        self,
        *,
        owns: tuple[str, ...] = (),
        groups: tuple[str, ...] = (),
        principals: str = "",
        at: str = "",
        **described: Any,
    ) -> Manifest:
        """Return the broker, administered at its own listener; `described` extends `spec.kafka`."""
        kafka = {
            "bootstrapServers": [at or self.server.client_address],
            "tls": {"caSecretRef": {"name": "kafka-ca"}},
            "adminSecretRef": {"name": "kafka-admin"},
        }
        return broker(
            described={"kafka": kafka | described},
            owns=[self.mine, *owns],
            principals=principals or self.mine,
            groups=groups or [self.mine],
            administrators=["super.users"],
        )

    def market(self, *manifests: Manifest) -> list[Manifest]:
        """Return a shop where `checkout` publishes orders and `fulfilment` consumes them.

        A given manifest replaces the one of the same kind and name.
        """
        admin = self.server.administrator
        files = {
            "bootstrap.servers": self.server.admin_address,
            "tls.crt": admin.certificate.read_text(),
            "tls.key": admin.key.read_text(),
        }
        declared = [
            namespace(self.home, domain="production"),
            namespace("messaging", domain="production"),
            domain(),
            secret("kafka-admin", files),
            secret("kafka-ca", {"ca.crt": self.server.authority.certificate.read_text()}),
            self.broker(),
            publisher(namespace=self.home),
            subscriber(namespace=self.home),
            self.policy(),
            *manifests,
        ]
        return list({(each["kind"], Ref.of(each)): each for each in declared}.values())

    def policy(
        self, name: str = "orders", topic: Manifest | None = None, group: str = ""
    ) -> Manifest:
        """Return a policy by which `checkout` publishes and `fulfilment` consumes."""
        return orders(
            name,
            namespace=self.home,
            topic=topic or {"name": self.topic},
            producers=[producer("checkout")],
            consumers=[consumer("fulfilment", group or self.group)],
        )

    def acls(self) -> list[Any]:
        """Return every ACL of this test, as another administrator sees them."""
        admin = bare(self.server)
        found = admin.describe_acls(EVERYTHING, request_timeout=PATIENCE).result()
        return [each for each in found if self.home in each.principal or self.home in each.name]


@dataclass
class AtKafka(Working):
    """An engine that runs against a Kafka, and clients of that Kafka."""

    stage: Stage

    def client(self, identity: Ref) -> Client:
        """Return a client with the current data of its Secret."""
        data = self.data(identity)
        slot = SLOTS[data["sasl.mechanism"]]
        return Client(self.stage.server, data["username"], data["password"], slot)

    def holder(self, identity: Ref) -> Holder:
        """Return a client with its identity's certificate."""
        stored: Stored = self.server.objects["Secret", secret_ref(identity)]
        data = decoded(stored)
        (leaf, *_) = read_certificates(data["tls.crt"], "the test")
        return Holder(self.stage.server, Made(leaf, load_private_key(data["tls.key"])))

    @property
    def fault(self) -> str:
        """Reason why Troth cannot use the broker."""
        status, reason, _ = self.condition_of("MessageBroker", MAIN, "Reachable")
        return "" if status == "True" else reason


async def publishes(client: Client | LiveProducer, topic: str) -> str:
    return await asyncio.to_thread(client.publish, topic)


async def consumes(client: Client, topic: str, group: str) -> str:
    return await asyncio.to_thread(client.consume, topic, group)


async def publishes_at_last(client: Client | LiveProducer, topic: str) -> None:
    """Wait until a client may publish: the server reads its controller's writes with a delay."""

    async def done() -> bool:
        return await publishes(client, topic) == DONE

    await becomes(done)


async def ends(client: Client | LiveProducer, topic: str) -> str:
    """Wait until a client may not publish any more; return the error code."""
    told = DONE

    async def refused() -> bool:
        nonlocal told
        told = await publishes(client, topic)
        return told != DONE

    await becomes(refused)
    assert told in {*DENIED, REFUSED}
    return told


@asynccontextmanager
async def at_kafka(
    stage: Stage, objects: Iterable[Manifest], now: datetime = NOW
) -> AsyncIterator[AtKafka]:
    """Start an engine that has just listed all objects, and wait until it has settled."""
    async with on_kafka(Server(objects), stage, now) as it:
        yield it


@asynccontextmanager
async def on_kafka(server: Server, stage: Stage, now: datetime = NOW) -> AsyncIterator[AtKafka]:
    """Start an engine on a server that another engine may have used."""
    async with working(server, now) as it:
        yield AtKafka(it.running, stage)
