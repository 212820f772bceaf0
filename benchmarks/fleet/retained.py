"""What the world keeps of a fleet in memory, by part: sizes of Python objects, not of the process.

It needs no control plane, and the same fleet has the same sizes each time.
"""

import asyncio
import gc
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import from_json, to_json

from benchmarks.fleet.topology import NAMESPACE, Manifest, declarations
from benchmarks.harness.reachable import Reachable
from benchmarks.harness.report import Figure, Report
from sandbox.demo.programs import NAMESPACE as SYSTEM
from troth.reconcile.rehearsal import Rehearsal
from troth.resources.schema.sharing import TABLES
from troth.world.world import World

FLEET = 200
SHARED = "tables of shared models"
NOTE = (
    "Bytes for each identity, with an edge to each of eight neighbours: the difference between two "
    "fleets, so that what is there once does not count."
)
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Retained:
    """What a world keeps: bytes by part, and the number of objects by type."""

    sizes: Mapping[str, int]
    objects: Mapping[str, int]

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.sizes.values())


def reports() -> Iterator[Report]:
    """Measure two fleets."""
    each = for_each_identity(FLEET)
    figures = [Figure(part, size, "B") for part, size in each.sizes.items()]
    total = Figure("all parts", each.total, "B")
    yield Report("Memory of an identity", note=NOTE, figures=[*figures, total])


def for_each_identity(fleet: int) -> Retained:
    """Return what a world keeps for each further identity of a fleet, rounded."""
    smaller, larger = (retained(world_of(converged(size))) for size in (fleet, 2 * fleet))
    sizes = {part: (larger.sizes[part] - size) // fleet for part, size in smaller.sizes.items()}
    objects = {
        type_: round((number - smaller.objects.get(type_, 0)) / fleet)
        for type_, number in larger.objects.items()
    }
    return Retained(sizes, {type_: number for type_, number in objects.items() if number})


def converged(fleet: int) -> list[Manifest]:
    """Return all objects of a fleet when every identity is ready."""
    rehearsal = Rehearsal()
    for name in (NAMESPACE, SYSTEM):
        labels = {"kubernetes.io/metadata.name": name}
        metadata = {"name": name, "labels": labels}
        rehearsal.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    for manifest in declarations(fleet):
        rehearsal.put(manifest)
    asyncio.run(rehearsal.converge(SYSTEM, _MOMENT))
    return list(rehearsal.objects.values())


def world_of(manifests: list[Manifest]) -> World:
    """Return a world that observed objects as the API server sends them."""
    world = World(SYSTEM)
    for manifest in manifests:
        world.observe(from_json(to_json(manifest)), uptime=0.0)
    return world


def retained(world: World) -> Retained:
    """Return what a world keeps, and the tables by which all worlds of the process share models."""
    gc.collect()  # the tables forget the models of a world that is gone
    reachable = Reachable()
    sizes = {
        "declared resources": reachable.size(world.registry),
        "facts of Secrets": reachable.size(world.secrets),
        "facts of NetworkPolicies": reachable.size(world.policies),
        "everything else, with the versions": reachable.size(world),
        # copies, because a table does not shrink; a reference does not lead to its model
        SHARED: reachable.size(
            *(dict(zip(each.keys(), each.valuerefs(), strict=True)) for each in TABLES)
        ),
    }
    return Retained(sizes, Counter(reachable.objects))
