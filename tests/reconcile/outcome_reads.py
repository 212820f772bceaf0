"""Records which plans read the outcomes of writes, and of which other plan each outcome is."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from troth.planning.moment import Moment
from troth.planning.plan import Plan
from troth.planning.planner import plan
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.world.keys import Key, identity_key
from troth.world.shards import BY_NAMESPACE
from troth.world.world import World


class OutcomeReads:
    """The outcomes that plans read, of all worlds that it watches."""

    def __init__(self) -> None:
        self._planned: Key | None = None
        self._found: set[tuple[str, Key, Place]] = set()
        self._writers: dict[Place, set[Key]] = defaultdict(set)

    def watch(self, world: World) -> None:
        for name in ("refused", "contested", "foreign"):
            setattr(world, name, _Dict(self, name))
        world.passing = _Set(self, "passing")
        world.registry.unapplied = _Dict(self, "unapplied")

    def plan(self, key: Key, world: World, moment: Moment) -> Plan:
        """Plan as the reconcile loop does."""
        self._planned = key
        try:
            made = plan(key, world, moment)
        finally:
            self._planned = None
        for step in made.steps:
            self._writers[step.target].add(key)
        return made

    def note(self, name: str, read: Any) -> None:
        if self._planned is not None:
            place = ("ServiceIdentity", read) if isinstance(read, Ref) else read
            self._found.add((name, self._planned, place))

    def readers(self, name: str) -> set[str]:
        """Return the kinds whose plans read an outcome."""
        return {key.kind for each, key, _ in self._found if each == name}

    def readers_elsewhere(self, name: str) -> set[tuple[str, str]]:
        """Return the kinds whose plans read an outcome that may be of another shard, and of which.

        The shards of one story do not matter, only whether the keys may be in two.
        """
        return {
            (reader.kind, writer.kind)
            for each, reader, place in self._found
            if each == name
            for writer in self._writers_of(name, place)
            if _may_be_apart(reader, writer)
        }

    def _writers_of(self, name: str, place: Place) -> set[Key]:
        return {identity_key(place[1])} if name == "unapplied" else self._writers[place]


class _Dict(dict[Any, Any]):
    def __init__(self, reads: OutcomeReads, name: str) -> None:
        self._reads, self._name = reads, name

    def get(self, key: Any, default: Any = None) -> Any:
        self._reads.note(self._name, key)
        return super().get(key, default)

    def __getitem__(self, key: Any) -> Any:
        self._reads.note(self._name, key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._reads.note(self._name, key)
        return super().__contains__(key)

    def __iter__(self) -> Iterator[Any]:
        for each in super().__iter__():
            self._reads.note(self._name, each)
            yield each

    def items(self) -> Any:
        return [(each, super(_Dict, self).__getitem__(each)) for each in self]


class _Set(set[Any]):
    def __init__(self, reads: OutcomeReads, name: str) -> None:
        self._reads, self._name = reads, name

    def __contains__(self, key: object) -> bool:
        self._reads.note(self._name, key)
        return super().__contains__(key)


def _may_be_apart(one: Key, other: Key) -> bool:
    spread = {one.kind, other.kind} & BY_NAMESPACE
    both = {one.kind, other.kind} <= BY_NAMESPACE
    return bool(spread) and not (both and one.ref.namespace == other.ref.namespace)
