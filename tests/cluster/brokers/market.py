"""A shop with a broker on a real API server, and the actions and observations of its users."""

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any, Self

from nats.aio.client import Client

from sandbox.brokers.kafka import KafkaServer
from tests import messaging
from tests.broker_builders import orders, publisher, subscriber
from tests.brokers.nats.stage import Ears, sent
from tests.brokers.nats.stage import Stage as Account
from tests.cluster.person import LONG, Manifest, condition, until
from tests.cluster.stage import IDENTITY, Stage
from tests.reconcile.brokers.at_work import admin_secrets, nats_broker, secret
from troth.resources.references import Ref
from troth.world.index.brokers import credential_ref
from troth.world.observation.ledger import kept_ledger, ledger_ref

BROKER, POLICY = "MessageBroker", "TopicPolicy"
TOPIC = "prod.orders.v1"


@dataclass
class Market:
    """A publisher `checkout`, a consumer `fulfilment`, and the broker's namespace `space`."""

    stage: Stage
    nats: Account
    space: str

    @classmethod
    async def on(cls, stage: Stage, nats: Account, propagation: str = "1m") -> Self:
        """Declare the domain, and give the broker's namespace its owner's Secrets."""
        await stage.domain(bundle={"propagation": propagation})
        made = cls(stage, nats, await stage.namespace())
        for each in admin_secrets(nats):
            await stage.person.put(made.here(each))
        return made

    def here(self, manifest: Manifest) -> Manifest:
        """Move a broker's manifest to its namespace here."""
        return {**manifest, "metadata": {**manifest["metadata"], "namespace": self.space}}

    @property
    def main(self) -> Ref:
        return Ref(self.space, "main")

    @property
    def orders(self) -> Ref:
        return Ref(self.stage.shop, "orders")

    @property
    def checkout(self) -> Ref:
        return Ref(self.stage.shop, "checkout")

    @property
    def fulfilment(self) -> Ref:
        return Ref(self.stage.shop, "fulfilment")

    @property
    def log(self) -> Ref:
        """The Kafka broker."""
        return Ref(self.space, "log")

    @property
    def bills(self) -> Ref:
        return Ref(self.stage.shop, "bills")

    @property
    def billing(self) -> Ref:
        """The publisher at the Kafka broker."""
        return Ref(self.stage.shop, "billing")

    # Declarations

    def accounts(self, kafka: KafkaServer, **spec: Any) -> list[Manifest]:
        """Return a Kafka broker with its owner's Secrets, a policy there, and its publisher.

        All names belong to this test, because tests share the server.
        """
        name = self.stage.name
        described = {
            "bootstrapServers": [kafka.client_address],
            "tls": {"caSecretRef": {"name": "kafka-ca"}},
            "adminSecretRef": {"name": "kafka-admin"},
        }
        return [
            secret("kafka-admin", kafka.admin_secret(), self.space),
            secret("kafka-ca", kafka.ca_secret(), self.space),
            messaging.broker(
                self.log.name,
                self.space,
                described={"kafka": described},
                owns=[f"{name}."],
                principals=f"{name}-",
                administrators=["super.users"],
                environment=name,
                allowedNamespaces={"matchLabels": {"domain": name}},
                **spec,
            ),
            messaging.policy(
                self.bills.name,
                self.stage.shop,
                at=(self.space, self.log.name),
                environment=name,
                topic={"name": f"{name}.bills"},
                producers=[messaging.producer("billing")],
            ),
            publisher("billing", "bills", namespace=self.stage.shop),
        ]

    def broker(self, **spec: Any) -> Manifest:
        name = self.stage.name
        governed = {"allowedNamespaces": {"matchLabels": {"domain": name}}}
        return self.here(nats_broker(self.nats, environment=name, **governed, **spec))

    def policy(self, name: str = "orders", **spec: Any) -> Manifest:
        here = {"namespace": self.stage.shop, "at": self.main, "environment": self.stage.name}
        return orders(name, **here | spec)

    async def open(self, *more: Manifest) -> None:
        """Declare the NATS broker, its policy and its peers, and wait until they are in place."""
        person, shop = self.stage.person, self.stage.shop
        teams = publisher(namespace=shop), subscriber(namespace=shop)
        await person.put(self.broker(), *teams, self.policy(), *more)
        await self.in_place()

    async def in_place(self) -> None:
        """Wait until every resource reports that it is in place."""
        person = self.stage.person
        for identity in (self.checkout, self.fulfilment):
            await person.ready(IDENTITY, identity)
        for kind, ref in ((POLICY, self.orders), (BROKER, self.main)):
            await person.ready(kind, ref)

    # Actions

    async def end(self) -> None:
        """Delete both namespaces with all their contents."""
        for name in (self.space, self.stage.shop):
            await self.stage.person.delete("Namespace", Ref("", name))

    async def gone(self) -> None:
        """Wait until both namespaces are gone."""
        for name in (self.space, self.stage.shop):
            await self.stage.person.misses("Namespace", Ref("", name), LONG)

    async def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as a cluster administrator, while the operator runs."""
        return await asyncio.to_thread(self.stage.sandbox.kubectl, *arguments, stdin=stdin)

    async def client(self, identity: Ref) -> Client:
        """Return a client with the files of the service's Secret, and nothing else."""
        data = await self.data(identity)
        return await self.nats.enter(data["user.creds"], data["inbox.prefix"])

    # Observations

    @property
    def forbidden(self) -> list[tuple[str, str, str]]:
        """Requests that RBAC denied the operators, except for Events.

        Nobody may create Events in a terminating namespace, of this test or of another.
        """
        made = [each for copy in self.stage.copies for each in copy.requests.made]
        return [each for each in made if each[2] in ("401", "403") and each[1] != "events"]

    async def credential(self, identity: Ref) -> Manifest:
        return await self.stage.person.the("Secret", credential_ref(identity, self.main))

    async def data(self, identity: Ref, broker: Ref | None = None) -> dict[str, str]:
        """Return the Secret with an identity's credential, as its service reads it."""
        place = credential_ref(identity, broker or self.main)
        data = (await self.stage.person.the("Secret", place))["data"]
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    async def messages(self, identity: Ref) -> Manifest:
        """Return the messaging part of an identity's document."""
        data = (await self.stage.secret(identity))["data"]
        document = json.loads(base64.b64decode(data["identity.json"]))
        found: Manifest = document.get("messages") or {}
        return found

    async def principals(self) -> frozenset[str]:
        """Return the principals in Troth's ledger of the broker; empty if there is none."""
        found = await self.stage.person.get("ConfigMap", ledger_ref(self.stage.own, self.main))
        return kept_ledger(found).ledger.principals if found else frozenset()

    async def signing_keys(self) -> int:
        """Return the number of credentials in the broker's account."""
        claims = await self.nats.claims()
        return len(claims["nats"].get("signing_keys") or [])

    async def works(self) -> None:
        """Assert that orders arrive, and that the consumer cannot publish."""
        publishing = await self.client(self.checkout)
        consuming = await self.client(self.fulfilment)
        ears = Ears(consuming)
        await ears.listen(TOPIC, "fulfilment")
        await ears.settle()
        await publishing.publish(TOPIC, b"an order")
        await consuming.publish(TOPIC, b"no order")
        for each in (publishing, consuming):
            await sent(each)
        await ears.settle()
        await ears.leave()  # the next consumer of this group must get every message
        assert ears.heard[TOPIC, "fulfilment"] == {b"an order"}

    @staticmethod
    def cut_off(client: Client) -> bool:
        """Return whether the broker has closed a client's connection."""
        return bool(client.is_closed)

    async def hears(self, kind: str, ref: Ref, type_: str, reason: str) -> str:
        """Wait until a condition has a reason; return its message."""

        def told(found: Manifest | None) -> bool:
            return found is not None and condition(found, type_).get("reason") == reason

        seen = await until(lambda: self.stage.person.get(kind, ref), told)
        assert seen is not None
        message: str = condition(seen, type_)["message"]
        return message
