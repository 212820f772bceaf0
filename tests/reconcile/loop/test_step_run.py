"""A long reconcile continues while the lease is renewed, and writes independent objects at once."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.builders import Manifest, accept, call, domain, identity, namespace
from tests.patience import PATIENCE
from tests.reconcile.serving import LeaderFence, Server, running
from troth.cluster.errors import STORE_FULL, ApiError
from troth.cluster.watching.backoff import Backoff
from troth.reconcile.loop.step_run import AT_ONCE
from troth.reconcile.runtime.instrumentation import Instrumentation
from troth.resources.references import Ref
from troth.world.keys import domain_key

NAMESPACES = [namespace(f"shop{number}", domain="production") for number in range(40)]
BUNDLES = {("ConfigMap", Ref(f"shop{number}", "trust-bundle")) for number in range(40)}
IDENTITIES = [
    identity("payments", "shop0", ports=["https"], accepts=[accept("web")]),
    identity("web", "shop0", calls=[call("payments")]),
]


class InProgress:
    """Requests in progress by kind, and the most at once."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    @contextmanager
    def one(self, kind: str) -> Iterator[None]:
        self.now[kind] += 1
        self.most[kind] = max(self.most[kind], self.now[kind])
        try:
            yield
        finally:
            self.now[kind] -= 1


class Slow(Server):
    """Answers each apply and deletion after a while, and records how many are in progress."""

    def __init__(self, *manifests: Manifest, delay: float = 0.01) -> None:
        super().__init__(manifests)
        self.delay = delay
        self.applies, self.deletions = InProgress(), InProgress()

    async def apply(self, manifest: Manifest) -> Manifest:
        with self.applies.one(manifest["kind"]):
            await asyncio.sleep(self.delay)
            return await super().apply(manifest)

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        with self.deletions.one(kind):
            await asyncio.sleep(self.delay)
            return await super().delete(kind, ref, uid)


async def test_reconcile_that_outlasts_one_term_of_the_lease_is_not_cut() -> None:
    """The fence always has a tenth of a second left, as of a lease that is renewed."""
    outcomes: Counter[tuple[str, str]] = Counter()
    instrumentation = Instrumentation(
        visited=lambda kind, outcome, _: outcomes.update([(kind, outcome)])
    )
    server, fence = Slow(*NAMESPACES, domain(), delay=0.05), LeaderFence(remaining=0.1)
    async with running(server, leader_fence=fence, instrumentation=instrumentation) as it:
        await it.settle()
    assert {place for place in server.log if place[0] == "ConfigMap"} == BUNDLES
    assert Counter(server.log).most_common(1)[0][1] <= 2, "a status, besides"
    assert outcomes["TrustDomain", "not leading"] == 0
    assert outcomes["TrustDomain", "again"] == 0


async def test_bundles_are_written_concurrently_after_the_first() -> None:
    server = Slow(*NAMESPACES, domain())
    async with running(server) as it:
        await it.settle()
    assert server.applies.most["ConfigMap"] == AT_ONCE


async def test_isolation_is_written_and_removed_concurrently_after_the_first() -> None:
    isolating = domain(isolation="Namespace")
    server = Slow(*NAMESPACES, isolating)
    async with running(server) as it:
        await it.settle()
        assert server.applies.most["NetworkPolicy"] == AT_ONCE
        await it.put(domain(isolation="Workload"))
    assert server.deletions.most["NetworkPolicy"] == AT_ONCE
    assert not any(kind == "NetworkPolicy" for kind, _ in server.objects)


async def test_objects_whose_order_matters_are_written_one_after_the_other() -> None:
    server = Slow(NAMESPACES[0], domain(), *IDENTITIES)
    async with running(server) as it:
        await it.settle()
    assert set(server.applies.most.values()) == {1}


async def test_interrupted_reconcile_continues_without_backoff() -> None:
    server, fence = Slow(*NAMESPACES, domain(), delay=0.05), LeaderFence()
    async with running(server, leader_fence=fence) as it, asyncio.timeout(PATIENCE):
        while not BUNDLES & set(server.log):  # noqa: ASYNC110 - writes have their own delay
            await asyncio.sleep(0.01)
        fence.remaining = -1
        while it.engine.queue._working:  # noqa: ASYNC110 - the fence is looked at in a while
            await asyncio.sleep(0.01)
        assert not it.engine.queue._retries
        fence.remaining = 3600
        await it.settle()
        assert set(server.log) >= BUNDLES
        written = Counter(place for place in server.log if place in BUNDLES)
        assert set(written.values()) == {1}, "nothing is written again"


async def test_conflict_beside_progress_resets_the_backoff() -> None:
    server = Slow(*NAMESPACES, domain())
    late = "ConfigMap", Ref("shop39", "trust-bundle")
    server.refuses = lambda place: ApiError(409, "Conflict", "changed") if place == late else None
    key = domain_key("production")
    async with running(server) as it:
        it.engine.queue._backoffs[key] = Backoff(most=60.0)
        it.engine.queue._backoffs[key].failures = 8
        await it.settle()
        assert it.engine.queue._backoffs[key].failures == 1


@pytest.mark.parametrize(
    ("status", "reason"), [(0, ""), (503, "ServiceUnavailable"), (500, STORE_FULL)]
)
async def test_unavailable_server_gets_at_most_one_write_of_the_bundles(
    status: int, reason: str
) -> None:
    server = Slow(*NAMESPACES, domain())
    asked = 0

    def refuse(place: tuple[str, Ref]) -> ApiError | None:
        nonlocal asked
        if place not in BUNDLES:
            return None
        asked += 1
        return ApiError(status, reason, "come back later")

    server.refuses = refuse
    async with running(server) as it:
        await it.settle()
        assert asked == 1
