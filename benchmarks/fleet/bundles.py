"""Distribution of a trust bundle to thousands of namespaces, at an API server that answers slowly.

The API server is in memory, and each write of it takes `LATENCY` seconds. The lease has as many
seconds left at any time as a lease that is renewed.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.harness.report import Comparison, Report
from troth.reconcile.loop.engine import Engine
from troth.reconcile.loop.step_run import AT_ONCE
from troth.reconcile.operator import WORKERS
from troth.reconcile.rehearsal import Rehearsal
from troth.reconcile.runtime.clock import SystemClock
from troth.world.facts.objects import Manifest

NAMESPACES = 3_000
LATENCY = 0.02
"""Seconds until a write is answered."""
TERM = 7.0
"""Seconds that the lease has left after a renewal."""
AIM = 1.5
OWN = "troth-system"
DOMAIN = "bench"
TITLE = f"Bundles: {NAMESPACES} namespaces, {LATENCY * 1000:.0f} ms for each write"
NOTE = f"The floor is the same number of writes, {AT_ONCE} at once, and no other work."


@dataclass(frozen=True, slots=True)
class _Lease:
    """Lease that is renewed in time."""

    remaining: float = TERM

    async def gained(self) -> None:
        return


class _Slow(Rehearsal):
    """API server whose writes take a while."""

    async def apply(self, manifest: Manifest) -> Manifest:
        await asyncio.sleep(LATENCY)
        return await super().apply(manifest)


def reports() -> Iterator[Report]:
    """Measure once."""
    troth, floor = asyncio.run(_troth()), asyncio.run(_floor())
    yield Report(TITLE, [Comparison("all bundles written", [troth], [floor], AIM)], NOTE)


async def _troth() -> float:
    server = _Slow(_declarations())
    engine = Engine(server, OWN, clock=SystemClock(), leader_fence=_Lease())
    for manifest in list(server.objects.values()):
        engine.observe(manifest)
    began = time.perf_counter()
    workers = [asyncio.create_task(engine.work()) for _ in range(WORKERS)]
    while len(server.objects) < 2 * NAMESPACES + 2:  # noqa: ASYNC110 - and its authority
        await asyncio.sleep(LATENCY)
    taken = time.perf_counter() - began
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    await engine.close()
    return taken


async def _floor() -> float:
    async def write(share: int) -> None:
        for _ in range(share):
            await asyncio.sleep(LATENCY)

    began = time.perf_counter()
    await asyncio.gather(*(write(NAMESPACES // AT_ONCE) for _ in range(AT_ONCE)))
    return time.perf_counter() - began


def _declarations() -> Iterator[Manifest]:
    label = {"troth.dev/bench": DOMAIN}
    for number in range(NAMESPACES):
        name = f"bench-{number}"
        metadata = {"name": name, "labels": {"kubernetes.io/metadata.name": name, **label}}
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    yield {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "TrustDomain",
        "metadata": {"name": DOMAIN},
        "spec": {
            "domain": f"{DOMAIN}.example",
            "environment": "production",
            "authority": {"selfManaged": {}},
            "namespaceSelector": {"matchLabels": label},
        },
    }
