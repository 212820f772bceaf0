"""Steps that apply, change and delete single objects."""

from dataclasses import dataclass

from troth.planning.owned_objects import differs, is_child
from troth.planning.steps.step import ManifestStep, ObjectStep
from troth.resources.metadata import Resource
from troth.world.facts.objects import Content, Fact
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class Apply(ManifestStep):
    """Apply an object, so that it exists with exactly this content.

    `over` is the only resource version that the step may overwrite, empty for any. Content that
    keeps a part of the observed object needs it: it could restore something that was removed since.
    """

    over: str = ""

    def known(self, world: World) -> Content | None:
        """Return the facts of the observed object, None if it does not exist."""
        kind, ref = self.target
        facts = world.policies if kind == "NetworkPolicy" else world.bundles
        return facts.get(ref)

    def is_done(self, world: World) -> bool:
        """Return whether the object matches the manifest, in the parts that Troth owns."""
        fact = self.known(world)
        return fact is not None and not differs(self.manifest, fact)


@dataclass(frozen=True, slots=True)
class Remove(ObjectStep):
    """Delete an owned object; another object of the same name, with another `uid`, stays."""

    def is_done(self, world: World) -> bool:
        """Return whether the object is already being deleted and waits for its finalizers."""
        return world.is_leaving(self.kind, self.ref)


@dataclass(frozen=True, slots=True)
class RemoveLedger(Remove):
    """Delete the ledger of a broker whose deletion ends.

    `warning` says what stays at the broker, empty if that is nothing.
    """

    warning: str = ""


def removal(kind: str, fact: Fact | None, owner: Resource) -> tuple[Remove, ...]:
    """Return the removal of an object that should not exist, if it belongs to this owner."""
    if fact is None or not is_child(fact, owner):
        return ()
    return (Remove(kind, fact.ref, fact.uid),)


@dataclass(frozen=True, slots=True)
class Restart(ObjectStep):
    """Restart the pods of a workload, if it is unchanged since it was observed.

    `evidence` describes the content of the workload's Secret. The step writes it into the pod
    template.
    """

    resource_version: str
    evidence: str
    message: str


@dataclass(frozen=True, slots=True)
class SetFinalizers(ObjectStep):
    """Set the finalizers of a resource, if it is unchanged since it was observed."""

    resource_version: str
    finalizers: tuple[str, ...]
    warning: str = ""
    """Warning about something that could not be undone, empty for none."""
    known_as: str = ""
    """Watch class of the metadata, if the world must not learn more than that from the answer."""
