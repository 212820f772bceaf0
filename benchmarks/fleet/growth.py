"""Time, processor time and memory by size of the fleet: the curves of docs/performance.md."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from benchmarks.fleet.copies import WRITTEN
from benchmarks.fleet.declare import declare
from benchmarks.fleet.topology import NAMESPACE, NEIGHBOURS, path
from benchmarks.harness.client import Bare
from benchmarks.harness.control_plane import control_plane
from benchmarks.harness.process import SCRAPE_SECONDS, Process
from benchmarks.harness.report import Figure, Report
from sandbox import Sandbox
from sandbox.progress import waiting

SIZES = (250, 500, 1000, 2000, 4000, 10_000)
LOOK_SECONDS_OF_ONE = 1 / 4000
"""Seconds between two looks at the metrics, for each identity: a look costs the operator time."""
NOTE = (
    f"Each fleet is new, on one control plane, and each identity has {NEIGHBOURS} callers and "
    "callees. Processor time and memory are those of `troth run` alone."
)


def reports(sizes: Sequence[int] = SIZES) -> Iterator[Report]:
    """Measure each size on one control plane, which is swept in between."""
    with control_plane(NAMESPACE) as sandbox:
        for size in sizes:
            with waiting(f"A fleet of {size}"):
                figures = asyncio.run(_measure(sandbox, size))
            yield Report(f"Growth: {size} identities", note=NOTE, figures=figures)


async def _measure(sandbox: Sandbox, size: int) -> list[Figure]:
    pause = max(SCRAPE_SECONDS, size * LOOK_SECONDS_OF_ONE)
    async with Bare.connect(sandbox.kubeconfig) as bare:
        async with Process.run(sandbox) as process:
            await process.ready()
            began, used = time.perf_counter(), process.processor()
            await declare(bare, size)
            await process.settled(size, pause)
            taken, processor = time.perf_counter() - began, process.processor() - used
            await process.still()
            built = process.memory()
        async with Process.run(sandbox) as process:
            ready, ready_processor = await process.ready(), process.processor()
            await process.settled(size, pause)
            await process.still()
            at_rest = process.memory()
        for kind in ("ServiceIdentity", *WRITTEN):
            await bare.delete_all(path(kind))
    return [
        Figure("all new, until ready", taken, "s"),
        Figure("all new, processor time", processor, "s"),
        Figure("all new, memory afterwards", built.resident, "MB"),
        Figure("restart, until ready", ready, "s"),
        Figure("restart, processor time", ready_processor, "s"),
        Figure("restart, memory at rest", at_rest.resident, "MB"),
        Figure("restart, the peak", at_rest.peak, "MB"),
    ]
