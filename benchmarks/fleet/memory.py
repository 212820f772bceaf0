"""The memory of `troth run`: for fleets of several sizes, and with foreign Secrets."""

import asyncio
import base64
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.fleet.declare import declare
from benchmarks.fleet.topology import NAMESPACE, Manifest, path
from benchmarks.harness.client import Bare, Write
from benchmarks.harness.control_plane import control_plane
from benchmarks.harness.process import Memory, Process
from benchmarks.harness.report import Figure, Report, quantile
from sandbox import Sandbox
from sandbox.progress import waiting

AIMS = {1000: 120, 4000: 200, 10_000: 400}
"""Maximum memory in MB, by number of identities."""
RESTARTS = 3
FOREIGN = 30_000
FOREIGN_BYTES = 750
"""With its metadata, a Secret has about a kilobyte."""
NOISE = 0.01
"""Share by which the memory of one restart differs from the next."""
NOTE = (
    "Resident memory of the restart that took most: at rest, when every identity was visited, and "
    "the most since the start. What one restart may take more than another is no addition."
)


@dataclass(frozen=True, slots=True)
class Restarts:
    """Memory of idle processes, one for each restart, and the number of pages that each read."""

    held: Sequence[Memory]
    pages: Sequence[int]

    @property
    def typical(self) -> float:
        """Median of the resident memory."""
        return quantile([each.resident for each in self.held], 0.5)


def reports() -> Iterator[Report]:
    """Measure on a control plane of its own, in which the fleet grows."""
    with control_plane(NAMESPACE) as sandbox:
        yield Report("Memory", note=NOTE, figures=asyncio.run(_measure(sandbox)))


async def _measure(sandbox: Sandbox) -> list[Figure]:
    figures = []
    async with Bare.connect(sandbox.kubeconfig) as bare:
        for size, aim in AIMS.items():
            with waiting(f"A fleet of {size}"):
                built = await _built(sandbox, bare, size)
            with waiting(f"{RESTARTS} restarts"):
                alone = await _restarted(sandbox, size)
            figures += [
                *_figures(f"{size} identities", alone, aim),
                Figure(f"{size} identities, when all had been issued", built.resident, "MB"),
            ]
        with waiting(f"{FOREIGN} foreign Secrets, and {RESTARTS} restarts"):
            await bare.send(map(_foreign, range(FOREIGN)))
            beside = await _restarted(sandbox, size)
    added = beside.typical - alone.typical
    return [
        *figures,
        *_figures(f"{size} identities beside {FOREIGN} foreign Secrets", beside, aim),
        Figure("added by foreign Secrets", added, "MB", aim=NOISE * alone.typical),
        Figure("pages added by foreign Secrets", max(beside.pages) - min(alone.pages), aim=0),
    ]


async def _built(sandbox: Sandbox, bare: Bare, size: int) -> Memory:
    """Enlarge the fleet to a size; return the memory of the process that reconciled it."""
    async with Process.run(sandbox) as process:
        await declare(bare, size)
        await process.settled(size)
        await process.still()
        return process.memory()


async def _restarted(sandbox: Sandbox, size: int) -> Restarts:
    held, pages = [], []
    for _ in range(RESTARTS):
        async with Process.run(sandbox) as process:
            await process.settled(size)
            await process.still()
            held.append(process.memory())
            asked = await process.requests()
            pages.append(sum(number for (verb, _), number in asked.items() if verb == "list"))
    return Restarts(held, pages)


def _figures(what: str, restarts: Restarts, aim: float) -> Iterator[Figure]:
    yield Figure(f"{what}, at rest", max(each.resident for each in restarts.held), "MB", aim)
    yield Figure(f"{what}, the peak", max(each.peak for each in restarts.held), "MB")


def _foreign(number: int) -> Write:
    name = f"foreign-{number}"
    content = base64.b64encode(os.urandom(FOREIGN_BYTES)).decode()
    body: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    return Write(path("Secret", object_name=name), {**body, "data": {"content": content}})
