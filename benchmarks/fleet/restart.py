"""Time from a restart until Troth is ready and all is reconciled, compared with the plain lists."""

import asyncio
from collections.abc import Iterator

from benchmarks.fleet.declare import declare, read
from benchmarks.fleet.topology import NAMESPACE
from benchmarks.harness.client import Bare
from benchmarks.harness.control_plane import control_plane
from benchmarks.harness.process import Process
from benchmarks.harness.report import Comparison, Figure, Report, quantile
from benchmarks.harness.requests import LEASES, Requests, served, writes
from benchmarks.harness.turns import timed
from sandbox import Sandbox

IDENTITIES = 2000
RESTARTS = 4
IDLE_SECONDS = 60.0
TIMES_THE_LISTS, ALLOWANCE = 1.5, 1.5
"""Aim for readiness: this multiple of the time for the plain lists, plus this many seconds."""
NOTE = (
    "Ready is when /readyz says so, counted from the start of the process. The floor reads the "
    "same lists, in pages of the same size, all selections at once."
)
UNIT = "a minute"
IDLE_NOTE = (
    "Watches that were open before are not in it. The API server's count has others' requests in "
    "it: the garbage collector, say, asks for the owners of what was made last."
)


def reports(
    identities: int = IDENTITIES, restarts: int = RESTARTS, idle_seconds: float = IDLE_SECONDS
) -> Iterator[Report]:
    """Measure on a control plane of its own."""
    with control_plane(NAMESPACE) as sandbox:
        asyncio.run(_build(sandbox, identities))
        yield asyncio.run(_restarts(sandbox, identities, restarts))
        yield asyncio.run(_idle(sandbox, identities, idle_seconds))


async def _build(sandbox: Sandbox, identities: int) -> None:
    async with Bare.connect(sandbox.kubeconfig) as bare, Process.run(sandbox) as process:
        await declare(bare, identities)
        await process.settled(identities)


async def _restarts(sandbox: Sandbox, identities: int, restarts: int) -> Report:
    reading, ready, settled = [], [], []
    answered: Requests = Requests()
    asked: Requests = Requests()
    async with Bare.connect(sandbox.kubeconfig) as bare:
        pages = await read(bare)  # also opens the connections
        for _ in range(restarts):
            reading.append(await timed(lambda: read(bare)))
            before = served(sandbox)
            async with Process.run(sandbox) as process:
                ready.append(await process.ready())
                settled.append(await process.settled(identities))
                await process.still()
                asked += await process.requests()
                answered += served(sandbox) - before
        reading.append(await timed(lambda: read(bare)))
    aim = TIMES_THE_LISTS * quantile(reading, 0.5) + ALLOWANCE
    lists = sum(number for (verb, _), number in asked.items() if verb == "list")
    return Report(
        f"Restart: {identities} identities, {restarts} times",
        [
            Comparison("until ready, against the bare lists", ready, reading),
            Comparison("until every identity was visited", settled, reading),
        ],
        NOTE,
        [
            Figure("the slowest, until ready", max(ready), "s", aim),
            Figure("writes, its lease apart: the API server's count", writes(answered), aim=0),
            Figure("writes, its lease apart: Troth's count", writes(asked), aim=0),
            Figure("pages read at each", lists / restarts, aim=pages),
        ],
    )


async def _idle(sandbox: Sandbox, identities: int, idle_seconds: float) -> Report:
    async with Process.run(sandbox) as process:
        await process.settled(identities)
        await process.still()
        before = served(sandbox), await process.requests()
        await asyncio.sleep(idle_seconds)
        answered, asked = served(sandbox) - before[0], await process.requests() - before[1]
    minutes = idle_seconds / 60
    lease = sum(number for (_, resource), number in asked.items() if resource == LEASES)
    return Report(
        f"Idle: {identities} identities, {idle_seconds:.0f} s in which nothing changes",
        note=IDLE_NOTE,
        figures=[
            Figure("requests, its lease apart", (asked.total() - lease) / minutes, UNIT, 0),
            Figure("requests for its lease", lease / minutes, UNIT),
            Figure(
                "writes, leases apart: the API server's count", writes(answered) / minutes, UNIT, 0
            ),
            Figure("all requests, whoever asked", answered.total() / minutes, UNIT),
        ],
    )
