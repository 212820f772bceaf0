"""Several copies act at once, each on its shards, on a real API server.

The API server is the judge: what it stored, in which order, and which copy asked for it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from pathlib import Path

import pytest

from tests import builders
from tests.cluster.person import Manifest, until
from tests.cluster.process import QUICK, Process
from tests.cluster.stage import IDENTITY, Stage
from tests.cluster.test_takeover import in_the_middle, tied
from tests.cluster.witness import Sight, Witness, each_got_one_certificate
from troth.cluster.leases.shard_assignment import OWNER, REPLICA
from troth.planning.owned_objects import secret_ref
from troth.resources.references import Ref
from troth.world.shards import shard_of_namespace

SHARDS = 4
SPACES, EACH = 20, 5


def sharded(shards: int) -> tuple[str, ...]:
    return (*QUICK, "--shards", str(shards))


async def rings(stage: Stage) -> list[Ref]:
    """Declare rings of services across the namespaces: each calls one of the next namespace."""
    while len(stage.namespaces) < SPACES:
        await stage.namespace()
    spaces = stage.namespaces

    def declare(number: int, at: int) -> Awaitable[Ref]:
        before, after = (at - 1) % SPACES, (at + 1) % SPACES
        return stage.identity(
            f"service-{number}-{at}",
            spaces[at],
            ports=["https"],
            accepts=[builders.accept(f"service-{number}-{before}", namespace=spaces[before])],
            calls=[builders.call(f"service-{number}-{after}", namespace=spaces[after])],
        )

    every = [(number, at) for number in range(EACH) for at in range(SPACES)]
    return list(await asyncio.gather(*(declare(*each) for each in every)))


def in_the_rings(stage: Stage, seen: Iterable[Sight]) -> list[Sight]:
    spaces = set(stage.namespaces)
    return [each for each in seen if each.manifest["metadata"]["namespace"] in spaces]


async def lease(stage: Stage) -> Manifest:
    return await stage.person.the("Lease", Ref(stage.own, "troth-operator"))


async def shares(stage: Stage) -> list[int]:
    """Return the number of shards of each replica in the Lease, sorted."""
    annotations = (await lease(stage))["metadata"].get("annotations") or {}
    counted = Counter(
        {name.removeprefix(REPLICA): 0 for name in annotations if name.startswith(REPLICA)}
    )
    counted.update(value for name, value in annotations.items() if name.startswith(OWNER))
    return sorted(counted.values())


async def shared(stage: Stage, *expected: int) -> None:
    await until(lambda: shares(stage), lambda found: found == list(expected))


async def writes(copy: Process) -> Counter[str]:
    """Return the writes of a copy by resource."""
    counted: Counter[str] = Counter()
    for (verb, resource), number in (await copy.requests()).items():
        if verb not in {"list", "get", "watch"} and resource != "events":
            counted[resource] += number
    return counted


@pytest.mark.long
async def test_copies_share_the_work_and_each_object_is_written_once(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.install(f"shards={SHARDS}")
    with tied(tmp_path) as tether:
        copies = [
            Process(tether, name, stage.kubeconfig, stage.own, *sharded(SHARDS)) for name in "ab"
        ]
        for each in copies:
            await each.ready()
        await shared(stage, 2, 2)
        refs = await rings(stage)
        for ref in refs:
            await stage.person.hears(IDENTITY, ref, "Ready", "NoTrustDomain", "False")
        async with Witness(stage.sandbox.kubeconfig, "Secret", "") as secrets:
            await stage.domain()
            await everything_across(stage, refs)
            seen = in_the_rings(stage, await secrets.everything())
        assert Counter(Ref.of(each.manifest) for each in seen) == Counter(map(secret_ref, refs))
        made = [await writes(each) for each in copies]
        assert all(each["secrets"] > len(refs) / SHARDS / 2 for each in made), "both work"
        assert (await lease(stage))["spec"]["holderIdentity"] == f"{SHARDS} shards, {QUICK[1]}"


async def everything_across(stage: Stage, refs: list[Ref]) -> None:
    for ref in refs:
        await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
        await stage.person.ready(IDENTITY, ref)


async def test_other_copy_takes_the_shards_of_a_killed_one_and_issues_nothing_twice(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.install(f"shards={SHARDS}")
    await stage.domain()
    with tied(tmp_path) as tether:
        copies = [
            Process(tether, name, stage.kubeconfig, stage.own, *sharded(SHARDS)) for name in "ab"
        ]
        for each in copies:
            await each.ready()
        await shared(stage, 2, 2)
        async with (
            Witness(stage.sandbox.kubeconfig, "Secret", "") as secrets,
            Witness(stage.sandbox.kubeconfig, "NetworkPolicy", "") as policies,
        ):
            declaring = asyncio.create_task(rings(stage))
            await in_the_middle(secrets, stage, SPACES * EACH)
            await asyncio.to_thread(copies[0].kill)
            refs = await declaring
            await everything_across(stage, refs)
            await shared(stage, SHARDS)
            seen = [*await secrets.everything(), *await policies.everything()]
            each_got_one_certificate(in_the_rings(stage, seen), len(refs))


@pytest.mark.long
async def test_rolling_update_changes_the_number_of_shards(stage: Stage, tmp_path: Path) -> None:
    await stage.install("shards=2")
    await stage.domain()
    with tied(tmp_path) as tether:
        old = [Process(tether, name, stage.kubeconfig, stage.own, *sharded(2)) for name in "ab"]
        for each in old:
            await each.ready()
        await shared(stage, 1, 1)
        callee, caller = await stage.pair()
        new = [Process(tether, name, stage.kubeconfig, stage.own, *sharded(3)) for name in "cd"]
        for each in new:
            await each.ready()
        await asyncio.to_thread(old[0].stop)
        await shared(stage, 2)
        assert (await lease(stage))["spec"]["holderIdentity"] == f"2 shards, {QUICK[1]}"
        await asyncio.to_thread(old[1].stop)
        await shared(stage, 1, 2)
        assert (await lease(stage))["spec"]["holderIdentity"] == f"3 shards, {QUICK[1]}"
        for ref in (callee, caller):
            await stage.person.ready(IDENTITY, ref)
        await stage.person.edit(IDENTITY, callee, {"spec": {"accepts": None}})
        await stage.closes(callee)


def test_namespaces_of_these_tests_are_in_several_shards() -> None:
    names = [f"t1234abcd-{number}" for number in range(SPACES)]
    assert len({shard_of_namespace(each, SHARDS) for each in names}) == SHARDS
