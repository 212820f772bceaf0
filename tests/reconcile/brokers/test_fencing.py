"""No call to a broker is made or continues without the lease, and it is released last."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest

from tests.builders import OWN
from tests.patience import PATIENCE
from tests.reconcile.brokers.at_work import EVERY, ORDERS
from tests.reconcile.memory_brokers import MemoryBroker, in_memory
from tests.reconcile.serving import LeaderFence, Server, running
from tests.reconcile.status.test_debounce import BROKER, KAFKA, MARKET, Hanging, at_rest
from troth.brokers.errors import BrokerError
from troth.brokers.protocol import Batch, Failure
from troth.cluster.api import ApiServer
from troth.reconcile.brokers import connections, work
from troth.reconcile.brokers.faults import StalePlan
from troth.reconcile.operator import Operator, Settings
from troth.reconcile.runtime.lease_fence import LeaseLost
from troth.trust.grants import Observed

SERVERS = tuple(KAFKA["bootstrapServers"])


class Cancelled(Hanging):
    """Records that a batch was cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = asyncio.Event()

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        try:
            return await super().apply(batch)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def test_lost_lease_cancels_the_batch_in_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "PATIENCE", 10 * PATIENCE)  # the lease must end it, not the timeout
    server, broker, fence = Server([*MARKET, BROKER]), Cancelled(), LeaderFence()
    with in_memory() as brokers:
        brokers.known[SERVERS] = broker
        async with running(server, leader_fence=fence, due=True) as it, asyncio.timeout(PATIENCE):
            await broker.asked.wait()
            fence.remaining = -1
            await broker.cancelled.wait()
            await it.engine.close()


async def test_batch_continues_while_the_lease_is_renewed() -> None:
    """A lease is short; each renewal extends the time for a batch that has begun."""
    server, broker, fence = Server([*MARKET, BROKER]), Cancelled(), LeaderFence(remaining=0.2)
    with in_memory() as brokers:
        brokers.known[SERVERS] = broker
        async with running(server, leader_fence=fence, due=True) as it, asyncio.timeout(PATIENCE):
            await broker.asked.wait()
            await asyncio.sleep(1.0)
            assert not broker.cancelled.is_set()
            await it.engine.close()


async def test_driver_gets_a_permit_that_ends_with_the_lease() -> None:
    permits: list[Any] = []
    server, fence = Server([*MARKET, BROKER]), LeaderFence()
    with in_memory() as brokers:
        connect = brokers.connect

        def recorded(*given: Any) -> Any:
            permits.append(given[-1])
            return connect(*given)

        with mock.patch.object(connections, "connect", recorded):
            async with running(server, leader_fence=fence, due=True) as it:
                await at_rest(it)
                permits[0]()
                fence.remaining = -1
                with pytest.raises(LeaseLost):
                    permits[0]()
                await it.engine.close()


async def test_lease_is_released_after_all_work_has_ended() -> None:
    order: list[str] = []

    class Ordered(Operator):
        async def _run(self) -> None:
            begun.set()
            await asyncio.Event().wait()

    class Held:
        async def run(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                order.append("released")

    async def begin() -> None:
        """Report that the CRDs are up to date."""

    async def close() -> None:
        await asyncio.sleep(0.01)  # a driver waits for its threads
        order.append("closed")

    begun = asyncio.Event()
    fenced = SimpleNamespace(fence=SimpleNamespace(), clock=SimpleNamespace(), create=None)
    server = cast("ApiServer", fenced)
    operator = Ordered(server, Settings(OWN, "one"))
    operator.leadership = cast("Any", Held())
    operator.claim.run = asyncio.Event().wait  # type: ignore[method-assign,assignment]
    operator.crds.wait = begin  # type: ignore[method-assign]
    operator.engine.close = close  # type: ignore[method-assign]
    running_ = asyncio.create_task(operator.run())
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
    running_.cancel()
    await asyncio.gather(running_, return_exceptions=True)
    assert order == ["closed", "released"]


class Unsteady(MemoryBroker):
    """Raises the given errors on its next observations."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[Exception] = []

    async def observe(self) -> Observed:
        if self.errors:
            raise self.errors.pop(0)
        return await super().observe()


@pytest.mark.parametrize("interruption", [LeaseLost(), StalePlan()], ids=["lease", "plan"])
async def test_policy_no_longer_reports_a_fault_that_an_interrupted_attempt_cleared(
    interruption: Exception,
) -> None:
    server, broker = Server([*MARKET, BROKER]), Unsteady()
    with in_memory() as brokers:
        brokers.known[SERVERS] = broker
        async with running(server, due=True) as it:
            await at_rest(it)
            settled = server.condition("TopicPolicy", ORDERS, "Ready")["reason"]
            broker.errors = [BrokerError("connection refused"), interruption]
            await it.live(EVERY)
            await at_rest(it)
            reasons = [server.condition("TopicPolicy", ORDERS, "Ready")["reason"]]
            for _ in range(3):
                await it.live(EVERY)
                await at_rest(it)
            reasons.append(server.condition("TopicPolicy", ORDERS, "Ready")["reason"])
            assert not broker.errors
            assert reasons == ["BrokerUnreachable", settled]
            await it.engine.close()
