"""The NATS adapter passes the contract."""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from nats import errors
from nats.aio.client import Client

from sandbox.brokers.nats import NatsServer
from tests.brokers.contract import Contract, Opened, Operation
from tests.brokers.nats.denials import Denials
from tests.brokers.nats.stage import (
    DURABLES,
    STREAMS,
    Ears,
    Stage,
    consume,
    fill_streams,
    publish,
    sent,
    stage,
)
from tests.builders import Manifest
from tests.patience import PATIENCE
from tests.reconcile.brokers.at_work import admin_secrets, nats_broker
from troth.brokers.nats.rules import SUBJECT, inbox_prefix
from troth.brokers.protocol import Credential, Driver, Login
from troth.resources.messaging.broker_type import BrokerType
from troth.trust.grants import Action, Grant, Observed, Rule, Slot

PRINCIPALS = ("shop", "shop.till")
LONGEST = "a" + "x" * 248
SUBJECTS = ("a", "a.b", "a.b.c", "b", "é.b", LONGEST)
QUEUES = ("", "q", "r")


@dataclass
class Nats:
    """A test's own account; `witness` may do anything in it."""

    stage: Stage
    witness: Client
    writes: Callable[[], Awaitable[int]]
    type = BrokerType.NATS
    principals = PRINCIPALS
    names = SUBJECTS
    prefix = "troth-"

    @property
    def described(self) -> Manifest:
        return {"nats": nats_broker(self.stage)["spec"]["nats"]}

    @property
    def secrets(self) -> list[Manifest]:
        return admin_secrets(self.stage)

    @property
    def broker(self) -> Driver:
        return self.stage.broker

    def group(self, _: str) -> str:
        return "q"

    def grants(self) -> st.SearchStrategy[Grant]:
        names = st.sampled_from([*SUBJECTS, "a.", "a.b.", "é."])
        principals = st.sampled_from(PRINCIPALS)
        return st.one_of(
            st.builds(publish, principals, names),
            st.builds(consume, principals, names, st.sampled_from(QUEUES)),
            st.builds(
                consume,
                principals,
                st.just("s.a.x"),
                st.sampled_from(DURABLES),
                st.sampled_from("AB"),
            ),
        )

    def meant(self, grants: Iterable[Grant]) -> set[Operation]:
        operations: set[Operation] = set()
        groups: dict[tuple[str, str], set[str]] = {}
        for grant in grants:
            named = [
                subject
                for subject in SUBJECTS
                if subject == grant.topic.name
                or (grant.topic.prefix and subject.startswith(grant.topic.name))
            ]
            if grant.stream:
                operations |= {
                    Operation(grant.principal, what, grant.stream, grant.group)
                    for what in ("fetch", "ack", "info")
                }
            elif grant.action is Action.PUBLISH:
                operations |= {Operation(grant.principal, "publish", name) for name in named}
            else:
                for name in named:
                    groups.setdefault((grant.principal, name), set()).add(grant.group)
        for (principal, name), permitted in groups.items():
            operations |= {
                Operation(principal, "subscribe", name, queue) for queue in permitted & set(QUEUES)
            }
        return operations

    def issue(self, principal: str, slot: Slot) -> tuple[Credential, Login]:
        credential = self.stage.issue(principal, slot)
        return credential, Login(principal, slot, self.stage.creds[principal, slot])

    async def succeeding(self, logins: Collection[Login]) -> set[Operation]:
        done: set[Operation] = set()
        for login in logins:  # in turn: only one member of a queue group gets a message
            denials = Denials()
            try:
                client = await self.stage.enter(
                    login.secret, inbox_prefix(login.principal), error_cb=denials.note
                )
            except errors.Error as refused:
                if "authorization" not in str(refused).lower():
                    raise
                continue
            done |= await core(login.principal, client, self.witness)
            asked = [
                ask(login.principal, client, denials, stream, durable)
                for stream in STREAMS
                for durable in DURABLES
                for ask in (fetching, informing)
            ]
            done = done.union(*await asyncio.gather(*asked))
            await client.close()
        return done

    @asynccontextmanager
    async def connected(
        self, login: Login, topic: str, group: str, *names: str
    ) -> AsyncIterator[None]:
        inbox = inbox_prefix(login.principal)
        opened = [await self.stage.enter(login.secret, inbox, name=name) for name in names]
        for client in opened:
            await Ears(client).listen(topic, group)
            await sent(client)
        yield
        for client in opened:
            await client.close()

    async def make_foreign(self) -> Observed:
        plain, scoped = await self.stage.make_foreign()
        return Observed(
            frozenset({(plain, Slot.FIRST), (scoped, Slot.FIRST)}),
            frozenset(
                {
                    *(Rule(plain, SUBJECT, "", ">", operation) for operation in ("PUB", "SUB")),
                    Rule(scoped, SUBJECT, "", "x.>", "PUB"),
                    Rule(scoped, SUBJECT, "", ">", "SUB"),
                }
            ),
        )

    async def foreign(self) -> object:
        return await self.stage.foreign()


async def core(principal: str, client: Client, witness: Client) -> set[Operation]:
    """Return the publish and subscribe operations that work, judged by the messages received."""
    done: set[Operation] = set()
    at_witness, at_client = Ears(witness), Ears(client)
    for subject in SUBJECTS:
        await at_witness.listen(subject)
        for queue in QUEUES:
            await at_client.listen(subject, queue)
    await at_client.settle()
    await at_witness.settle()
    for subject in SUBJECTS:
        await client.publish(subject, principal.encode())
        await witness.publish(subject, b"witness")
    await at_client.settle()
    await at_witness.settle()
    await at_client.settle()
    for (subject, _), heard in at_witness.heard.items():
        if principal.encode() in heard:
            done.add(Operation(principal, "publish", subject))
    await at_client.leave()
    for (subject, queue), heard in at_client.heard.items():
        if b"witness" in heard:
            done.add(Operation(principal, "subscribe", subject, queue))
    return done


async def fetching(
    principal: str, client: Client, denials: Denials, stream: str, durable: str
) -> set[Operation]:
    subscription = await client.jetstream().pull_subscribe_bind(durable, stream)
    next_one = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
    fetched = await denials.answer(subscription.fetch(1, timeout=PATIENCE), next_one)
    if fetched is None:
        return set()
    (message,) = fetched
    done = {Operation(principal, "fetch", stream, durable)}
    acknowledged = message.ack_sync(timeout=PATIENCE)
    if await denials.answer(acknowledged, f"$JS.ACK.{stream}.{durable}.") is not None:
        done.add(Operation(principal, "ack", stream, durable))
    return done


async def informing(
    principal: str, client: Client, denials: Denials, stream: str, durable: str
) -> set[Operation]:
    asked = client.jetstream(timeout=PATIENCE).consumer_info(stream, durable)
    told = await denials.answer(asked, f"$JS.API.CONSUMER.INFO.{stream}.{durable}")
    return {Operation(principal, "info", stream, durable)} if told else set()


@pytest.fixture
def opened(nats_server: NatsServer) -> Opened:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Nats]:
        async with stage(nats_server) as made:
            witness = await made.witness()
            await fill_streams(witness)
            yield Nats(made, witness, await made.pushes())

    return opened


class TestNats(Contract):
    """Runs the contract, each test in a fresh account."""
