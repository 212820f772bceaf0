"""Lists that tell of an older world: what Troth did since must not be done again, nor undone.

A healthy API server gives none, but one that was restored, or one of several that was cut off from
the others, may. Troth may act on what it is told until the watch tells it better; what was issued
stays issued, and in the end everything is as it was.
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
    """Have a copy of the operator list everything, and keep what it was told of a resource."""
    past = Past()
    path.always("GET", resource, past.keep)
    copy = await stage.run(path.kubeconfig)
    await copy.settled()
    path.well()
    return past


async def restarted(stage: Stage, path: FaultyPath, past: Past, resource: str) -> None:
    """Start another copy, and tell it of that past."""
    await stage.operator.stop()
    for _ in range(2 if resource == "secrets" else 1):  # those of its own namespace are one list
        path.once("GET", resource, past.replay)
    await stage.run(path.kubeconfig)


@pytest.mark.parametrize("resource", ["namespaces", *WRITTEN])
async def test_a_copy_that_starts_in_the_past_issues_nothing_twice_and_opens_nothing(
    stage: Stage, tmp_path: Path, resource: str
) -> None:
    """The past is one in which nothing of this was declared, or issued, yet."""
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
            path.always("WATCH", resource, faults.held(better))
            await restarted(stage, path, past, resource)
            await stage.operator.operator.engine.queue.settled()  # with all it was told
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
        await stage.settled()  # a status from before the restart may be the one that was heard
        stage.requests.clear()
        await stage.look_again()
        assert stage.requests.made == []


@pytest.mark.parametrize(
    "gone", [pytest.param(False, id="remembered"), pytest.param(True, id="forgotten")]
)
async def test_an_edge_of_the_past_is_closed_as_soon_as_the_watch_tells_better(
    stage: Stage, tmp_path: Path, *, gone: bool
) -> None:
    """Whether the API server still remembers what came since, or answers 410."""
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
    """Run a copy that knows of a pair, and of whose lists one is kept in which they agree."""
    async with faulty(stage, directory) as path:
        await stage.domain()
        await stage.run(path.kubeconfig)
        await stage.pair()
        await stage.operator.stop()
        past = await remembered(stage, path, "serviceidentities")
        yield path, past


async def relisted(path: FaultyPath, past: Past, gone: Fault) -> None:
    """Have the identities listed anew, and the list be one of the past."""
    path.once("GET", "serviceidentities", past.replay)
    await lose(path, "serviceidentities", gone)


async def test_an_edge_that_was_withdrawn_is_not_opened_again_by_an_older_list(
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


async def test_an_identity_that_an_older_list_does_not_know_keeps_what_it_has(
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


async def test_an_identity_that_only_an_older_list_knows_is_let_go_of_again(
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
    """Wait until the watch goes on after the list, and all that came of it is done."""
    marker = await stage.identity("marker")
    await stage.person.ready(IDENTITY, marker)
    await stage.settled()
    await stage.person.delete(IDENTITY, marker)
    await stage.person.misses("Secret", Ref(marker.namespace, "marker-identity"))
    await stage.settled()
