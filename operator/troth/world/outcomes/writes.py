"""Outcomes of writes to the API server, apart from the objects that it returns."""

from dataclasses import dataclass
from datetime import datetime

from troth.resources.references import Ref
from troth.trust.declarations.narrowing import Narrowing
from troth.world.invalidation import invalidate
from troth.world.keys import Keys, identity_key
from troth.world.observation.narrowing import reported_narrowing
from troth.world.state import WorldState


@dataclass(frozen=True, slots=True)
class WriteRefused:
    """The API server refuses to write or delete an object, because of `why`.

    `passing` is whether the cause is the state of the API server and may pass by itself.
    """

    kind: str
    ref: Ref
    why: str
    passing: bool

    def take(self, world: WorldState) -> Keys:
        """Record the cause. The reconciler plans the requesting resource again in any case."""
        place = self.kind, self.ref
        world.refused[place] = self.why
        if self.passing:
            world.passing.add(place)
        else:
            world.passing.discard(place)
        return set()


@dataclass(frozen=True, slots=True)
class RefusalOver:
    """A refused write has succeeded, or no plan requests it any more."""

    kind: str
    ref: Ref

    def take(self, world: WorldState) -> Keys:
        """Remove the refusal. The reconciler plans the requesting resource again in any case."""
        place = self.kind, self.ref
        world.refused.pop(place, None)
        world.passing.discard(place)
        return set()


@dataclass(frozen=True, slots=True)
class ObjectContested:
    """Another client changes or deletes an object each time Troth writes it; `why` says who."""

    kind: str
    ref: Ref
    why: str

    def take(self, world: WorldState) -> Keys:
        """Record it. The reconciler plans the requesting resource again in any case."""
        world.contested[self.kind, self.ref] = self.why
        return set()


@dataclass(frozen=True, slots=True)
class ContestOver:
    """A contested object stays as Troth wrote it, or no plan writes it any more."""

    kind: str
    ref: Ref

    def take(self, world: WorldState) -> Keys:
        """Remove the record. The reconciler plans the requesting resource again in any case."""
        world.contested.pop((self.kind, self.ref), None)
        return set()


@dataclass(frozen=True, slots=True)
class ForeignFound:
    """An object that Troth needs to create exists and is not owned by Troth."""

    kind: str
    ref: Ref
    now: datetime

    def take(self, world: WorldState) -> Keys:
        """Record when it was observed. The requesting resource is planned again in any case.

        A rotation waits for the bundle of a namespace, but not for a foreign one.
        """
        known = (self.kind, self.ref) in world.foreign
        world.foreign[self.kind, self.ref] = self.now
        return (
            world.rotating(self.ref.namespace) if self.kind == "ConfigMap" and not known else set()
        )


@dataclass(frozen=True, slots=True)
class NarrowingUnapplied:
    """A narrowing of an identity's `identity.json` cannot be written; None if all is written."""

    identity: Ref
    narrowing: Narrowing | None

    def take(self, world: WorldState) -> Keys:
        """Close the edges that depend on it; return the affected keys, none if it was known."""
        if not world.registry.note_unapplied(self.identity, self.narrowing):
            return set()
        neighbours = world.registry.neighbours(self.identity)
        affected = {identity_key(each) for each in (self.identity, *neighbours)}
        return invalidate(world, "ServiceIdentity", self.identity, affected, redeclared=True)


@dataclass(frozen=True, slots=True)
class PlannedElsewhere:
    """Another replica plans an identity from now on, so what its status reports holds."""

    identity: Ref

    def take(self, world: WorldState) -> Keys:
        """Replace what this process found of the identity's document; return the affected keys."""
        known = world.registry.claimants.get(self.identity)
        reported = reported_narrowing(known) if known is not None else None
        return NarrowingUnapplied(self.identity, reported).take(world)


@dataclass(frozen=True, slots=True)
class IssuerViewWritten:
    """Troth wrote the view into an issuer's Secret.

    `uptime` is the time, in seconds on the process's monotonic clock.
    """

    secret: Ref
    uptime: float

    def take(self, world: WorldState) -> Keys:
        """Record the time, because the next view waits for a minimum interval."""
        world.tokens.view_written[self.secret.name] = self.uptime
        return set()
