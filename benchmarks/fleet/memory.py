"""The memory of `troth run`: for fleets of several sizes, and with foreign Secrets."""

import asyncio
import base64
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.fleet.declare import declare
from benchmarks.fleet.topology import NAMESPACE, Manifest, path
from benchmarks.harness.client import Bare, Write
from benchmarks.harness.control_plane import control_plane
from benchmarks.harness.process import Memory, Process
from benchmarks.harness.report import Figure, Report, quantile
from sandbox import Sandbox
from sandbox.progress import waiting

SIZES = (1000, 4000, 10_000)
AIMS = {1000: 110, 10_000: 330}
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


def reports(
    sizes: Collection[int] = SIZES, restarts: int = RESTARTS, foreign: int = FOREIGN
) -> Iterator[Report]:
    """Measure on a control plane of its own, in which the fleet grows."""
    with control_plane(NAMESPACE) as sandbox:
        figures = asyncio.run(_measure(sandbox, sizes, restarts, foreign))
        yield Report("Memory", note=NOTE, figures=figures)


async def _measure(
    sandbox: Sandbox, sizes: Collection[int], restarts: int, foreign: int
) -> list[Figure]:
    figures: list[Figure] = []
    typical: dict[int, float] = {}
    async with Bare.connect(sandbox.kubeconfig) as bare:
        for size in sizes:
            aim = AIMS.get(size)
            with waiting(f"A fleet of {size}"):
                built = await _built(sandbox, bare, size)
            with waiting(f"{restarts} restarts"):
                alone = await _restarted(sandbox, size, restarts)
            typical[size] = alone.typical
            figures += [
                *_figures(f"{size} identities", alone, aim),
                Figure(f"{size} identities, when all had been issued", built.resident, "MB"),
            ]
        if len(typical) > 1:
            figures.append(_each(typical))
        if not foreign:
            return figures
        with waiting(f"{foreign} foreign Secrets, and {restarts} restarts"):
            await bare.send(map(_foreign, range(foreign)))
            beside = await _restarted(sandbox, size, restarts)
    added = beside.typical - alone.typical
    return [
        *figures,
        *_figures(f"{size} identities beside {foreign} foreign Secrets", beside, aim),
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


async def _restarted(sandbox: Sandbox, size: int, restarts: int) -> Restarts:
    held, pages = [], []
    for _ in range(restarts):
        async with Process.run(sandbox) as process:
            await process.settled(size)
            await process.still()
            held.append(process.memory())
            asked = await process.requests()
            pages.append(sum(number for (verb, _), number in asked.items() if verb == "list"))
    return Restarts(held, pages)


def _each(typical: Mapping[int, float]) -> Figure:
    """Return the memory of one identity more, from the smallest to the largest fleet."""
    least, most = min(typical), max(typical)
    share = (typical[most] - typical[least]) / (most - least) * 1000
    return Figure(f"each identity, from {least} to {most}", share, "kB")


def _figures(what: str, restarts: Restarts, aim: float | None) -> Iterator[Figure]:
    yield Figure(f"{what}, at rest", max(each.resident for each in restarts.held), "MB", aim)
    yield Figure(f"{what}, the peak", max(each.peak for each in restarts.held), "MB")


def _foreign(number: int) -> Write:
    name = f"foreign-{number}"
    content = base64.b64encode(os.urandom(FOREIGN_BYTES)).decode()
    body: Manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    return Write(path("Secret", object_name=name), {**body, "data": {"content": content}})
