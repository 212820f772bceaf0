"""A thousand random worlds, and Troth's plans in each.

Each of a hundred seeds makes a cluster, and each cluster goes through ten worlds, one after the
other. A change of behaviour shows in the first world that it affects, and usually in the later ones
of its cluster.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.net.canonical import canonical, digest, dumped
from tests.net.clusters.scene import Scene
from tests.net.coverage import Coverage
from tests.net.randomness import reproducible
from tests.net.stage import Stage

SCENES = 100
EACH = 10
WORLDS = SCENES * EACH


@dataclass(frozen=True)
class Recorded:
    """The record of one world."""

    number: int
    told: list[Any]
    """Events of the work on the previous world."""
    happened: list[Any]
    """Changes since then, with the keys that each invalidates."""
    plans: list[Any]
    objects: dict[str, str]
    """SHA-256 of every object, by its kind and place."""

    @property
    def line(self) -> str:
        """Line of the world in the record."""
        steps = sum(len(each["targets"]) for each in self.plans)
        found = digest(dumped(self.shown()))
        return f"{self.number:04} {found} {len(self.plans)} plans, {steps} steps"

    def shown(self) -> dict[str, Any]:
        """Return the whole record as JSON data."""
        return {
            "world": self.number,
            "told": self.told,
            "happened": self.happened,
            "plans": self.plans,
            "objects": self.objects,
        }


def worlds(coverage: Coverage) -> Iterator[Recorded]:
    """Yield all worlds in order."""
    for scene in range(SCENES):
        yield from _worlds_of(scene, coverage)


def world(number: int) -> Recorded:
    """Return one world; the earlier worlds of its cluster are computed too."""
    of_scene = _worlds_of(number // EACH, Coverage(), number % EACH + 1)
    return of_scene[-1]


def _worlds_of(scene: int, coverage: Coverage, wanted: int = EACH) -> list[Recorded]:
    with reproducible(f"scene {scene}") as source:
        found = asyncio.run(_record(scene, coverage, wanted))
        for each in found:
            shown = dumped(each.shown())
            assert source.masked(shown) == shown, f"the plans of world {each.number} show a secret"
        return found


async def _record(number: int, coverage: Coverage, wanted: int) -> list[Recorded]:
    stage = Stage(coverage)
    scene = Scene(number, stage)
    await scene.begin()
    found: list[Recorded] = []
    digests: dict[tuple[str, str], str] = {}
    for each in range(wanted):
        told, happened = stage.told(), await scene.go_on()
        plans = list(stage.plans())
        coverage.end_of_world()
        objects: dict[str, str] = {}
        for (kind, ref), manifest in sorted(stage.store.objects.items()):
            place = f"{kind} {ref}"
            version = place, manifest["metadata"]["resourceVersion"]
            if version not in digests:
                digests[version] = digest(dumped(canonical(manifest)))
            objects[place] = digests[version]
        found.append(Recorded(number * EACH + each, told, happened, plans, objects))
        await scene.work()
    return found
