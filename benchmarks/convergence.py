"""From declared to Ready, and a restart, beside the bare requests the same result needs at least."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress

from benchmarks.bare import CONNECTIONS, MERGE, Bare, Write
from benchmarks.figures import Comparison, Report
from benchmarks.topology import NAMESPACE, NEIGHBOURS, Manifest, declarations, path
from sandbox import Sandbox
from sandbox.demo.operating import NAMESPACE as SYSTEM
from troth.cluster.api import ApiServer, configuration
from troth.reconcile.operator import Operator, Settings

IDENTITIES = 300
TITLE = f"Convergence: {IDENTITIES} identities, {NEIGHBOURS * IDENTITIES} edges"
WRITTEN = {"Secret": "v1", "NetworkPolicy": "networking.k8s.io/v1"}
READ = (*WRITTEN, "ServiceIdentity")


def reports() -> Iterator[Report]:
    """Measure on a control plane of its own."""
    with Sandbox.start() as sandbox:
        sandbox.kubectl("create", "namespace", NAMESPACE)
        sandbox.kubectl("create", "namespace", SYSTEM)
        sandbox.kubectl("apply", "-f", "crds")
        sandbox.kubectl("wait", "--for=condition=Established", "crd", "--all")
        text = "---\n".join(json.dumps(manifest) for manifest in declarations(IDENTITIES))
        sandbox.kubectl("apply", "-f", "-", stdin=text)
        yield Report(TITLE, asyncio.run(_measure(sandbox)))


async def _measure(sandbox: Sandbox) -> list[Comparison]:
    config = await configuration(str(sandbox.kubeconfig))
    async with Bare.connect(sandbox.kubeconfig) as bare, ApiServer(config) as server:
        async with _running(server) as operator:
            first = await _timed(lambda: _settled(operator))
        writes = [write async for write in _writes(bare)]
        writing = await _timed(lambda: bare.send(writes))
        async with _running(server) as operator:
            again = await _timed(lambda: _settled(operator))

        async def lists() -> None:
            for kind in READ:
                await bare.items(path(kind))

        reading = await _timed(lists)
    return [
        Comparison("from declared to Ready, against its writes alone", [first], [writing]),
        Comparison("a restart, against the bare lists", [again], [reading]),
    ]


async def _writes(bare: Bare) -> AsyncIterator[Write]:
    """Yield the writes of a finished fleet again, as new objects."""
    for kind, version in WRITTEN.items():
        for item in await bare.items(path(kind)):
            name = f"floor-{item['metadata']['name']}"
            body: Manifest = {
                "apiVersion": version,
                "kind": kind,
                "metadata": {"name": name},
                **{part: item[part] for part in ("type", "data", "spec") if part in item},
            }
            yield Write(path(kind, object_name=name), body)
    for item in await bare.items(path("ServiceIdentity")):
        conditions = [{**each, "reason": "Floor"} for each in item["status"]["conditions"]]
        status: Manifest = {"status": {**item["status"], "conditions": conditions}}
        place = path("ServiceIdentity", object_name=item["metadata"]["name"])
        yield Write(f"{place}/status", status, MERGE)


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


@asynccontextmanager
async def _running(server: ApiServer) -> AsyncIterator[Operator]:
    """Run an operator while the context lasts."""
    operator = Operator(server, Settings(SYSTEM, "bench", workers=CONNECTIONS))
    task = asyncio.create_task(operator.run())
    try:
        yield operator
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _settled(operator: Operator) -> None:
    """Wait until the caches are in sync and every identity is ready."""
    identities = operator.engine.world.registry.identities
    while True:
        ready = operator.ready and len(identities) == IDENTITIES
        if ready and not len(operator.engine.queue):
            states = (
                condition.status
                for identity in identities.values()
                for condition in identity.status.conditions
                if condition.type == "Ready"
            )
            if sum(state == "True" for state in states) == IDENTITIES:
                return
        await asyncio.sleep(0.01)
