"""Informers that share an API server begin at a bounded rate."""

import asyncio

from tests import virtual_time
from troth.cluster.watching.pace import Pace


async def begins(pace: Pace, rounds: int) -> list[float]:
    """Return the times at which rounds begin that are all wanted now."""
    now = asyncio.get_running_loop().time
    started, times = now(), list[float]()

    async def begin() -> None:
        await pace.turn()
        times.append(now() - started)

    await asyncio.gather(*(begin() for _ in range(rounds)))
    return times


def test_informers_of_all_namespaces_begin_at_once() -> None:
    async def story() -> None:
        assert await begins(Pace(), 20) == [0.0] * 20

    virtual_time.run(story())


def test_informers_of_many_namespaces_begin_at_the_rate() -> None:
    async def story() -> None:
        pace = Pace(rate=50.0, burst=32)
        for _ in range(2):  # after a start, and after a restart of the API server
            times = await begins(pace, 654)
            assert sum(each < 1.0 for each in times) <= 32 + 50
            assert 12 < max(times) < 14
            await asyncio.sleep(60)

    virtual_time.run(story())
