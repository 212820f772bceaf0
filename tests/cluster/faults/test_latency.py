"""An API server 50 to 200 ms away, and a trust domain over many namespaces.

Every change costs the writes that the design promises, and no more: no step is repeated, no request
fails, and a restart writes nothing. `make campaign` has 3,000 namespaces, as many as a large
platform. There the lease, whose renewals are as late as everything else, is never lost.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings

from sandbox import Sandbox
from sandbox.faults.latency import DistantPath
from tests import builders
from tests.builders import stamp
from tests.cluster.conftest import with_crds
from tests.cluster.crashes.playing import without_errors
from tests.cluster.person import until
from tests.cluster.stage import DOMAIN, IDENTITY, Copy, Stage, staged
from troth.cluster.api import PAGE
from troth.cluster.lease import Timing
from troth.reconcile.operator import Settings
from troth.resources.references import Ref

THOROUGH = settings.get_current_profile_name() == "thorough"
NAMESPACES, IDENTITIES = (3_000, 100) if THOROUGH else (12, 4)
AT_ONCE = 16
"""Number of declarations that users make at once."""
PROPAGATION = timedelta(minutes=3)
STEPS = 12
"""Limit of a root rotation in propagation delays."""
STATUSES = 40
"""Limit of the statuses that report progress, whatever the number of namespaces."""
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
    async with DistantPath(stage.kubeconfig, directory) as path:
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


async def idle(stage: Stage) -> None:
    """Wait until the operator has nothing to do."""

    async def look() -> bool:
        stage.operator._check()
        engine = stage.operator.operator.engine
        return not len(engine.queue) and not engine.queue._retries

    await until(look, bool, LATE)
    await stage.settled()


async def in_place(stage: Stage, refs: Iterable[Ref]) -> None:
    """Wait until the domain and the identities are Ready."""
    await idle(stage)
    await stage.person.ready(DOMAIN, Ref("", stage.name))
    for ref in refs:
        await stage.person.ready(IDENTITY, ref)


def writes(stage: Stage) -> Counter[str]:
    """Return the writes since the last call, of which none failed.

    The statuses of the domain and of its rotation report the progress, and are not among them.
    """
    assert stage.requests.failures == []
    made = stage.requests.writes
    print(time.monotonic(), made)  # noqa: T201
    statuses = sum(made.pop(each, 0) for each in ("trustdomains", "credentialrotations"))
    assert statuses <= STATUSES
    stage.requests.clear()
    return made


async def rotated(stage: Stage, refs: list[Ref]) -> None:
    """Rotate the root to its end."""
    moment = stamp(stage.clock.now() + timedelta(seconds=1))
    await stage.person.put(builders.rotation(DOMAIN, stage.name, stage.own, requestedAt=moment))
    before = await authorities(stage)
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


async def test_distant_api_server_costs_no_more_requests(crowd: Stage, tmp_path: Path) -> None:
    stage = crowd
    await each(stage.namespace() for _ in range(NAMESPACES - len(stage.namespaces)))
    async with distant(stage, tmp_path) as path:
        spec = {
            "bundle": {"propagation": f"{PROPAGATION.seconds}s"},
            "isolation": "Namespace",
        }
        await stage.domain(**spec)
        await begin(stage, path)
        await in_place(stage, [])
        # the root, and a bundle and an isolation for each namespace
        assert writes(stage) == of(configmaps=NAMESPACES, networkpolicies=NAMESPACES, secrets=1)

        homes = [
            stage.namespaces[number * NAMESPACES // IDENTITIES] for number in range(IDENTITIES)
        ]
        refs = [Ref(home, "payments") for home in homes]
        await each(stage.identity("payments", home, ports=["https"]) for home in homes)
        await in_place(stage, refs)
        assert writes(stage) == of(
            secrets=IDENTITIES, networkpolicies=IDENTITIES, serviceidentities=IDENTITIES
        )

        spec["bundle"] |= {"configMapName": "roots"}
        await stage.domain(**spec)
        await in_place(stage, refs)
        assert writes(stage) == of(configmaps=2 * NAMESPACES)

        await rotated(stage, refs)
        # both roots, then a leaf of the new one, then the new root alone
        assert writes(stage) == of(
            configmaps=2 * NAMESPACES,
            secrets=3 + 3 * IDENTITIES,
            serviceidentities=IDENTITIES,
        )

        await stage.operator.stop()
        await begin(stage, path)
        await in_place(stage, refs)
        identities, policies = (
            math.ceil(number / PAGE) for number in (IDENTITIES, NAMESPACES + IDENTITIES)
        )
        reads = stage.requests.reads
        assert reads["serviceidentities"] == identities
        assert reads["networkpolicies"] == policies
        assert writes(stage) == of()


def of(**numbers: int) -> Counter[str]:
    return Counter(numbers)
