"""A passing status is written only if it lasts."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from tests import messaging
from tests.broker_builders import orders, publisher, subscriber
from tests.builders import Manifest, domain, namespace
from tests.messaging import broker
from tests.patience import PATIENCE
from tests.reconcile.brokers.at_work import secret
from tests.reconcile.memory_brokers import MemoryBroker, in_memory
from tests.reconcile.serving import Running, Server, running
from troth.brokers.protocol import Batch, Failure
from troth.planning.plan import Plan
from troth.reconcile.brokers.work import BrokerWork
from troth.reconcile.loop.status_debounce import MOMENT, RUSH, StatusDebounce
from troth.resources.references import Ref
from troth.world.keys import policy_key

ORDERS = Ref("shop", "orders")
TOLD = {"conditions": [{"type": "Ready", "status": "True"}]}
COMING = Plan(
    policy_key(ORDERS),
    "uid",
    status={"conditions": [{"type": "Ready", "status": "False"}]},
    previous_status=TOLD,
    passing=True,
)


def test_passing_status_is_held_back_for_a_moment() -> None:
    status_debounce = StatusDebounce()
    assert status_debounce.wait(COMING, 5.0, rush=False) == MOMENT
    assert status_debounce.wait(COMING, 5.0 + MOMENT / 2, rush=False) == MOMENT / 2
    assert status_debounce.wait(COMING, 5.0 + MOMENT, rush=False) == 0


def test_passing_status_is_held_back_longer_in_a_rush_but_not_forever() -> None:
    status_debounce = StatusDebounce()
    assert status_debounce.wait(COMING, 5.0, rush=True) == RUSH
    assert status_debounce.wait(COMING, 5.0 + MOMENT, rush=True) > 0
    assert status_debounce.wait(COMING, 5.0 + RUSH, rush=True) == 0


def test_passing_status_that_returns_starts_a_new_wait() -> None:
    status_debounce = StatusDebounce()
    status_debounce.wait(COMING, 5.0, rush=False)
    assert status_debounce.wait(replace(COMING, status=TOLD, passing=False), 6.0, rush=False) == 0
    assert status_debounce.wait(COMING, 100.0, rush=False) == MOMENT


@pytest.mark.parametrize(
    "plan",
    [
        replace(COMING, passing=False),
        replace(COMING, previous_status={}),
        replace(COMING, previous_status={"conditions": []}),
        replace(COMING, previous_status=COMING.status),
    ],
    ids=["still unsettled", "no status yet", "no condition yet", "reported already"],
)
def test_any_other_status_is_written_at_once(plan: Plan) -> None:
    assert StatusDebounce().wait(plan, 5.0, rush=True) == 0


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
