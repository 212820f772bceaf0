"""Deletion of namespaces with all their contents, with or without their broker."""

import asyncio
from datetime import timedelta

import pytest

from sandbox.brokers.nats import NatsServer
from tests.brokers.nats.stage import Stage as Account
from tests.cluster import chart
from tests.cluster.brokers.market import BROKER, Market
from tests.cluster.stage import Stage
from troth.resources.references import Ref
from troth.world.observation.ledger import ledger_ref


@pytest.mark.long
async def test_namespace_deletion_revokes_although_the_admin_secret_goes_first(
    market: Market,
) -> None:
    stage, person = market.stage, market.stage.person
    await stage.run()
    await market.open()
    client = await market.client(market.checkout)
    for name in ("nats-admin", "nats-ca"):  # the API server deletes them in any order
        await person.delete("Secret", Ref(market.space, name))
    await market.end()
    await market.gone()
    await stage.settled()
    assert market.cut_off(client)
    assert await market.signing_keys() == 0
    assert await person.get("ConfigMap", ledger_ref(stage.own, market.main)) is None


@pytest.mark.long
async def test_namespace_deletion_revokes_although_the_role_goes_first(
    stage: Stage, nats: Account
) -> None:
    """An operator that watches some namespaces has a Role in each, which is deleted with it."""
    market = await Market.on(stage, nats)
    await stage.install_for(stage.shop, market.space)
    limits = chart.finalizer_policy(stage.name)
    await chart.install(stage.person, limits)
    stage.installed += limits  # deleted with the rest
    await stage.run()
    await market.open()
    for namespace in (stage.shop, market.space):  # the API server deletes it in any order
        await stage.person.delete("Role", Ref(namespace, f"{stage.own}-operator"))
    await market.end()
    await market.gone()
    await stage.settled()
    assert await market.signing_keys() == 0
    assert await stage.person.get("ConfigMap", ledger_ref(stage.own, market.main)) is None


@pytest.mark.long
async def test_namespace_is_deleted_although_its_broker_is_gone(
    market: Market, nats_server: NatsServer
) -> None:
    stage = market.stage
    await stage.run()
    await market.open()
    await asyncio.to_thread(nats_server.stop, grace=0)
    try:
        await market.end()
        await market.hears(BROKER, market.main, "Ready", "Unreachable")
        await stage.later(timedelta(minutes=11))
        await market.gone()
    finally:
        await asyncio.to_thread(nats_server.restart)
