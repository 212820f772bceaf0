"""Against a client that rewrites an object on a real API server, Troth backs off and names it."""

import asyncio
from datetime import timedelta

from tests.cluster.stage import IDENTITY, Stage
from tests.cluster.test_children import WIDER, ready_pair
from tests.patience import PATIENCE
from troth.planning.owned_objects import policy_ref
from troth.reconcile.drift.backoff import FREE, MOST


async def test_fight_over_a_policy_is_reported_with_the_other_field_manager(stage: Stage) -> None:
    payments, _ = await ready_pair(stage)
    ref = policy_ref(payments)
    before = await stage.policy(payments)
    stop = asyncio.Event()

    async def fight() -> None:
        while not stop.is_set():
            await stage.person.edit("NetworkPolicy", ref, WIDER)
            await asyncio.sleep(0.01)

    fighting = asyncio.create_task(fight())
    try:
        async with asyncio.timeout(PATIENCE):
            message = await stage.person.hears(IDENTITY, payments, "Ready", "Fighting", "False")
            await stage.person.hears(IDENTITY, payments, "NetworkEnforced", "Fighting", "False")
    finally:
        stop.set()
        await fighting
    assert f"NetworkPolicy {ref}" in message
    assert '"troth"' not in message
    assert "field manager" in message
    await stage.later(timedelta(seconds=MOST))
    await stage.person.sees("NetworkPolicy", ref, lambda seen: seen["spec"] == before["spec"])
    assert stage.requests.writes["networkpolicies"] > FREE
    events = await stage.person.events(stage.shop)
    assert ("Fighting", "payments") in events
    assert events.count(("Repaired", "payments")) < FREE + 2
