"""From declared to Ready, and a restart, beside the bare requests that they need at least."""

import asyncio
from collections.abc import AsyncIterator, Iterator

from benchmarks.bare import MERGE, Bare, Write
from benchmarks.cluster import apply, prepare
from benchmarks.copies import WRITTEN, whole
from benchmarks.figures import Comparison, Report
from benchmarks.operating import running, settled, timed
from benchmarks.topology import NAMESPACE, NEIGHBOURS, Manifest, declarations, path
from sandbox import Sandbox
from troth.cluster.api import ApiServer, configuration

IDENTITIES = 300
TITLE = f"Convergence: {IDENTITIES} identities, {NEIGHBOURS * IDENTITIES} edges"
READ = (*WRITTEN, "ServiceIdentity")


def reports() -> Iterator[Report]:
    """Measure on a control plane of its own."""
    with Sandbox.start() as sandbox:
        prepare(sandbox, NAMESPACE)
        apply(sandbox, declarations(IDENTITIES))
        yield Report(TITLE, asyncio.run(_measure(sandbox)))


async def _measure(sandbox: Sandbox) -> list[Comparison]:
    config = await configuration(str(sandbox.kubeconfig))
    async with Bare.connect(sandbox.kubeconfig) as bare, ApiServer(config) as server:
        async with running(server) as operator:
            first = await timed(lambda: settled(operator, IDENTITIES))
        writes = [write async for write in _writes(bare)]
        writing = await timed(lambda: bare.send(writes))
        async with running(server) as operator:
            again = await timed(lambda: settled(operator, IDENTITIES))

        async def lists() -> None:
            for kind in READ:
                await bare.items(path(kind))

        reading = await timed(lists)
    return [
        Comparison("from declared to Ready, against its writes alone", [first], [writing]),
        Comparison("a restart, against the bare lists", [again], [reading]),
    ]


async def _writes(bare: Bare) -> AsyncIterator[Write]:
    """Yield the writes of a finished fleet again, as new objects."""
    for kind in WRITTEN:
        for item in await bare.items(path(kind)):
            yield whole(kind, item, prefix="floor-")
    for item in await bare.items(path("ServiceIdentity")):
        conditions = [{**each, "reason": "Floor"} for each in item["status"]["conditions"]]
        status: Manifest = {"status": {**item["status"], "conditions": conditions}}
        place = path("ServiceIdentity", object_name=item["metadata"]["name"])
        yield Write(f"{place}/status", status, MERGE)
