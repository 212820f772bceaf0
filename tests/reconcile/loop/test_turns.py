"""Plans share the event loop with everything else that runs on it."""

import asyncio

import pytest

from tests.builders import domain, identity, namespace
from tests.reconcile.serving import Server, running
from troth.planning.plan import Plan
from troth.planning.planner import plan
from troth.reconcile.loop import turns
from troth.reconcile.loop.turns import Turns
from troth.world.keys import Key

WORKERS = 8


class Iterations:
    """Counts the iterations of the loop, as a timer that is always due would run."""

    def __init__(self) -> None:
        self.number = 0
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self.number += 1
        asyncio.get_running_loop().call_soon(self._next)


@pytest.fixture
async def iterations() -> Iterations:
    return Iterations()


async def test_long_plans_run_in_different_iterations(
    iterations: Iterations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SHARE", 0.0)
    shared, ran = Turns(), []

    async def work() -> None:
        for _ in range(3):
            await shared.take()
            with shared.counted():
                ran.append(iterations.number)
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    assert len(ran) == len(set(ran)) == 3 * WORKERS


async def test_short_plans_share_an_iteration(
    iterations: Iterations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "SHARE", 60.0)
    shared, ran = Turns(), []

    async def work() -> None:
        await shared.take()
        with shared.counted():
            ran.append(iterations.number)

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    assert len(set(ran)) == 1


async def test_workers_take_turns(iterations: Iterations, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plan takes its whole share, so no other key is planned in the same iteration."""
    monkeypatch.setattr(turns, "SHARE", 0.0)
    keys: dict[int, set[Key]] = {}
    make = plan

    def noted(key: Key, *rest: object) -> Plan:
        keys.setdefault(iterations.number, set()).add(key)
        return make(key, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("troth.reconcile.loop.engine.make_plan", noted)
    async with running(Server()) as it, asyncio.TaskGroup() as group:
        workers = [group.create_task(it.engine.work()) for _ in range(WORKERS)]
        it.engine.observe(it.server.put(domain()))
        it.engine.observe(it.server.put(namespace("shop", domain="production")))
        for number in range(WORKERS):
            it.engine.observe(it.server.put(identity(f"web-{number}")))
        await it.settle()
        for worker in workers:
            worker.cancel()
    assert len(set().union(*keys.values())) > WORKERS
    assert all(len(planned) == 1 for planned in keys.values())
