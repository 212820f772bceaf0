"""Time from the declaration of one more edge to Troth's last write for it, by fleet size.

The floor makes the same writes with a plain client, one after the other: both declarations, both
policies, both Secrets, both statuses. It writes them to twins that Troth does not observe.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.fleet import twins
from benchmarks.fleet.declare import declare
from benchmarks.fleet.pairs import Pair
from benchmarks.fleet.topology import NAMESPACE, Manifest, name, path
from benchmarks.harness.client import Bare
from benchmarks.harness.control_plane import control_plane
from benchmarks.harness.process import Process
from benchmarks.harness.report import Comparison, Figure, Report
from benchmarks.harness.watch import Objects, Watch
from sandbox import Sandbox
from sandbox.progress import waiting
from troth.resources.identity.status import EdgeState

SIZES = (200, 2000)
EDGES = 100
AIM = 3.0
"""Maximum ratio of an edge's time to the time of its plain writes."""
PAUSE_SECONDS = 0.1
KINDS = ("NetworkPolicy", "Secret", "ServiceIdentity")
STAGES = ("policies", "Secrets too", "statuses too")
NOTE = (
    "Troth's time ends when a watch tells of the last write, the floor's when that is answered. A "
    "visit is one look at one identity, with all that is planned in it; those that both sides' "
    "declarations ask for may be one."
)


@dataclass(slots=True)
class Fleet:
    """Results for a fleet of one size: times by stage, and reconciliations for each edge."""

    size: int
    troth: list[list[float]] = field(default_factory=lambda: [[] for _ in STAGES])
    floor: list[list[float]] = field(default_factory=lambda: [[] for _ in STAGES])
    visits: float = 0.0


def reports(sizes: Sequence[int] = SIZES, edges: int = EDGES) -> Iterator[Report]:
    """Measure each size on a control plane of its own."""
    fleets = []
    for size in sizes:
        with control_plane(NAMESPACE, twins.NAMESPACE) as sandbox:
            twins.make_known(sandbox)
            fleets.append(asyncio.run(_measure(sandbox, size, edges)))
    least = fleets[0]
    yield Report(
        f"One edge more: {edges} times among {' and '.join(map(str, sizes))} identities",
        [
            Comparison(f"{stage}, of {fleet.size}", troth, floor, AIM)
            for fleet in fleets
            for stage, troth, floor in zip(STAGES, fleet.troth, fleet.floor, strict=True)
        ],
        NOTE,
        [
            Figure(f"visits for an edge, of {fleet.size}", fleet.visits, aim=least.visits + 1)
            for fleet in fleets
        ],
    )


async def _measure(sandbox: Sandbox, size: int, edges: int) -> Fleet:
    fleet = Fleet(size)
    pairs = [Pair(each, each + size // 2, size) for each in range(edges)]
    async with Bare.connect(sandbox.kubeconfig) as bare, Process.run(sandbox) as process:
        await declare(bare, size)
        await process.settled(size)
        await process.still()
        await twins.give_birth(bare, pairs)
        before = await process.visits()
        with waiting(f"{edges} edges among {size} identities") as beat:
            async with Watch.open(sandbox.kubeconfig, [path(kind) for kind in KINDS]) as watch:
                for pair in pairs:
                    await _by_troth(bare, watch, pair, fleet)
                    await asyncio.sleep(PAUSE_SECONDS)
                    await _by_the_floor(bare, watch.objects, pair, fleet)
                    await asyncio.sleep(PAUSE_SECONDS)
                    beat()
        await process.still()
        fleet.visits = (await process.visits() - before) / len(pairs)
    return fleet


async def _by_troth(bare: Bare, watch: Watch, pair: Pair, fleet: Fleet) -> None:
    """Declare an edge, and record Troth's times."""
    stages = [asyncio.create_task(watch.until(holds)) for holds in _stages(pair)]
    began = time.perf_counter()
    for write in pair.declared(live=True):
        await bare.write(write)
    for times, moment in zip(fleet.troth, await asyncio.gather(*stages), strict=True):
        times.append(moment - began)


async def _by_the_floor(bare: Bare, objects: Objects, pair: Pair, fleet: Fleet) -> None:
    """Make the same writes as Troth just did, with the declarations, to the twins."""
    identities = [objects[place] for place in _identities(pair)]
    children = pair.copied([objects[place] for place in pair.children()], twins.NAMESPACE)
    stages = (
        [*map(twins.declared, identities), *children[:2]],
        children[2:],
        list(map(twins.reported, identities)),
    )
    began = time.perf_counter()
    for times, writes in zip(fleet.floor, stages, strict=True):
        for write in writes:
            await bare.write(write)
        times.append(time.perf_counter() - began)


def _stages(pair: Pair) -> Iterator[Callable[[Objects], bool]]:
    """Yield the condition of each stage: policies, Secrets and statuses have the edge.

    Each condition includes the ones before.
    """
    policies, secrets = pair.children()[:2], pair.children()[2:]

    def opened(objects: Objects) -> bool:
        return all(pair.selected([objects.get(place, {}) for place in policies]))

    def named(objects: Objects) -> bool:
        return opened(objects) and all(pair.listed([objects.get(place, {}) for place in secrets]))

    def told(objects: Objects) -> bool:
        statuses = [objects.get(place, {}).get("status", {}) for place in _identities(pair)]
        peers = zip(statuses, pair.pods[::-1], strict=True)
        return named(objects) and all(_is_live(status, peer) for status, peer in peers)

    yield from (opened, named, told)


def _identities(pair: Pair) -> list[str]:
    return [path("ServiceIdentity", object_name=name(number)) for number in pair.pods]


def _is_live(status: Manifest, peer: int) -> bool:
    return any(
        each["peer"] == f"{NAMESPACE}/{name(peer)}" and each["state"] == EdgeState.LIVE
        for each in status.get("edges", ())
    )
