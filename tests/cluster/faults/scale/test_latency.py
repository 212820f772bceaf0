"""An API server 50 to 200 ms away, and a trust domain over many namespaces.

Every change costs the writes that the design promises, and no more: no step is repeated, no request
fails, and a restart writes nothing. The lease, whose renewals are as late as everything else, stays
with its holder. `make campaign` has 3,000 namespaces, as many as a large platform. `make test` has
a few, at shorter distances.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from sandbox import Sandbox
from sandbox.faults.latency import DistantPath
from tests import builders
from tests.builders import stamp
from tests.cluster.conftest import with_crds
from tests.cluster.crashes.playing import without_errors
from tests.cluster.faults.deletions.cache import is_in_step
from tests.cluster.person import LONG, until
from tests.cluster.stage import DOMAIN, IDENTITY, READS, WATCHES, Copy, Stage, staged
from troth.cluster.api import PAGE
from troth.cluster.leases.lease import Timing
from troth.reconcile.operator import LEASE, Settings
from troth.resources.references import Ref

THOROUGH = settings.get_current_profile_name() == "thorough"
NAMESPACES, IDENTITIES = (3_000, 100) if THOROUGH else (12, 4)
ROUND_TRIPS = (0.05, 0.2) if THOROUGH else (0.01, 0.04)
"""Shortest and longest round trip in seconds."""
HOMES = 60 if THOROUGH else 6
"""Namespaces of the callers of one identity."""
AT_ONCE = 16
"""Number of declarations that users make at once."""
SECOND, PROPAGATION = timedelta(seconds=1), timedelta(minutes=3)
STEPS = 12
"""Limit of a root rotation in propagation delays."""
STATUSES = 40
"""Limit of the statuses that report progress, whatever the number of namespaces."""
DROPPED = {"ClientOSError", "ServerDisconnectedError"}
"""Outcomes of requests on a connection that is closed."""
LATE = 600.0
"""Seconds to wait for thousands of writes; no performance limit."""


@pytest.fixture
async def crowd(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """Yield a stage, in the campaign on a control plane of its own that ends with all objects."""
    if not THOROUGH:
        async with staged(request.getfixturevalue("established")) as stage:
            yield stage
        return
    with Sandbox.start() as sandbox:
        async with staged(with_crds(sandbox)) as stage:
            yield stage
            del stage.namespaces[1:]


@pytest.fixture(autouse=True)
def _no_errors() -> Iterator[None]:
    with without_errors():
        yield


async def each(awaitables: Iterable[Awaitable[object]]) -> None:
    """Await everything, a few at once."""
    waiting = iter(awaitables)

    async def work() -> None:
        for awaitable in waiting:
            await awaitable

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


@asynccontextmanager
async def distant(stage: Stage, directory: Path) -> AsyncIterator[DistantPath]:
    """Yield a slow path, and stop the operators on it in the end."""
    async with DistantPath(stage.kubeconfig, directory, *ROUND_TRIPS) as path:
        try:
            yield path
        finally:
            for copy in stage.copies:
                await copy.stop()


async def begin(stage: Stage, path: DistantPath) -> Copy:
    """Start a copy with the usual lease, and wait until it is in sync and leads."""
    name = f"copy-{len(stage.copies)}"
    copy = Copy(path.kubeconfig, Settings(stage.own, name, Timing()), stage.clock)
    stage.copies.append(copy)
    await copy.start()
    await copy.acting()
    return copy


async def begin_alone(stage: Stage, path: DistantPath) -> None:
    """Start a copy, and let it remove what trust domains of other tests left."""
    await begin(stage, path)
    await idle(stage)
    stage.requests.clear()


async def idle(stage: Stage) -> None:
    """Wait until the operator has nothing to do."""

    async def look() -> bool:
        stage.operator._check()
        engine = stage.operator.operator.engine
        return not len(engine.queue) and not engine.queue._retries

    while True:
        await until(look, bool, LATE)
        with suppress(TimeoutError):  # it had only paused, and then wrote for minutes
            await stage.settled()
            return


async def in_place(stage: Stage, refs: Iterable[Ref]) -> None:
    """Wait until the domain and the identities are Ready."""
    await idle(stage)
    await stage.person.ready(DOMAIN, Ref("", stage.name))
    for ref in refs:
        await stage.person.ready(IDENTITY, ref)


def cost(stage: Stage, **expected: int) -> None:
    """Assert what was written since the last call, by resource. No request timed out or failed.

    A busy API server drops a connection now and then. Whether it carried out the request is
    unknown, and Troth repeats the write only if it did not. The statuses of the domain and of its
    rotation report the progress, and are only limited.
    """
    failed = [each for each in stage.requests.failures if each[0] not in READS | WATCHES]
    assert {outcome for *_, outcome in failed} <= DROPPED
    lost = Counter(resource for _, resource, _ in failed)
    made = stage.requests.writes - lost
    assert sum(made.pop(each, 0) for each in ("trustdomains", "credentialrotations")) <= STATUSES
    assert made <= Counter(expected) <= made + lost
    stage.requests.clear()


async def leads_since_its_start(stage: Stage) -> None:
    """Assert that the operator is ready, and that nobody else acquired the lease."""
    assert stage.operator.operator.ready
    spec = (await stage.person.the("Lease", Ref(stage.own, LEASE)))["spec"]
    assert spec["holderIdentity"] == stage.operator._settings.instance
    assert spec["leaseTransitions"] == 1


async def nothing() -> None:
    """Change nothing."""


async def rotated(
    stage: Stage, refs: list[Ref], meanwhile: Callable[[], Awaitable[None]] = nothing
) -> None:
    """Rotate the root to its end, and do something while the next one is being distributed."""
    moment = stamp(stage.clock.now() + SECOND)
    await stage.person.put(builders.rotation(DOMAIN, stage.name, stage.own, requestedAt=moment))
    before = await authorities(stage)
    await stage.later(SECOND)
    await until(lambda: authorities(stage), lambda now: len(now) > 1, LATE)
    await meanwhile()
    for _ in range(STEPS):
        await stage.later(PROPAGATION)
        await in_place(stage, refs)
        now = await authorities(stage)
        if len(now) == 1 and now != before:
            return
    raise AssertionError("the root is not replaced")


async def authorities(stage: Stage) -> list[str]:
    status = (await stage.person.the(DOMAIN, Ref("", stage.name)))["status"]
    return [authority["fingerprint"] for authority in status["authorities"]]


@pytest.mark.long
async def test_distant_api_server_costs_no_more_requests(crowd: Stage, tmp_path: Path) -> None:
    stage = crowd
    await each(stage.namespace() for _ in range(NAMESPACES - len(stage.namespaces)))
    async with distant(stage, tmp_path) as path:
        spec: dict[str, Any] = {
            "bundle": {"propagation": f"{PROPAGATION.seconds}s"},
            "isolation": "Namespace",
        }
        await begin_alone(stage, path)
        await stage.domain(**spec)
        await in_place(stage, [])
        # the root, and a bundle and an isolation for each namespace
        cost(stage, configmaps=NAMESPACES, networkpolicies=NAMESPACES, secrets=1)

        homes = [
            stage.namespaces[number * NAMESPACES // IDENTITIES] for number in range(IDENTITIES)
        ]
        refs = [Ref(home, "payments") for home in homes]
        await each(stage.identity("payments", home, ports=["https"]) for home in homes)
        await in_place(stage, refs)
        cost(stage, secrets=IDENTITIES, networkpolicies=IDENTITIES, serviceidentities=IDENTITIES)

        spec["bundle"] |= {"configMapName": "roots"}
        await stage.domain(**spec)
        await in_place(stage, refs)
        cost(stage, configmaps=2 * NAMESPACES)

        await rotated(stage, refs)
        # both roots, then a leaf of the new one, then the new root alone
        cost(
            stage,
            configmaps=2 * NAMESPACES,
            secrets=3 + 3 * IDENTITIES,
            serviceidentities=IDENTITIES,
        )

        await leads_since_its_start(stage)
        await stage.operator.stop()
        await begin(stage, path)
        await in_place(stage, refs)
        identities, policies = (
            math.ceil(number / PAGE) for number in (IDENTITIES, NAMESPACES + IDENTITIES)
        )
        reads = stage.requests.reads
        assert reads["serviceidentities"] == identities
        assert reads["networkpolicies"] == policies
        cost(stage)


@pytest.mark.long
async def test_namespaces_deleted_during_a_distant_rotation_delay_nothing(
    crowd: Stage, tmp_path: Path
) -> None:
    """Half of the namespaces go, with identities, bundles and everything else in them."""
    stage = crowd
    await each(stage.namespace() for _ in range(HOMES))
    homes = stage.namespaces[1:]
    async with distant(stage, tmp_path) as path:
        await stage.domain(bundle={"propagation": f"{PROPAGATION.seconds}s"})
        await begin(stage, path)
        callers = [Ref(home, "web") for home in homes]
        accepts = [builders.accept("web", namespace=home) for home in homes]
        payments = await stage.identity("payments", ports=["https"], accepts=accepts)
        calls = [builders.call("payments", namespace=stage.shop)]
        await each(stage.identity("web", home, calls=calls) for home in homes)
        await in_place(stage, [payments, *callers])

        doomed, kept = callers[::2], callers[1::2]

        async def delete() -> None:
            await each(stage.person.delete("Namespace", Ref("", ref.namespace)) for ref in doomed)

        await rotated(stage, [payments, *kept], meanwhile=delete)
        for ref in doomed:
            await stage.person.misses("Namespace", Ref("", ref.namespace), LONG)
        await stage.person.hears(IDENTITY, payments, "PeersAgree", "PeerMissing", "False")
        await idle(stage)
        stage.requests.clear()
        await stage.look_again()
        cost(stage)
        await is_in_step(stage.operator)
