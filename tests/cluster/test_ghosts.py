"""Ghosts: a deleted object leaves the cache although an answer is late or a watch was broken."""

import asyncio
import copy
import time
from collections import Counter
from pathlib import Path

import pytest

from sandbox import faults
from tests import builders
from tests.cluster.paths import faulty, lose, operated
from tests.cluster.person import until
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from troth.cluster.resources import RESOURCES
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref
from troth.world.world import Difference

EXPIRED = faults.status(410, "Expired")


async def knows(stage: Stage, kind: str, ref: Ref, *, known: bool = True) -> None:
    """Wait until the operator's cache has an object, or no longer has it."""

    async def look() -> bool:
        return stage.operator.operator.engine.world.knows(kind, ref)

    await until(look, lambda seen: seen is known)


# An answer after the deletion


@pytest.mark.parametrize(
    ("kind", "resource", "suffix"),
    [("NetworkPolicy", "networkpolicies", "-troth"), ("Secret", "secrets", "-identity")],
)
async def test_owned_object_deleted_before_its_write_is_answered_is_restored(
    stage: Stage, tmp_path: Path, kind: str, resource: str, suffix: str
) -> None:
    """NetworkEnforced is not True while the policy does not exist."""
    async with operated(stage, tmp_path) as path:
        ref, seen = Ref(stage.shop, f"payments{suffix}"), asyncio.Event()
        late = faults.of_object(ref.name, faults.answered_late(seen))
        path.always("PATCH", resource, late)
        payments = await stage.identity("payments", ports=["https"])
        await knows(stage, kind, ref)
        first = await stage.person.the(kind, ref)
        await stage.person.delete(kind, ref)
        await knows(stage, kind, ref, known=False)
        seen.set()
        again = await stage.person.sees(kind, ref)
        assert again["metadata"]["uid"] != first["metadata"]["uid"]
        await stage.person.ready(IDENTITY, payments)
        await stage.person.hears(IDENTITY, payments, "NetworkEnforced", "Enforced", "True")


async def test_identity_deleted_before_its_status_is_answered_keeps_nothing(
    stage: Stage, tmp_path: Path
) -> None:
    async with operated(stage, tmp_path) as path:
        accepts = [builders.accept("web")]
        payments = await stage.identity("payments", ports=["https"], accepts=accepts)
        await stage.person.ready(IDENTITY, payments)
        await stage.settled()
        seen = asyncio.Event()
        late = faults.of_object("web", faults.answered_late(seen))
        path.always("PATCH", "serviceidentities", late)
        web = await stage.identity("web", calls=[builders.call("payments")])
        await wait_for_status(stage, web)
        await stage.person.delete(IDENTITY, web)
        await knows(stage, IDENTITY, web, known=False)
        seen.set()
        await stage.person.misses("Secret", secret_ref(web))
        await stage.person.misses("NetworkPolicy", policy_ref(web))
        await stage.person.hears(IDENTITY, payments, "PeersAgree", "PeerMissing", "False")
        await stage.settled()
        await stage.look_again()
        assert web not in stage.operator.operator.engine.world.registry.identities
        await stage.person.misses("Secret", secret_ref(web))


async def wait_for_status(stage: Stage, ref: Ref) -> None:
    """Wait until an identity has a status."""
    await stage.person.sees(IDENTITY, ref, lambda seen: seen.get("status", {}).get("conditions"))


# A dead watch


@pytest.mark.parametrize("kind", ["NetworkPolicy", "Secret", "ConfigMap"])
async def test_owned_object_written_and_deleted_in_a_watch_gap_is_restored(
    stage: Stage, tmp_path: Path, kind: str
) -> None:
    """No event reported the object; the operator knows it from the answer to its own write."""
    resource = RESOURCES[kind].name
    async with faulty(stage, tmp_path) as path:
        domain = await stage.domain()
        await stage.run(path.kubeconfig)
        await stage.person.ready(DOMAIN, domain)
        await stage.settled()
        path.muted.add(resource)
        namespace = await stage.namespace()
        payments = await stage.identity("payments", namespace, ports=["https"])
        ref = {
            "NetworkPolicy": policy_ref(payments),
            "Secret": secret_ref(payments),
            "ConfigMap": Ref(namespace, "trust-bundle"),
        }[kind]
        await stage.person.ready(IDENTITY, payments)
        await knows(stage, kind, ref)
        await stage.settled()
        await stage.person.delete(kind, ref)
        await stage.person.misses(kind, ref)
        path.muted.clear()
        await lose(path, resource, EXPIRED)
        await stage.person.sees(kind, ref)
        await stage.person.ready(IDENTITY, payments)


async def test_identity_recreated_after_a_watch_gap_has_no_conflict(
    stage: Stage, tmp_path: Path
) -> None:
    async with faulty(stage, tmp_path) as path:
        domain = await stage.domain()
        await stage.run(path.kubeconfig)
        await stage.person.ready(DOMAIN, domain)
        await stage.settled()
        path.muted |= {"secrets", "networkpolicies"}
        payments = await stage.identity("payments", ports=["https"])
        await stage.person.ready(IDENTITY, payments)
        await stage.settled()
        await stage.person.delete(IDENTITY, payments)
        await gone(stage, payments)
        path.muted.clear()
        for resource in ("secrets", "networkpolicies"):
            await lose(path, resource, EXPIRED)
        await stage.identity("payments", ports=["https"])
        await stage.person.ready(IDENTITY, payments)


async def gone(stage: Stage, identity: Ref) -> None:
    """Wait until the garbage collector has deleted an identity's owned objects."""
    await stage.person.misses("Secret", secret_ref(identity))
    await stage.person.misses("NetworkPolicy", policy_ref(identity))


# The slow resync


async def test_resync_of_a_correct_cache_lists_each_selection_once(stage: Stage) -> None:
    domain = await stage.domain()
    await stage.run()
    await stage.pair()
    await stage.person.ready(DOMAIN, domain)
    await stage.settled()
    found: list[tuple[str, Difference]] = []
    stage.requests.clear()
    for resync in stage.operator.operator.resyncs:
        resync._on_difference = lambda *what: found.append(what)
        await resync.compare()
    listed = Counter(
        RESOURCES[each.selection.kind].name for each in stage.operator.operator.informers
    )
    assert stage.requests.reads == listed
    assert stage.requests.writes == Counter()
    assert found == []


async def test_resync_repairs_a_wrong_cache(stage: Stage) -> None:
    """The cache has a ghost, lacks one object, and has an older version of another."""
    domain = await stage.domain()
    await stage.run()
    payments, web = await stage.pair()
    await stage.person.ready(DOMAIN, domain)
    await stage.settled()
    operator, found = stage.operator.operator, list[tuple[str, Difference]]()
    world = operator.engine.world
    ghost = copy.deepcopy(await stage.person.the("NetworkPolicy", policy_ref(web)))
    ghost["metadata"] |= {"name": "ghost-troth", "uid": "0"}
    ghost["kind"] = "NetworkPolicy"
    world.observe(ghost, uptime=0.0)
    ref = secret_ref(web)
    secret = await stage.person.the("Secret", ref)
    world.forget("Secret", ref, int(secret["metadata"]["resourceVersion"]), uptime=0.0)
    world._versions.note(
        IDENTITY, payments, world._versions.of(IDENTITY)[payments]._replace(number=1)
    )

    comparing = []
    for resync in operator.resyncs:
        resync._on_difference = lambda *what: found.append(what)
        comparing.append(asyncio.create_task(resync.compare()))
    while not all(task.done() for task in comparing):
        await asyncio.sleep(0.5)  # a bookmark, which comes once a minute, would work as well
        note = {"metadata": {"annotations": {"example.com/moment": str(time.monotonic())}}}
        for kind, each in (("NetworkPolicy", policy_ref(web)), ("Secret", secret_ref(payments))):
            await stage.person.edit(kind, each, note)
        await stage.person.edit(IDENTITY, web, note)
    for task in comparing:
        task.result()
    assert sorted(found) == [
        ("NetworkPolicy", Difference.GHOST),
        ("Secret", Difference.MISSING),
        (IDENTITY, Difference.STALE),
    ]
    assert not world.knows("NetworkPolicy", Ref.of(ghost))
    assert world.knows("Secret", ref)
    await stage.person.ready(IDENTITY, web)
    after = await stage.person.the("Secret", ref)
    assert after["data"] == secret["data"]
