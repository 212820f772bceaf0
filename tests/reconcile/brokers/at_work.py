"""An engine that runs against an in-memory API server and a real NATS."""

import asyncio
import base64
import copy
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nats.aio.client import Client
from nats.errors import Error

from tests.broker_builders import orders, publisher, subscriber
from tests.brokers.nats.stage import Stage
from tests.builders import NOW, OWN, Manifest, domain, namespace, stamp
from tests.messaging import broker
from tests.patience import PATIENCE
from tests.reconcile.serving import LeaderFence, Running, Server, running
from troth.brokers.nats.rules import inbox_prefix
from troth.reconcile.brokers.work import BrokerWork
from troth.resources.references import Ref
from troth.world.facts.broker import Ledger
from troth.world.index.brokers import credential_ref
from troth.world.observation.broker_secrets import DIGEST, STATE, digest
from troth.world.observation.ledger import kept_ledger, ledger_ref
from troth.world.observation.objects import decoded

MAIN = Ref("messaging", "main")
ORDERS = Ref("shop", "orders")
CHECKOUT = Ref("shop", "checkout")
FULFILMENT = Ref("shop", "fulfilment")
TOPIC = "prod.orders.v1"
PUBLISHER, CONSUMER = "troth-shop.checkout", "troth-shop.fulfilment"
LEDGER = ledger_ref(OWN, MAIN)
EVERY = timedelta(seconds=61)
"""Time in which a broker is checked once for drift."""


def secret(name: str, data: dict[str, str], namespace: str = "messaging") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Opaque",
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def admin_secrets(stage: Stage) -> list[Manifest]:
    """Return the Secrets that the broker's owner provides."""
    admin = stage.admin()
    return [
        secret("nats-admin", {"system.creds": admin.creds, "operator.nk": admin.seed}),
        secret("nats-ca", {"ca.crt": stage.server.ca()}),
    ]


def nats_broker(stage: Stage, **spec: Any) -> Manifest:
    described = {
        "servers": [stage.server.url.removeprefix("tls://")],
        "account": stage.account.public,
        "operator": stage.server.keys.operator.public,
        "tls": {"caSecretRef": {"name": "nats-ca"}},
        "adminSecretRef": {"name": "nats-admin"},
    }
    # the account's own key signs the witnesses
    known: dict[str, Any] = {"administrators": [stage.account.public]}
    return broker(described={"nats": described}, **known | spec)


def market(stage: Stage, *manifests: Manifest, **spec: object) -> list[Manifest]:
    """Return a shop with a broker: `checkout` publishes orders and `fulfilment` consumes them."""
    return [
        namespace("shop", domain="production"),
        namespace("messaging", domain="production"),
        domain(),
        *admin_secrets(stage),
        nats_broker(stage, **spec),
        publisher(),
        subscriber(),
        orders(),
        *manifests,
    ]


@dataclass
class Working:
    """An engine and its server, with any declared brokers."""

    running: Running

    @property
    def server(self) -> Server:
        return self.running.server

    async def settle(self) -> None:
        """Wait until neither keys nor brokers have work."""
        work = self.running.engine.background
        assert isinstance(work, BrokerWork)
        async with asyncio.timeout(PATIENCE):
            while True:
                await self.running.settle()
                if not work.busy:
                    return
                await work.settled()

    async def put(self, manifest: Manifest) -> None:
        self.running.engine.observe(self.server.put(manifest))
        await self.settle()

    async def delete(self, kind: str, ref: Ref, moment: datetime = NOW) -> None:
        """Delete as kubectl does: an object with a finalizer stays until that is removed."""
        stored = self.server.objects[kind, ref]
        if stored["metadata"].get("finalizers"):
            stored["metadata"]["deletionTimestamp"] = stamp(moment)
            self.running.engine.observe(self.server.put(stored))
        else:
            gone = self.server.take_away(kind, ref)
            version = int(gone["metadata"]["resourceVersion"])
            self.running.engine.forget(kind, ref, version)
            await self._collect(gone)
        await self.settle()

    async def _collect(self, owner: Manifest) -> None:
        """Delete what a deleted object owned, as the garbage collector does."""
        uid = owner["metadata"]["uid"]
        owned = [
            place
            for place, each in self.server.objects.items()
            if any(one["uid"] == uid for one in each["metadata"].get("ownerReferences") or [])
        ]
        for kind, ref in owned:
            gone = self.server.take_away(kind, ref)
            version = int(gone["metadata"]["resourceVersion"])
            self.running.engine.forget(kind, ref, version)

    async def later(self, length: timedelta) -> None:
        """Advance the clock and process the keys that are due."""
        clock, queue = self.running.clock, self.running.engine.queue
        await clock.move_to(clock.now() + length)
        async with asyncio.timeout(PATIENCE):
            while any(
                each.at <= clock.now() or each.uptime <= clock.uptime()
                for each in queue._due.values()
            ):
                await asyncio.sleep(0)
                await self.settle()
        await self.settle()

    @property
    def ledger(self) -> Ledger:
        """The broker's ledger."""
        kept = kept_ledger(self.server.objects["ConfigMap", LEDGER])
        assert kept.fault is None
        return kept.ledger

    def notes(self, reason: str) -> list[str]:
        """Return the notes of the Events with a reason."""
        return [each["note"] for each in self.server.events if each["reason"] == reason]

    async def edit(self, kind: str, ref: Ref, **spec: object) -> None:
        """Change members of a spec; None removes one."""
        stored = copy.deepcopy(self.server.objects[kind, ref])
        merged = {**stored["spec"], **spec}
        stored["spec"] = {name: value for name, value in merged.items() if value is not None}
        await self.put(stored)

    async def annotate(self, ref: Ref, **annotations: str) -> None:
        """Annotate the broker."""
        stored = copy.deepcopy(self.server.objects["MessageBroker", ref])
        stored["metadata"]["annotations"] = annotations
        await self.put(stored)

    def secret_saying(self, identity: Ref, **said: object) -> Manifest:
        """Return the credential's Secret with another `troth.json` and a matching digest."""
        stored = copy.deepcopy(self.server.objects["Secret", credential_ref(identity, MAIN)])
        data = decoded(stored)
        data[STATE] = json.dumps({**json.loads(data[STATE]), **said}).encode()
        stored["data"] = {name: base64.b64encode(each).decode() for name, each in data.items()}
        stored["metadata"]["annotations"] = {DIGEST: digest(data)}
        return stored

    def data(self, identity: Ref) -> dict[str, str]:
        """Return the data of the credential's Secret as its service reads it."""
        stored = self.server.objects["Secret", credential_ref(identity, MAIN)]
        return {key: base64.b64decode(text).decode() for key, text in stored["data"].items()}

    def grants(self, policy: Ref = ORDERS) -> list[tuple[str, str, str, str]]:
        """Return identity, action, state and reason of each grant in a policy's status."""
        listed = self.server.objects["TopicPolicy", policy]["status"].get("grants") or []
        return [
            (each["identity"], each["action"], each["state"], each.get("reason", ""))
            for each in listed
        ]

    def condition_of(self, kind: str, ref: Ref, type_: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        found = self.server.condition(kind, ref, type_)
        return found["status"], found["reason"], found["message"]


@dataclass
class AtWork(Working):
    """An engine that runs against a NATS, and clients of that NATS."""

    stage: Stage

    async def enters(self, creds: str, inbox: str) -> bool:
        """Return whether NATS accepts a credential, which need not be stored anywhere."""
        try:
            client = await self.stage.enter(creds, inbox)
        except (Error, OSError):
            return False
        await client.close()
        return True

    async def client(self, identity: Ref, **options: Any) -> Client:
        """Return a client that has only the files of its Secret."""
        data = self.data(identity)
        return await self.stage.enter(data["user.creds"], data["inbox.prefix"], **options)


@asynccontextmanager
async def at_work(
    stage: Stage,
    objects: Iterable[Manifest],
    now: datetime = NOW,
    leader_fence: LeaderFence | None = None,
) -> AsyncIterator[AtWork]:
    """Start an engine that has just listed all objects, and wait until it has settled."""
    async with on(Server(objects), stage, now, leader_fence) as it:
        yield it


@asynccontextmanager
async def on(
    server: Server, stage: Stage, now: datetime = NOW, leader_fence: LeaderFence | None = None
) -> AsyncIterator[AtWork]:
    """Start an engine on a server that another engine may have used."""
    async with working(server, now, leader_fence) as it:
        yield AtWork(it.running, stage)


@asynccontextmanager
async def working(
    server: Server, now: datetime = NOW, leader_fence: LeaderFence | None = None
) -> AsyncIterator[Working]:
    """Start an engine on a server, and wait until it has settled."""
    async with running(server, now, leader_fence, due=True) as it:
        it.engine.queue.add(it.engine.world.brokers.everything())
        work = Working(it)
        try:
            await work.settle()
            yield work
        finally:
            await it.engine.close()


__all__ = ["CHECKOUT", "FULFILMENT", "MAIN", "ORDERS", "TOPIC", "AtWork", "at_work", "inbox_prefix"]
