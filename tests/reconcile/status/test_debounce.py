"""A passing status is written only if it lasts."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests import messaging
from tests.broker_builders import CHECKOUT, market, orders, publisher, subscriber
from tests.builders import Manifest, accept, call, domain, identity, namespace
from tests.messaging import broker
from tests.patience import PATIENCE
from tests.reconcile.brokers.at_work import secret
from tests.reconcile.memory_brokers import MemoryBroker, in_memory
from tests.reconcile.serving import Running, Server, running
from troth.brokers.protocol import Batch, Failure
from troth.planning.plan import Plan
from troth.reconcile.apply.execute import changes_status
from troth.reconcile.brokers.work import BrokerWork
from troth.reconcile.status.debounce import MOMENT, RUSH, StatusDebounce
from troth.resources.references import Ref
from troth.world.keys import identity_key, policy_key
from troth.world.outcomes.writes import WriteRefused

ORDERS = Ref("shop", "orders")
TOLD = {"conditions": [{"type": "Ready", "status": "True"}]}
COMING = Plan(
    policy_key(ORDERS),
    "uid",
    status={"conditions": [{"type": "Ready", "status": "False"}]},
    previous_status=TOLD,
    passing=True,
)


def wait(debounce: StatusDebounce, plan: Plan, uptime: float, *, rush: bool = False) -> float:
    return debounce.wait(plan, uptime, rush=rush, changed=changes_status(plan))


def test_passing_status_is_held_back_for_a_moment() -> None:
    status_debounce = StatusDebounce()
    assert wait(status_debounce, COMING, 5.0) == MOMENT
    assert wait(status_debounce, COMING, 5.0 + MOMENT / 2) == MOMENT / 2
    assert wait(status_debounce, COMING, 5.0 + MOMENT) == 0


def test_passing_status_is_held_back_longer_in_a_rush_but_not_forever() -> None:
    status_debounce = StatusDebounce()
    assert wait(status_debounce, COMING, 5.0, rush=True) == RUSH
    assert wait(status_debounce, COMING, 5.0 + MOMENT, rush=True) > 0
    assert wait(status_debounce, COMING, 5.0 + RUSH, rush=True) == 0


def test_passing_status_that_returns_starts_a_new_wait() -> None:
    status_debounce = StatusDebounce()
    wait(status_debounce, COMING, 5.0)
    assert wait(status_debounce, replace(COMING, status=TOLD, passing=False), 6.0) == 0
    assert wait(status_debounce, COMING, 100.0) == MOMENT


@pytest.mark.parametrize(
    "plan",
    [
        replace(COMING, passing=False),
        replace(COMING, previous_status={}),
        replace(COMING, previous_status={"conditions": []}),
        replace(COMING, previous_status=COMING.status),
        replace(COMING, status={**TOLD, "grants": []}),
    ],
    ids=["still unsettled", "no status yet", "no condition yet", "reported", "stored as the same"],
)
def test_any_other_status_is_written_at_once(plan: Plan) -> None:
    assert wait(StatusDebounce(), plan, 5.0, rush=True) == 0


# In the engine


KAFKA = {**messaging.KAFKA["kafka"], "tls": {}}
BROKER = broker(described={"kafka": KAFKA})
MARKET = [
    namespace("shop", domain="production"),
    namespace("messaging", domain="production"),
    domain(),
    secret("kafka-admin", {"username": "troth", "password": "none"}),
    publisher(),
    subscriber(),
    orders(),
]


class Saying(Server):
    """Records the reasons of the policy's Ready condition."""

    def __init__(self, *objects: Manifest) -> None:
        super().__init__(objects)
        self.said: list[str] = []

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        answer = await super().merge_patch(kind, ref, patch, subresource)
        if kind == "TopicPolicy" and subresource:
            self.said.append(self.condition(kind, ref, "Ready")["reason"])
        return answer


class Hanging(MemoryBroker):
    """Answers `observe` and never completes `apply`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        del batch
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError


async def at_rest(it: Running) -> None:
    work = it.engine.background
    assert isinstance(work, BrokerWork)
    await it.settle()
    while work.busy:
        await work.settled()
        await it.settle()


async def test_passing_status_that_is_stored_as_the_same_needs_no_further_reconcile() -> None:
    async with running(Server()) as it:
        same = replace(COMING, status={**TOLD, "grants": []})
        assert (await it.engine._reporter.report(same, [])).due is None
        assert (await it.engine._reporter.report(COMING, [])).due is not None


async def test_new_broker_gets_all_grants_without_a_passing_status() -> None:
    server = Saying(*MARKET)
    with in_memory():
        async with running(server, due=True) as it:
            await at_rest(it)
            it.engine.observe(server.put(BROKER))
            await at_rest(it)
            await it.engine.close()
    assert server.said == ["BrokerMissing", "InPlace"]


async def test_broker_that_does_not_accept_the_batch_is_reported_a_moment_later() -> None:
    server, hanging = Saying(*MARKET), Hanging()
    with in_memory() as brokers:
        brokers.known[tuple(KAFKA["bootstrapServers"])] = hanging
        async with running(server, due=True) as it:
            await at_rest(it)
            it.engine.observe(server.put(BROKER))
            await asyncio.wait_for(hanging.asked.wait(), PATIENCE)
            await it.settle()
            assert server.said == ["BrokerMissing"]
            await it.clock.move_to(it.clock.now() + timedelta(seconds=MOMENT))
            for _ in range(8):  # another task queues keys that are due
                await asyncio.sleep(0)
            await it.settle()
            assert server.said == ["BrokerMissing", "AwaitingBroker"]
            await it.engine.close()


def test_status_with_a_narrowing_that_cannot_be_written_is_not_passing() -> None:
    """Replicas of other shards know the narrowing only from there, so it must not be held back."""

    def checkout(*scopes: str) -> Manifest:
        accepts = [accept("web", scopes=list(scopes))]
        return publisher("checkout", ports=["https"], accepts=accepts)

    web = identity("web", calls=[call("checkout", scopes=["read", "write"])])
    cluster, key = market(checkout("read", "write"), web), identity_key(CHECKOUT)
    for each in (key, identity_key(Ref("shop", "web")), key):
        cluster.visit(each)
    cluster.put(checkout("read"))
    assert cluster.plan(key).passing, "it waits for its broker"
    refused = WriteRefused("Secret", Ref("shop", "checkout-identity"), "denied", passing=False)
    cluster.world.observe_outcome(refused)
    plan = cluster.plan(key)
    assert plan.unapplied
    assert not plan.passing
