"""Outcomes of listing and watching selections of objects."""

from dataclasses import dataclass

from troth.trust.declarations.unread import Part
from troth.world.invalidation import everything
from troth.world.keys import Keys
from troth.world.state import WorldState


@dataclass(frozen=True, slots=True)
class SelectionRead:
    """The objects of a kind in a namespace were not read for too long (`unread`), or are again.

    The namespace is empty for those of all namespaces.
    """

    kind: str
    namespace: str
    unread: bool

    def take(self, world: WorldState) -> Keys:
        """Record it; return every key if edges and grants depend on the kind.

        While it is unread, what is open stays open, and nothing opens.
        """
        if not world.registry.note_unread(Part(self.kind, self.namespace), unread=self.unread):
            return set()
        return _anew(world)


@dataclass(frozen=True, slots=True)
class NamespaceListed:
    """All objects of a namespace that is listed by itself are known."""

    namespace: str

    def take(self, world: WorldState) -> Keys:
        """Record it; return every key if they were not known before."""
        return _anew(world) if world.registry.note_listed(self.namespace) else set()


def _anew(world: WorldState) -> Keys:
    """Drop what was derived from declarations; return every key."""
    world.grants.clear()
    world.tokens.entries.clear()
    return everything(world)
