"""Steps that apply, remove and change single objects."""

from dataclasses import dataclass

from troth.planning.owned_objects import differs
from troth.planning.steps.step import ManifestStep, ObjectStep
from troth.world.facts.objects import Content
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class Apply(ManifestStep):
    """An object that must exist with exactly this content.

    Content that keeps a part of what stood there is written only `over` that resource version, for
    else it could bring back what was taken away since; empty for any.
    """

    over: str = ""

    def known(self, world: World) -> Content | None:
        """Return the facts of the object, as the world has it."""
        kind, ref = self.target
        facts = world.policies if kind == "NetworkPolicy" else world.bundles
        return facts.get(ref)

    def is_done(self, world: World) -> bool:
        """Say whether the object is as it must be, in what Troth owns of it."""
        fact = self.known(world)
        return fact is not None and not differs(self.manifest, fact)


@dataclass(frozen=True, slots=True)
class Remove(ObjectStep):
    """An object of Troth's that must not exist; `uid` says which one was meant."""

    def is_done(self, world: World) -> bool:
        """Say whether the object is deleted and only waits for its finalizers."""
        return world.is_leaving(self.kind, self.ref)


@dataclass(frozen=True, slots=True)
class Restart(ObjectStep):
    """A workload whose pods are to be replaced, if it still is the one that was seen.

    `evidence` says what its Secret holds now, and is kept in its pod template.
    """

    resource_version: str
    evidence: str
    message: str


@dataclass(frozen=True, slots=True)
class SetFinalizers(ObjectStep):
    """The finalizers that a resource is to have, if it still is as it was seen."""

    resource_version: str
    finalizers: tuple[str, ...]
    warning: str = ""
    """What a person should hear of, because it could not be undone; empty for nothing."""
