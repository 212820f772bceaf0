"""Replicas are killed during a rolling update of the operator, in the middle of a rotation.

A standby takes the lease when it expires, of whichever version. `make campaign` kills a replica in
each phase, with the earlier version from the history of this repository; `make test` kills one, of
this version.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.cluster import conftest
from tests.cluster.crashes.test_crash_points import THOROUGH
from tests.cluster.faults.upgrades.releases import PRESENT, Release, earlier
from tests.cluster.faults.upgrades.rotating import Point, opened
from tests.cluster.process import Process
from tests.cluster.stage import staged

ROOT, TOKENS = "rotation", "tokenRotation"
KILLS: tuple[Point, ...] = ((ROOT, "Reissuing"),)
if THOROUGH:
    KILLS = ((ROOT, "Distributing"), (ROOT, "Reissuing"), (ROOT, "Retiring"), (TOKENS, "Retiring"))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Return a control plane whose CRDs change."""
    yield from conftest.separate_sandbox()


async def leader_of(replicas: list[Process]) -> Process:
    """Wait until one of the replicas leads; return it."""
    while True:
        for each in replicas:
            if await each.leader():
                return each
        await asyncio.sleep(0.1)


@pytest.mark.long
async def test_replicas_killed_during_a_rolling_update_complete_the_rotation(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    before = earlier(tmp_path / "earlier") if THOROUGH else PRESENT
    before.install_crds(sandbox)
    async with staged(sandbox) as stage, opened(stage, tmp_path / "shop") as shop:
        first = shop.start(before)
        await first.leads()
        await shop.declare()
        old = await shop.credentials()
        PRESENT.install_crds(sandbox)
        versions: list[Release] = [PRESENT, before] * len(KILLS)
        replicas = [first, *map(shop.start, versions[: len(KILLS)])]
        for each in replicas:
            await each.ready()
        await shop.rotate()
        for point in KILLS:
            await shop.reaches(point)
            leader = await leader_of(replicas)
            await asyncio.to_thread(leader.kill)
            replicas.remove(leader)
        await shop.ends(old)
        await shop.ready()
        await shop.judged()
        shop.no_tracebacks()
