"""Outcomes of writes to the API server, beside the objects that it answers with."""

from dataclasses import dataclass
from datetime import datetime

from troth.resources.references import Ref
from troth.trust.narrowing import Narrowing
from troth.world.invalidation import spread
from troth.world.keys import Keys, identity_key
from troth.world.state import WorldState


@dataclass(frozen=True, slots=True)
class WriteRefused:
    """The API server refuses to write or delete an object.

    `passing`: that says something of the API server, and may be over in a moment.
    """

    kind: str
    ref: Ref
    why: str
    passing: bool

    def take(self, world: WorldState) -> Keys:
        """Keep why; the resource that asks for the write is planned again anyway."""
        place = self.kind, self.ref
        world.refused[place] = self.why
        if self.passing:
            world.passing.add(place)
        else:
            world.passing.discard(place)
        return set()


@dataclass(frozen=True, slots=True)
class RefusalOver:
    """A write that was refused is carried out, or is not asked for any more."""

    kind: str
    ref: Ref

    def take(self, world: WorldState) -> Keys:
        """Forget the refusal; the resource that asked for the write is planned again anyway."""
        place = self.kind, self.ref
        world.refused.pop(place, None)
        world.passing.discard(place)
        return set()


@dataclass(frozen=True, slots=True)
class ForeignFound:
    """An object of a wanted name exists which Troth does not own."""

    kind: str
    ref: Ref
    now: datetime

    def take(self, world: WorldState) -> Keys:
        """Keep when it was last seen; the resource that wants the name is planned again anyway."""
        world.foreign[self.kind, self.ref] = self.now
        return set()


@dataclass(frozen=True, slots=True)
class NarrowingUnapplied:
    """A narrowing of an identity's `identity.json` cannot be written; None if all of it is."""

    identity: Ref
    narrowing: Narrowing | None

    def take(self, world: WorldState) -> Keys:
        """Close the edges that need it; return whom that concerns, nobody if it was known."""
        if not world.registry.note_unapplied(self.identity, self.narrowing):
            return set()
        neighbours = world.registry.neighbours(self.identity)
        affected = {identity_key(each) for each in (self.identity, *neighbours)}
        return spread(world, "ServiceIdentity", self.identity, affected, redeclared=True)


@dataclass(frozen=True, slots=True)
class IssuerViewWritten:
    """Troth wrote the view into the Secret of an issuer, `uptime` seconds after its start."""

    secret: Ref
    uptime: float

    def take(self, world: WorldState) -> Keys:
        """Keep when: the next view waits a little."""
        world.tokens.view_written[self.secret.name] = self.uptime
        return set()
