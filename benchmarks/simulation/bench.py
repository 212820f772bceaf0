"""A large cluster: what Troth itself needs, at an API server that is not the limit.

The API server is simulated, and everything between it and Troth takes a round trip of `LATENCY`
seconds. `comparisons` measures a small fleet at a real API server, too, behind the same path: what
Troth needs there shows how far the simulation is right.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, islice

from benchmarks.fleet.topology import path, policy
from benchmarks.harness.client import Bare
from benchmarks.harness.control_plane import control_plane
from benchmarks.harness.process import Cluster as AnyCluster
from benchmarks.harness.process import Memory, Process
from benchmarks.harness.report import Figure, Report, quantile
from benchmarks.harness.requests import writes
from benchmarks.harness.watch import Objects, Watch
from benchmarks.simulation.cluster import Cluster, simulated
from benchmarks.simulation.fleet import Fleet, namespace, pod_changes, space, write
from sandbox.faults.latency import DistantPath
from sandbox.progress import waiting

SIZES = (10_000, 50_000)
IDENTITIES_IN_A_NAMESPACE = 100
COMPARED = (1000,)
LATENCY = 0.02
"""Round trip in seconds between Troth and the API server."""
POD_CHANGES = 5000
"""Changes of pods in a minute."""
SECONDS, EDGES = 15.0, 40
"""Seconds for which pods change, and number of edges that are then added while they change."""
EDGE_SECONDS = 0.5
"""Seconds between two edges."""
REST_SECONDS = 1.0
"""Seconds after the last change. Looks at the metrics would cost Troth more than some changes."""
SCRAPES = 5
TURN_SECONDS = 0.1
LOOK_SECONDS, LOOK_SECONDS_OF_ONE = 1.0, 1 / 5000
"""Seconds between two looks at the metrics, and more for each identity: a look costs Troth time."""
NOTE = (
    "The API server is simulated: it validates nothing, stores in memory, and answers after "
    f"{LATENCY * 1000:.0f} ms. Processor times are Troth's own. A real API server needs more time "
    "for each write than Troth does, so the times until ready are not those of a real cluster."
)
COMPARED_NOTE = "The same fleet, the same path. Ratios near 1 mean that the simulation is right."
HALF = 0.5


@dataclass(slots=True)
class Found:
    """What a fleet needs: seconds, seconds of processor time, and memory."""

    fleet: Fleet
    converged: float = 0.0
    processor: float = 0.0
    writes: int = 0
    built: Memory = field(default_factory=lambda: Memory(0, 0))
    ready: float = 0.0
    ready_processor: float = 0.0
    at_rest: Memory = field(default_factory=lambda: Memory(0, 0))
    scrape: float = 0.0
    """Processor seconds of one scrape of the metrics."""
    pods: float = 0.0
    """Processor seconds for the pods that change in a minute, without anything else."""
    pods_rolling: float = 0.0
    """The same if Troth may restart workloads, and so watches them."""
    rolling_memory: Memory = field(default_factory=lambda: Memory(0, 0))
    edge: float = 0.0
    """Processor seconds of one edge."""
    edges: list[float] = field(default_factory=list)
    """Seconds until the policies of an edge are written, while pods change."""
    bundle: float = 0.0
    """Seconds until a new namespace has its bundle."""
    domain: float = 0.0
    """Processor seconds after a change of the trust domain."""


def reports(sizes: Sequence[int] = SIZES) -> Iterator[Report]:
    """Measure simulated clusters of some sizes."""
    for size in sizes:
        fleet = fleet_of(size)
        with simulated() as cluster:
            found = asyncio.run(_measured(cluster, fleet, whole=True))
        title = (
            f"Large cluster: {fleet.size:,} identities in {fleet.namespaces} namespaces, simulated"
        )
        yield Report(title, note=NOTE, figures=[*_figures(found)])


def comparisons(sizes: Sequence[int] = COMPARED) -> Iterator[Report]:
    """Compare fleets at the simulated API server with the same at a real one."""
    for size in sizes:
        yield _compared(fleet_of(size))


def fleet_of(size: int) -> Fleet:
    """Return a fleet of `size` identities, or a few fewer so that all namespaces are equal."""
    namespaces = max(1, size // IDENTITIES_IN_A_NAMESPACE)
    return Fleet(size // namespaces * namespaces, namespaces)


def _compared(fleet: Fleet) -> Report:
    places: Sequence[Callable[[], AbstractContextManager[AnyCluster]]] = (simulated, control_plane)
    found = []
    for place in places:
        with place() as cluster:
            found.append(asyncio.run(_measured(cluster, fleet, whole=False)))
    imitated, real = found
    pairs = {
        "processor time of Troth, until ready": (imitated.processor, real.processor),
        "writes": (imitated.writes, real.writes),
        "processor time of Troth, until ready after a restart": (
            imitated.ready_processor,
            real.ready_processor,
        ),
        "memory after a restart": (imitated.at_rest.resident, real.at_rest.resident),
    }
    figures = [
        Figure(f"{what}: simulated, of the real", one / other)
        for what, (one, other) in pairs.items()
    ]
    title = f"Large cluster: {fleet.size:,} identities, simulated and real"
    return Report(title, note=COMPARED_NOTE, figures=figures)


def _figures(found: Found) -> Iterator[Figure]:
    size = found.fleet.size
    yield Figure("all new, until ready", found.converged, "s")
    yield Figure("the same: processor time for an identity", found.processor / size * 1e3, "ms")
    yield Figure("the same: writes for an identity", found.writes / size)
    yield Figure("the same: memory afterwards", found.built.resident, "MB")
    yield Figure("a restart, until ready", found.ready, "s")
    yield Figure("the same: processor time", found.ready_processor, "s")
    yield Figure("memory at rest after it", found.at_rest.resident, "MB")
    yield Figure("the peak of the restart", found.at_rest.peak, "MB")
    yield Figure("a scrape of the metrics: processor time", found.scrape * 1e3, "ms")
    what = f"the {POD_CHANGES:,} pods that change in a minute: processor time"
    yield Figure(what, found.pods, "s")
    yield Figure(f"{what}, with rollouts", found.pods_rolling, "s")
    yield Figure("memory at rest with rollouts", found.rolling_memory.resident, "MB")
    yield Figure("an edge meanwhile: processor time", found.edge * 1e3, "ms")
    yield Figure("an edge meanwhile, until both policies have it: p50", *_ms(found.edges, HALF))
    yield Figure("the same: p99", *_ms(found.edges, 0.99))
    yield Figure("of which the path takes", LATENCY * 1e3, "ms")
    yield Figure("one more namespace, until it has its bundle", found.bundle * 1e3, "ms")
    yield Figure("the trust domain changed: processor time", found.domain, "s")


def _ms(seconds: Sequence[float], share: float) -> tuple[float, str]:
    return quantile(seconds, share) * 1e3, "ms"


async def _measured(cluster: AnyCluster, fleet: Fleet, *, whole: bool) -> Found:
    """Measure a fleet: created, after a restart, and with `whole` while things change."""
    found = Found(fleet)
    pause = LOOK_SECONDS + fleet.size * LOOK_SECONDS_OF_ONE
    async with Bare.connect(cluster.kubeconfig) as bare, _distant(cluster) as distant:
        with waiting(f"{fleet.size} identities declared"):
            await _created(distant, bare, found, pause)
        if whole:
            with waiting(f"{2 * fleet.size} pods and Deployments"):
                await bare.send(fleet.workloads())
        with waiting("A restart, and changes"):
            async with Process.run(distant) as process:
                found.ready = await process.ready()
                found.ready_processor = process.processor()
                await process.settled(fleet.size, pause)
                await process.still()
                found.at_rest = process.memory()
                if not whole:
                    return found
                found.scrape = await _of_a_scrape(process)
                found.pods = await _of_pods(process, bare, fleet)
                found.edge = await _of_edges(process, cluster, bare, found)
                await process.still()
                await _of_the_domain(cluster, bare, process, found)
        with waiting("Changes with rollouts"):
            async with Process.run(distant, "--rollouts") as process:
                await process.settled(fleet.size, pause)
                await process.still()
                found.rolling_memory = process.memory()
                found.pods_rolling = await _of_pods(process, bare, fleet)
    return found


@asynccontextmanager
async def _distant(cluster: AnyCluster) -> AsyncIterator[Cluster]:
    """Yield the cluster as Troth sees it, behind a path with latency."""
    directory = cluster.directory / "path"
    async with DistantPath(cluster.kubeconfig, directory, LATENCY, LATENCY) as path_:
        yield Cluster(directory, path_.kubeconfig)


async def _created(distant: Cluster, bare: Bare, found: Found, pause: float) -> None:
    """Declare a fleet to an operator that runs already."""
    fleet = found.fleet
    async with Process.run(distant) as process:
        await process.ready()
        began, used = time.perf_counter(), process.processor()
        await bare.send(fleet.declared())
        await process.settled(fleet.size, pause)
        found.converged = time.perf_counter() - began
        found.processor = process.processor() - used
        await process.still()
        found.writes = writes(await process.requests())
        found.built = process.memory()


async def _of_a_scrape(process: Process) -> float:
    used = process.processor()
    for _ in range(SCRAPES):
        await process.metrics()
    return (process.processor() - used) / SCRAPES


async def _of_pods(process: Process, bare: Bare, fleet: Fleet) -> float:
    """Return the processor seconds for the pods that change in a minute."""
    used, numbers = process.processor(), count()
    with suppress(TimeoutError):
        await asyncio.wait_for(_pods_changing(bare, fleet, numbers), SECONDS)
    await asyncio.sleep(REST_SECONDS)
    return (process.processor() - used) / next(numbers) * POD_CHANGES


async def _of_edges(process: Process, cluster: AnyCluster, bare: Bare, found: Found) -> float:
    """Add edges while pods change, and record how long each took; return its processor seconds."""
    fleet, used = found.fleet, process.processor()
    pods = asyncio.create_task(_pods_changing(bare, fleet, count()))
    try:
        async with Watch.open(cluster.kubeconfig, [path("NetworkPolicy", space(0))]) as watch:
            for number in range(EDGES):
                due = time.perf_counter() + EDGE_SECONDS
                found.edges.append(await _edge(bare, watch, fleet, number))
                await asyncio.sleep(due - time.perf_counter())
    finally:
        pods.cancel()
        with suppress(asyncio.CancelledError):
            await pods
    await asyncio.sleep(REST_SECONDS)
    return (process.processor() - used) / EDGES


async def _pods_changing(bare: Bare, fleet: Fleet, numbers: Iterator[int]) -> None:
    """Change pods until cancelled."""
    at_once = round(POD_CHANGES / 60 * TURN_SECONDS)
    while True:
        due = time.perf_counter() + TURN_SECONDS
        for number in islice(numbers, at_once):
            await bare.send(pod_changes(fleet, number))
        await asyncio.sleep(due - time.perf_counter())


async def _edge(bare: Bare, watch: Watch, fleet: Fleet, number: int) -> float:
    """Add an edge between two identities of the first namespace; return the seconds it took."""
    callee = number % fleet.ring
    caller = (callee + fleet.ring // 2 + number // fleet.ring) % fleet.ring
    places = [path("NetworkPolicy", space(0), policy(each)) for each in (callee, caller)]
    before = {place: watch.objects.get(place) for place in places}

    def written(objects: Objects) -> bool:
        return all(objects.get(place) not in (None, before[place]) for place in places)

    done = asyncio.create_task(watch.until(written))
    began = time.perf_counter()
    await bare.write(write(fleet.identity(0, callee, callers=[caller])))
    await bare.write(write(fleet.identity(0, caller, callees=[callee])))
    return await done - began


async def _of_the_domain(cluster: AnyCluster, bare: Bare, process: Process, found: Found) -> None:
    """Add a namespace, and change the trust domain."""
    added = found.fleet.namespaces
    async with Watch.open(cluster.kubeconfig, [path("ConfigMap", space(added))]) as watch:
        done = asyncio.create_task(watch.until(bool))
        began = time.perf_counter()
        await bare.write(write(namespace(added)))
        found.bundle = await done - began
    await process.still()
    used = process.processor()
    domain = found.fleet.domain()
    spec = {**domain["spec"], "bundle": {"propagation": "4m"}}
    await bare.write(write({**domain, "spec": spec}))
    await process.still()
    found.domain = process.processor() - used
