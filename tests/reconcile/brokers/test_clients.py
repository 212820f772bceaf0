"""The operator names clients without the guard, and administers brokers that hide their clients."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from tests.broker_builders import orders
from tests.reconcile.brokers.at_work import EVERY, ORDERS, Working, working
from tests.reconcile.memory_brokers import MemoryBroker, in_memory
from tests.reconcile.serving import Server
from tests.reconcile.status.test_debounce import BROKER, KAFKA, MARKET
from troth.brokers.clients import Client, Clients, client_of
from troth.brokers.errors import AdminRefusedError, UnreachableError
from troth.documents.client_name import client_name
from troth.trust.grants import Action, Observed
from troth.world.facts.clients import COUNTS_FOR

SERVERS = tuple(KAFKA["bootstrapServers"])
GUARDED_MARKET = [*MARKET[:-1], orders(context={"require": ["Actor"]}), BROKER]


class Asked(MemoryBroker):
    """Records the groups that it was asked for, and fails to observe if told so."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[set[str]] = []
        self.away = False

    async def observe(self) -> Observed:
        if self.away:
            raise UnreachableError("nobody answers")
        return await super().observe()

    async def clients(self, groups: Collection[str]) -> Clients:
        self.groups.append(set(groups))
        return await super().clients(groups)

    def show(self, *names: str) -> None:
        self.connected = Clients(frozenset(map(member, names)))


def member(name: str) -> Client:
    return client_of(
        name, group="fulfilment", topics=("prod.orders.v1",), actions=(Action.CONSUME,)
    )


@asynccontextmanager
async def at_work(server: Server, kafka: Asked) -> AsyncIterator[Working]:
    with in_memory() as brokers:
        brokers.known[SERVERS] = kafka
        async with working(server) as it:
            yield it


def edges(it: Working) -> tuple[str, str, str]:
    return it.condition_of("TopicPolicy", ORDERS, "EdgesValidated")


def version(it: Working) -> str:
    return str(it.server.objects["TopicPolicy", ORDERS]["metadata"]["resourceVersion"])


async def test_groups_of_policies_that_need_the_guard_are_looked_at_with_each_observation() -> None:
    kafka = Asked()
    async with at_work(Server(GUARDED_MARKET), kafka) as it:
        before = len(kafka.groups)
        assert kafka.groups[-1] == {"fulfilment"}
        await it.later(EVERY)
        assert len(kafka.groups) == before + 1


async def test_nobody_looks_at_clients_if_no_policy_needs_the_guard() -> None:
    kafka = Asked()
    async with at_work(Server([*MARKET, BROKER]), kafka) as it:
        await it.later(EVERY)
        assert kafka.groups == []
        await it.put(orders(context={"require": ["Actor"]}))
        await it.later(EVERY)
        assert edges(it)[:2] == ("Unknown", "NoConsumerSeen")


async def test_status_is_written_only_when_the_verdict_changes() -> None:
    kafka = Asked()
    kafka.show(client_name([str(ORDERS)]))
    async with at_work(Server(GUARDED_MARKET), kafka) as it:
        assert edges(it)[:2] == ("True", "AllConsumersValidate")
        good = version(it)
        await it.later(EVERY)
        kafka.show()
        await it.later(EVERY)
        assert version(it) == good
        kafka.show("pod-1")
        await it.later(EVERY)
        assert edges(it)[:2] == ("False", "UnvalidatedConsumer")
        bad = version(it)
        for number in range(2, 6):
            kafka.show("pod-1", f"pod-{number}", "pod-0")
            await it.later(EVERY)
        assert version(it) == bad
        kafka.show(client_name([str(ORDERS)]))
        await it.later(timedelta(seconds=COUNTS_FOR) + EVERY)
        assert edges(it)[:2] == ("True", "AllConsumersValidate")
        assert len(it.notes("UnvalidatedConsumer")) == 1
        assert len(it.notes("AllConsumersValidate")) == 1


@pytest.mark.parametrize(
    "error",
    [
        AdminRefusedError("Kafka does not allow the operator to describe groups"),
        UnreachableError("a coordinator did not answer"),
    ],
)
async def test_broker_that_hides_its_clients_is_administered_as_before(
    error: AdminRefusedError | UnreachableError,
) -> None:
    kafka = Asked()
    kafka.connected = error
    async with at_work(Server(GUARDED_MARKET), kafka) as it:
        status, reason, message = edges(it)
        assert (status, reason) == ("Unknown", "NotObservable")
        assert str(error) in message
        assert {state for _, _, state, _ in it.grants()} == {"InSync"}
        assert it.condition_of("TopicPolicy", ORDERS, "Ready")[0] == "True"
        kafka.show("rdkafka")
        await it.later(EVERY)
        assert edges(it)[:2] == ("False", "UnvalidatedConsumer")


async def test_broker_that_never_shows_its_clients_is_administered_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hanging(Asked):
        async def clients(self, groups: Collection[str]) -> Clients:
            await asyncio.Event().wait()
            return await super().clients(groups)

    monkeypatch.setattr("troth.reconcile.brokers.work.CLIENTS_PATIENCE", 0.01)
    async with at_work(Server(GUARDED_MARKET), Hanging()) as it:
        status, reason, message = edges(it)
        assert (status, reason) == ("Unknown", "NotObservable")
        assert "timed out" in message
        assert {state for _, _, state, _ in it.grants()} == {"InSync"}


async def test_clients_of_a_broker_that_went_away_are_unknown_until_it_is_back() -> None:
    kafka = Asked()
    kafka.show("rdkafka")
    async with at_work(Server(GUARDED_MARKET), kafka) as it:
        assert edges(it)[:2] == ("False", "UnvalidatedConsumer")
        kafka.away = True
        await it.later(EVERY)
        assert edges(it)[:2] == ("Unknown", "NotObservable")
        kafka.away = False
        await it.later(EVERY)
        assert edges(it)[:2] == ("False", "UnvalidatedConsumer")


async def test_restarted_operator_keeps_the_verdict_while_the_client_reconnects() -> None:
    kafka, server = Asked(), Server(GUARDED_MARKET)
    kafka.show("rdkafka")
    async with at_work(server, kafka) as it:
        assert edges(it)[:2] == ("False", "UnvalidatedConsumer")
    kafka.show()
    async with at_work(server, kafka) as it:
        assert edges(it)[:2] == ("False", "UnvalidatedConsumer")
        await it.later(timedelta(seconds=COUNTS_FOR) + EVERY)
        assert edges(it)[:2] == ("Unknown", "NoConsumerSeen")
