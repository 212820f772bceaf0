"""Stale lists: Troth must neither repeat nor undo what it has done since.

A healthy API server returns none. One that was restored from a backup, or one of several that lost
contact to the others, may. Troth may act on a stale list until the watch corrects it. Issued
certificates stay issued, and in the end everything is as before.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox import faults
from sandbox.faults import Fault, FaultyPath, Past
from tests import builders
from tests.cluster.paths import WRITTEN, faulty, lose
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, leaf_of, opened
from tests.cluster.witness import Witness, each_got_one_certificate
from troth.planning.owned_objects import policy_ref
from troth.resources.references import Ref


async def remembered(stage: Stage, path: FaultyPath, resource: str) -> Past:
    """Let a copy of the operator list everything, and keep the answers for a resource."""
    past = Past()
    path.always("GET", resource, past.keep)
    copy = await stage.run(path.kubeconfig)
    await copy.settled()
    path.well()
    return past


async def restarted(stage: Stage, path: FaultyPath, past: Past, resource: str) -> None:
    """Start another copy, and replay those answers to it."""
    await stage.operator.stop()
    for _ in range(2 if resource == "secrets" else 1):  # those of its own namespace are one list
        path.once("GET", resource, past.replay)
    await stage.run(path.kubeconfig)


@pytest.mark.parametrize("resource", ["namespaces", *WRITTEN])
async def test_copy_with_stale_lists_issues_nothing_twice_and_opens_no_edge(
    stage: Stage, tmp_path: Path, resource: str
) -> None:
    """In that past, nothing of this was declared or issued."""
    kubeconfig = stage.sandbox.kubeconfig
    async with (
        faulty(stage, tmp_path) as path,
        Witness(kubeconfig, "Secret", stage.shop) as secrets,
    ):
        await stage.person.put(builders.namespace(stage.shop, domain="another"))
        past = await remembered(stage, path, resource)
        await stage.person.put(builders.namespace(stage.shop, domain=stage.name))
        domain = await stage.domain()
        payments, web = await stage.pair()
        await stage.person.ready(DOMAIN, domain)
        await stage.settled()
        root = await stage.person.the("Secret", Ref(stage.own, f"{domain.name}-authority"))

        async with Witness(kubeconfig, "NetworkPolicy", stage.shop) as policies:
            better = asyncio.Event()
            path.withheld[resource] = better  # Troth waits until it has been established
            await restarted(stage, path, past, resource)
            await stage.operator.operator.engine.queue.settled()  # with all objects of the lists
            better.set()
            for ref in (payments, web):
                await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
                await stage.person.ready(IDENTITY, ref)
            await stage.person.ready(DOMAIN, domain)
            for sight in await policies.everything():
                assert sight.type != "DELETED"
                assert set(opened(sight.manifest, "ingress")) <= {8443}
        each_got_one_certificate(await secrets.everything(), 2)
        again = await stage.person.the("Secret", Ref(stage.own, f"{domain.name}-authority"))
        assert again["data"] == root["data"]
        await stage.settled()  # `hears` may have seen a status from before the restart
        stage.requests.clear()
        await stage.look_again()
        assert stage.requests.made == []


@pytest.mark.parametrize(
    "gone", [pytest.param(False, id="remembered"), pytest.param(True, id="forgotten")]
)
async def test_edge_of_the_past_is_closed_as_soon_as_the_watch_corrects_it(
    stage: Stage, tmp_path: Path, *, gone: bool
) -> None:
    """Parametrized by whether the API server still has the later events, or answers 410."""
    async with faulty(stage, tmp_path) as path:
        await stage.domain()
        await stage.run(path.kubeconfig)
        payments, web = await stage.pair()
        await stage.operator.stop()
        past = await remembered(stage, path, "serviceidentities")
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")
        await stage.settled()

        if gone:
            path.once("WATCH", "serviceidentities", faults.status(410, "Expired"))
        await restarted(stage, path, past, "serviceidentities")
        await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")
        await stage.settled()
        assert not opened(await stage.policy(payments), "ingress")
        assert not opened(await stage.policy(web), "egress")


@asynccontextmanager
async def running_since(stage: Stage, directory: Path) -> AsyncIterator[tuple[FaultyPath, Past]]:
    """Run a copy with a pair, and keep the list of identities in which they consent."""
    async with faulty(stage, directory) as path:
        await stage.domain()
        await stage.run(path.kubeconfig)
        await stage.pair()
        await stage.operator.stop()
        past = await remembered(stage, path, "serviceidentities")
        yield path, past


async def relisted(path: FaultyPath, past: Past, gone: Fault) -> None:
    """Break the watch of the identities, and answer the next list with the old one."""
    path.once("GET", "serviceidentities", past.replay)
    await lose(path, "serviceidentities", gone)


async def test_withdrawn_edge_is_not_opened_again_by_a_stale_list(
    stage: Stage, tmp_path: Path
) -> None:
    async with running_since(stage, tmp_path) as (path, past):
        payments, web = Ref(stage.shop, "payments"), Ref(stage.shop, "web")
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")
        await stage.settled()
        before = await stage.written()
        await relisted(path, past, faults.status(410, "Expired"))
        await listed_again(stage)
        assert await stage.written() == before
        assert not opened(await stage.policy(payments), "ingress")


async def test_identity_missing_from_a_stale_list_keeps_its_objects(
    stage: Stage, tmp_path: Path
) -> None:
    async with running_since(stage, tmp_path) as (path, past):
        late = await stage.identity("late", ports=["https"])
        await stage.person.ready(IDENTITY, late)
        await stage.settled()
        before = await stage.written()
        await relisted(path, past, faults.status(410, "Expired"))
        await listed_again(stage)
        assert await stage.written() == before


async def test_identity_that_exists_only_in_a_stale_list_is_removed_again(
    stage: Stage, tmp_path: Path
) -> None:
    async with running_since(stage, tmp_path) as (path, past):
        payments, web = Ref(stage.shop, "payments"), Ref(stage.shop, "web")
        before = leaf_of(await stage.secret(payments)).serial_number
        await stage.person.delete(IDENTITY, web)
        await stage.person.hears(IDENTITY, payments, "PeersAgree", "PeerMissing", "False")
        await stage.settled()
        await relisted(path, past, faults.status(410, "Expired"))
        await listed_again(stage)
        await stage.person.hears(IDENTITY, payments, "PeersAgree", "PeerMissing", "False")
        await stage.person.sees(
            "NetworkPolicy", policy_ref(payments), lambda seen: not opened(seen, "ingress")
        )
        await stage.person.misses("NetworkPolicy", policy_ref(web))
        assert leaf_of(await stage.secret(payments)).serial_number == before


async def listed_again(stage: Stage) -> None:
    """Wait until the watch continues after the list, and the operator has settled."""
    marker = await stage.identity("marker")
    await stage.person.ready(IDENTITY, marker)
    await stage.settled()
    await stage.person.delete(IDENTITY, marker)
    await stage.person.misses("Secret", Ref(marker.namespace, "marker-identity"))
    await stage.settled()
