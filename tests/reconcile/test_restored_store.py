"""An operator whose API server was restored begins again, and knows nothing of before."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import cast

import pytest

from tests import virtual_time
from tests.builders import OWN, namespace
from troth.cluster.api import ApiServer
from troth.cluster.crds import CRDCheck
from troth.cluster.errors import StoreRestored
from troth.cluster.leases.claim import Claim
from troth.cluster.leases.lease import Leadership
from troth.reconcile.operator import Operator, Settings
from troth.reconcile.runtime.instrumentation import Instrumentation

Life = Callable[[Operator], Awaitable[None]]


class Scripted(Operator):
    """An operator without an API server; each of its lives is a coroutine of the test."""

    lives: list[Life]

    async def _run(self) -> None:
        await self.lives.pop(0)(self)


def operator(*lives: Life, restored: Callable[[], None] = lambda: None) -> Scripted:
    parts = {"fence": SimpleNamespace(), "clock": SimpleNamespace(), "create": None}
    server = cast("ApiServer", SimpleNamespace(**parts))
    made = Scripted(
        server, Settings(OWN, "one"), instrumentation=Instrumentation(store_restored=restored)
    )
    made.lives = list(lives)
    made.claim.holder = OWN
    return made


async def forever(_: Operator) -> None:
    await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _no_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(_: Leadership | Claim) -> None:
        await asyncio.Event().wait()

    async def wait(_: CRDCheck) -> None:
        pass

    monkeypatch.setattr(Leadership, "run", run)
    monkeypatch.setattr(Claim, "run", run)
    monkeypatch.setattr(CRDCheck, "wait", wait)


def test_restored_store_ends_everything_known() -> None:
    async def story() -> None:
        count = 0

        async def fail() -> None:
            await asyncio.sleep(1)
            raise StoreRestored

        async def learn(it: Operator) -> None:
            it.engine.observe(namespace("shop"))
            for informer in it.informers:
                informer.synced.set()
                informer.established.set()
            assert it.ready
            async with asyncio.TaskGroup() as tasks:  # fails while its end is awaited
                tasks.create_task(fail())

        def restored() -> None:
            nonlocal count
            count += 1

        it = operator(learn, forever, restored=restored)
        first = it.engine
        task = asyncio.create_task(it.run())
        await asyncio.sleep(2)
        assert count == 1
        assert it.engine is not first
        assert not it.ready
        assert not task.done()
        assert it.engine.world.registry.namespaces == {}
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    virtual_time.run(story())


def test_any_other_failure_ends_the_operator() -> None:
    async def story() -> None:
        async def fail(_: Operator) -> None:
            raise RuntimeError

        it = operator(fail, forever)
        with pytest.raises(ExceptionGroup):
            await it.run()

    virtual_time.run(story())


def test_stop_during_a_restore_ends_the_operator() -> None:
    async def story() -> None:
        async def restored(_: Operator) -> None:
            task.cancel()
            try:
                await forever(_)
            finally:
                raise StoreRestored

        it = operator(restored, forever)
        task = asyncio.create_task(it.run())
        await asyncio.wait({task}, timeout=5)
        assert task.cancelled()

    virtual_time.run(story())
