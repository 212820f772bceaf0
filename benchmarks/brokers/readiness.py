"""Conditions for which the broker benchmarks wait."""

import asyncio
import time
from collections.abc import Callable, Iterator

from benchmarks.brokers.market import Market
from sandbox import SandboxError
from troth.reconcile.brokers.work import BrokerWork
from troth.reconcile.operator import Operator
from troth.resources.conditions import Condition, Truth

PATIENCE_SECONDS = 900.0


async def declared(operator: Operator, market: Market) -> None:
    """Wait until every identity and policy exists and reports that it waits for the broker."""
    await _until(operator, market.ring + market.policies, lambda _: True)


async def at_rest(operator: Operator, market: Market, *, grown: bool = False) -> None:
    """Wait until the broker, every policy and every identity is ready, and no work is left."""
    identities = market.principals if grown else market.ring
    expected = identities + market.policies + 1
    await _until(operator, expected, lambda ready: ready.status is Truth.TRUE)


async def _until(operator: Operator, expected: int, holds: Callable[[Condition], bool]) -> None:
    work, queue = operator.engine.background, operator.engine.queue
    assert isinstance(work, BrokerWork)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if operator.ready and operator.leadership.acting and not len(queue) and not work.busy:
            told = list(_told(operator))
            if len(told) == expected and all(ready and holds(ready) for ready in told):
                return
        if time.monotonic() > deadline:
            raise SandboxError(f"the market was not ready after {PATIENCE_SECONDS:.0f} s")
        await asyncio.sleep(0.01)


def _told(operator: Operator) -> Iterator[Condition | None]:
    """Yield the condition Ready of each resource; None if it has none yet."""
    world = operator.engine.world
    messaging = world.brokers.messaging
    for kind in (world.registry.identities, messaging.policies, messaging.brokers):
        for resource in kind.values():
            conditions = resource.status.conditions
            yield next((each for each in conditions if each.type == "Ready"), None)
