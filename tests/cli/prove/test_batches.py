"""Batches of callees in rounds of `troth prove`: their time, and the writing of their proofs."""

import pytest

from tests import builders
from tests.audit.proving.test_plan import accepting, calling
from tests.builders import Manifest
from tests.cli.prove.test_round import PAYMENTS, Cluster
from troth.audit.proving.plan import Options
from troth.cli.prove.round import Request, carry_out, planned, prove_all, read_registry
from troth.cluster.errors import ApiError
from troth.resources.references import Ref


async def test_batch_without_time_starts_no_more_pods_and_is_written() -> None:
    """A callee whose pods are stuck must not keep a scheduled round from writing anything."""
    cluster = Cluster(condition="Suspended")
    registry = await read_registry(cluster, builders.OWN)
    asked = Request(options=Options("1"))
    plan = planned(registry, asked, builders.NOW)
    runner = cluster.runner(plan)
    runner.budget = 100
    proven = await prove_all(cluster, registry, plan, runner, asked, print, lambda: builders.NOW)
    assert len(cluster.created) == 1
    assert {each.evidence for each in proven.proofs[PAYMENTS]} == {
        "its pod did not end in time",
        "no time was left",
    }
    assert cluster.statuses.keys() == {PAYMENTS}


async def test_each_batch_has_time_of_its_own() -> None:
    cluster = Cluster()
    registry = await read_registry(cluster, builders.OWN)
    asked = Request(options=Options("1"))
    plan = planned(registry, asked, builders.NOW)
    runner = cluster.runner(plan)
    runner.budget = 30
    for _ in range(5):
        await carry_out(cluster, registry, plan, runner, print)
    assert len(cluster.created) == 5 * 4


def large_shop(callees: int = 3, callers: int = 60) -> list[Manifest]:
    """Return callees each with so many probes that two do not fit into one batch."""
    names = [f"caller-{number}" for number in range(callers)]
    targets = [f"callee-{number}" for number in range(callees)]
    made = [
        builders.domain(),
        builders.namespace("shop", domain="production"),
        *(accepting(each, *names) for each in targets),
        *(calling(each, *targets) for each in names),
    ]
    for each in made:
        each["metadata"]["uid"] = f"uid-of-{each['metadata']['name']}"
    return made


async def test_proofs_are_written_batch_by_batch() -> None:
    """A round that is killed keeps what it has written."""
    cluster = Cluster(large_shop(), pods=[])
    written: list[int] = []
    listed = cluster.listed

    async def counting(kind: str, namespace: str = "", **options: str) -> list[Manifest]:
        if kind == "Pod":
            written.append(len(cluster.statuses))
        return await listed(kind, namespace, **options)

    cluster.listed = counting  # type: ignore[method-assign]
    proven = await cluster.prove()
    assert set(written) == {0, 1, 2}
    assert len(proven.proofs) == len(cluster.statuses) == 3


async def test_proofs_name_the_uid_of_the_identity_that_was_probed() -> None:
    cluster = Cluster(large_shop(1, 1), pods=[])
    await cluster.prove()
    assert cluster.uids == {Ref("shop", "callee-0"): "uid-of-callee-0"}


@pytest.mark.parametrize("status", [404, 409])
async def test_identity_that_is_deleted_meanwhile_does_not_lose_the_others_proofs(
    status: int,
) -> None:
    cluster = Cluster(large_shop(), pods=[], gone={Ref("shop", "callee-0"): status})
    said: list[str] = []
    await cluster.prove(said=said)
    assert cluster.statuses.keys() == {Ref("shop", "callee-1"), Ref("shop", "callee-2")}
    assert [each for each in said if "deleted meanwhile" in each] == [
        "shop/callee-0: its proofs are not written, because it was deleted meanwhile"
    ]


async def test_right_to_write_that_is_missing_is_an_error() -> None:
    cluster = Cluster(large_shop(1, 1), pods=[], gone={Ref("shop", "callee-0"): 403})
    with pytest.raises(ApiError):
        await cluster.prove()
