"""A block runs for as long as the lease is held, and no longer."""

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.virtual_time import run
from troth.reconcile.runtime.lease_fence import LOOK, LeaseLost, leading, may_write


@dataclass
class Lease:
    """Lease that is held until a time of the event loop."""

    until: float
    ended_at: float = field(default=0.0)

    @property
    def remaining(self) -> float:
        return self.until - asyncio.get_running_loop().time()

    async def gained(self) -> None:
        await asyncio.sleep(max(-self.remaining, 0.0))


async def work(lease: Lease, seconds: float) -> None:
    try:
        async with leading(lease):
            await asyncio.sleep(seconds)
    finally:
        lease.ended_at = asyncio.get_running_loop().time()


def test_renewal_lets_long_work_continue() -> None:
    async def story() -> None:
        lease = Lease(until=7.0)
        working = asyncio.create_task(work(lease, 60.0))
        for _ in range(30):
            await asyncio.sleep(2.0)
            lease.until = asyncio.get_running_loop().time() + 7.0
        await working
        assert lease.ended_at == 60.0

    run(story())


def test_work_is_cancelled_when_the_lease_runs_out() -> None:
    async def story() -> None:
        lease = Lease(until=7.0)
        with pytest.raises(LeaseLost):
            await work(lease, 60.0)
        assert lease.ended_at <= 7.0 + LOOK

    run(story())


def test_lease_that_is_given_up_cancels_work_soon() -> None:
    async def story() -> None:
        lease = Lease(until=7.0)
        working = asyncio.create_task(work(lease, 60.0))
        await asyncio.sleep(1.0)
        lease.until = 0.0
        with pytest.raises(LeaseLost):
            await working
        assert lease.ended_at <= 1.0 + LOOK

    run(story())


def test_nothing_begins_without_the_lease() -> None:
    async def story() -> None:
        begun = False
        with pytest.raises(LeaseLost):
            async with leading(Lease(until=0.0)):
                begun = True
        assert not begun

    run(story())


def test_timeout_of_the_work_itself_passes() -> None:
    async def story() -> None:
        with pytest.raises(TimeoutError):
            async with leading(Lease(until=7.0)), asyncio.timeout(1.0):
                await asyncio.sleep(60.0)

    run(story())


def test_task_writes_under_the_fence_of_its_own_key() -> None:
    """Also in the tasks that it creates, while another shard of this replica is held."""

    async def story() -> None:
        mine, other = Lease(until=7.0), Lease(until=60.0)

        async def allowed() -> bool:
            return may_write(other)

        async with leading(mine):
            assert await asyncio.create_task(allowed())
            mine.until = 0.0
            assert not may_write(other)
            assert not await asyncio.create_task(allowed())
        assert may_write(other), "outside of the block, the fence of the replica counts"

    run(story())
