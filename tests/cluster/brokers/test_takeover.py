"""Copies of the operator that are killed and taken over: no credential is issued again."""

import asyncio
from pathlib import Path

import pytest

from sandbox.processes import Tether
from tests.cluster.brokers.market import POLICY, Market
from tests.cluster.crashes.comparison import data_of
from tests.cluster.crashes.crash_points import CrashingPath, CrashPoint
from tests.cluster.crashes.operators import Task
from tests.cluster.person import LONG, version
from tests.cluster.process import Process
from tests.cluster.witness import Witness
from troth.world.index.brokers import credential_ref

RELENTLESS = CrashPoint(1, relentless=True)
"""An operator crashes after each of its writes, except those of statuses."""


@pytest.mark.long
async def test_takeover_from_a_killed_leader_issues_and_revokes_nothing(
    market: Market, tmp_path: Path
) -> None:
    stage = market.stage
    with Tether(tmp_path / "processes") as tether:
        tether.directory.mkdir()
        leader = Process(tether, "leader", stage.kubeconfig, stage.own)
        await leader.ready()
        await leader.leads()
        await market.open()
        standby = Process(tether, "standby", stage.kubeconfig, stage.own)
        await standby.ready()
        client = await market.client(market.checkout)
        before = await market.credential(market.checkout)
        pushes = await market.nats.pushes()

        await asyncio.to_thread(leader.kill)
        await standby.leads()
        await standby.visited(5)  # the domain, two identities, the policy and the broker
        assert await pushes() == 0
        assert version(await market.credential(market.checkout)) == version(before)
        assert not market.cut_off(client)

        await stage.person.delete(POLICY, market.orders)
        await stage.person.misses(POLICY, market.orders)
        assert market.cut_off(client)
        assert await market.signing_keys() == 0
        assert "Traceback" not in standby.output


@pytest.mark.long
async def test_operators_that_crash_after_every_write_still_converge(
    market: Market, tmp_path: Path
) -> None:
    stage, person = market.stage, market.stage.person
    async with (
        CrashingPath(stage.kubeconfig, tmp_path / "path") as path,
        Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as witness,
    ):
        path.set_crash_point(RELENTLESS)
        life = Task(stage, path)

        async def ever_anew() -> None:
            while True:
                await life.begin()
                await path.over.wait()
                await life.end()
                path.revive()

        dying = asyncio.create_task(ever_anew())
        try:
            async with asyncio.timeout(LONG):
                await market.open()
            await market.works()
            assert path.crashes > 8
            for identity in (market.checkout, market.fulfilment):
                name = credential_ref(identity, market.main).name
                seen = [each for each in await witness.everything() if each.name == name]
                assert len({data_of(each.manifest)["user.creds"] for each in seen}) == 1
            assert await market.signing_keys() == 2
            await person.delete(POLICY, market.orders)
            await person.misses(POLICY, market.orders, LONG)
            assert await market.signing_keys() == 0
        finally:
            dying.cancel()
            await asyncio.wait({dying})
            await life.end()
    assert dying.cancelled(), dying.exception()
