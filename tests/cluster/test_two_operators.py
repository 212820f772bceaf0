"""Two installations of Troth in one cluster: the first acts, and the other says why it does not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.processes import Tether
from tests.cluster.person import until
from tests.cluster.process import Process
from tests.cluster.stage import IDENTITY, Stage, staged
from troth.cluster.leases.claim import CLAIM


@pytest.fixture
async def stages(established: Sandbox) -> AsyncIterator[tuple[Stage, Stage]]:
    """Yield two installations, none of which has the claim of the cluster."""
    async with staged(established) as one, staged(established) as other:
        await one.person.edit("Lease", CLAIM, {"spec": None})
        yield one, other


async def test_of_two_operators_that_start_together_one_acts_and_the_other_writes_nothing(
    stages: tuple[Stage, Stage],
) -> None:
    one, other = stages
    await one.domain()
    ref = await one.identity("payments", ports=["https"])
    await asyncio.gather(*(stage.stand_by() for stage in stages))
    await one.person.ready(IDENTITY, ref)
    await one.person.ready("TrustDomain", await one.domain())
    first, second = stages if one.operator.operator.claim.holds else (other, one)
    await first.settled()
    assert first.operator.operator.ready
    assert first.operator.requests.writes
    assert not second.operator.operator.ready
    assert second.operator.operator.claim.obstacle.startswith(
        f"another operator in the namespace {first.own} runs Troth in this cluster"
    )
    assert second.operator.requests.writes == {}
    assert second.operator.requests.events == 0
    assert [await authorities(each) for each in (first, second)] == [1, 0]


async def authorities(stage: Stage) -> int:
    names = [each["metadata"]["name"] for each in await stage.person.all("Secret", stage.own)]
    return sum(name.endswith("-authority") for name in names)


async def test_second_operator_names_the_first_and_takes_over_once_that_is_uninstalled(
    stages: tuple[Stage, Stage], tmp_path: Path
) -> None:
    first, second = stages
    await first.run()
    with Tether(tmp_path / "processes") as tether:
        tether.directory.mkdir()
        process = Process(tether, "second", second.kubeconfig, second.own)
        await until(
            lambda: process._get("readyz"),
            lambda text: f"another operator in the namespace {first.own} runs Troth" in text,
        )
        assert f"uninstall that one and delete the Lease {CLAIM}" in process.output
        assert await held_by_other(process) == 1
        await first.operator.stop()
        await first.person.delete("Lease", CLAIM)
        await process.leads()
        await process.ready()
        assert await held_by_other(process) == 0
    holder = (await first.person.the("Lease", CLAIM))["spec"]["holderIdentity"]
    assert holder == second.own


async def held_by_other(process: Process) -> float:
    (value,) = [
        sample.value
        for sample in await process._read()
        if sample.name == "troth_claim_held_by_other"
    ]
    return value
