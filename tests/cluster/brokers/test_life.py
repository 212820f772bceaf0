"""Life of brokers and policies on a real API server and a real NATS, with the chart's RBAC only."""

import asyncio
from datetime import timedelta

from tests import builders
from tests.builders import stamp
from tests.cluster.brokers.market import POLICY, Market
from tests.cluster.crashes.comparison import data_of
from tests.cluster.stage import IDENTITY
from tests.cluster.witness import Witness
from troth.resources.references import Ref
from troth.world.index.brokers import credential_ref
from troth.world.observation.ledger import ledger_ref

MINUTE = timedelta(minutes=1)


async def test_declared_access_works_and_another_reconcile_asks_nothing(market: Market) -> None:
    stage = market.stage
    await stage.run()
    await market.open()
    await market.works()
    await stage.settled()
    stage.requests.clear()
    await stage.look_again()
    assert stage.requests.made == []
    heading, told = (await market.kubectl("get", "mb", "-n", market.space)).splitlines()
    assert heading.split()[:4] == ["NAME", "ENVIRONMENT", "MODE", "READY"]
    assert told.split()[:7] == ["main", stage.name, "Enforce", "True", "InPlace", "2", "0"]
    _, told = (await market.kubectl("get", "tp", "-n", stage.shop)).splitlines()
    assert told.split()[:6] == ["orders", "main", "prod.orders.v1", "True", "InPlace", "True"]
    events = await stage.person.events(market.space)
    assert ("InPlace", "main") in events
    assert ("LedgerLost", "main") not in events


async def test_deleted_resources_are_revoked_and_then_gone(market: Market) -> None:
    stage, person = market.stage, market.stage.person
    await stage.run()
    await market.open()
    publishing = await market.client(market.checkout)
    consuming = await market.client(market.fulfilment)
    await market.kubectl("delete", "sid", "checkout", "-n", stage.shop)
    await person.misses("Secret", credential_ref(market.checkout, market.main))
    await market.hears(POLICY, market.orders, "PeersAgree", "IdentityMissing")
    await stage.settled()
    assert market.cut_off(publishing)
    assert not market.cut_off(consuming)
    await market.kubectl("delete", "tp", "orders", "-n", stage.shop)
    await person.misses("Secret", credential_ref(market.fulfilment, market.main))
    assert market.cut_off(consuming)
    assert await market.signing_keys() == 0
    await person.ready(IDENTITY, market.fulfilment)
    await market.kubectl("delete", "mb", "main", "-n", market.space)
    assert await person.get("ConfigMap", ledger_ref(stage.own, market.main)) is None
    await stage.settled()


async def test_resource_deleted_right_after_creation_leaves_no_ghost(market: Market) -> None:
    """A finalizer that is written too late does not create the object again."""
    stage, person = market.stage, market.stage.person
    await stage.run()
    await market.open()

    async def come_and_go(number: int) -> None:
        hasty = market.policy(f"hasty-{number}", topic={"name": f"prod.hasty-{number}"})
        await person.put(hasty)
        await asyncio.sleep(0.02 * number)
        await person.delete(POLICY, Ref.of(hasty))

    await asyncio.gather(*map(come_and_go, range(8)))
    for number in range(8):
        await person.misses(POLICY, Ref(stage.shop, f"hasty-{number}"))
    await stage.settled()
    assert [each["metadata"]["name"] for each in await person.all(POLICY, stage.shop)] == ["orders"]


async def test_rotated_credential_leaves_nothing_of_the_old_one(market: Market) -> None:
    stage, person = market.stage, market.stage.person
    await stage.run()
    await market.open()
    old = await market.data(market.checkout)
    client = await market.client(market.checkout)
    secret = credential_ref(market.checkout, market.main)
    async with Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as witness:
        now = stamp(stage.clock.now() + timedelta(seconds=1))
        await person.put(builders.rotation(IDENTITY, "checkout", stage.shop, requestedAt=now))
        for _ in range(20):
            await stage.later(MINUTE)
            await stage.settled()
            new = await market.data(market.checkout)
            if new["user.creds"] != old["user.creds"] and "retiring-user.creds" not in new:
                break
        seen = [each for each in await witness.everything() if each.name == secret.name]
    assert new.keys() == old.keys()
    assert {key.split("-")[0] for each in seen for key in data_of(each.manifest)} >= {
        *("next", "retiring")
    }
    held = [data_of(each.manifest)["user.creds"] for each in seen]
    assert len(set(held)) == 2, "one was issued, once"
    assert await market.signing_keys() == 2
    assert market.cut_off(client)
    await market.works()
