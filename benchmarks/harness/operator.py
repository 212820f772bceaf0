"""The operator in this process, and conditions for which benchmarks wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from benchmarks.harness.client import CONNECTIONS
from sandbox.demo.programs import NAMESPACE as SYSTEM
from troth.cluster.api import ApiServer
from troth.reconcile.operator import Operator, Settings


@asynccontextmanager
async def running(server: ApiServer) -> AsyncIterator[Operator]:
    """Run an operator while the context lasts."""
    operator = Operator(server, Settings(SYSTEM, "bench", workers=CONNECTIONS))
    task = asyncio.create_task(operator.run())
    try:
        yield operator
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def leading(operator: Operator) -> None:
    """Wait until the operator holds the lease and its queue is empty."""
    while not operator.ready:  # noqa: ASYNC110 - there is no single event
        await asyncio.sleep(0.01)
    await operator.leadership.gained()
    await operator.engine.queue.settled()


async def settled(operator: Operator, fleet: int) -> None:
    """Wait until the caches are in sync and all identities of a fleet of that size are ready."""
    identities = operator.engine.world.registry.identities
    while True:
        ready = operator.ready and len(identities) == fleet
        if ready and not len(operator.engine.queue):
            states = (
                condition.status
                for identity in identities.values()
                for condition in identity.status.conditions
                if condition.type == "Ready"
            )
            if sum(state == "True" for state in states) == fleet:
                return
        await asyncio.sleep(0.01)
