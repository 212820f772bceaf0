"""Outcome of listing and watching a selection of objects."""

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
        world.grants.clear()
        world.tokens.entries.clear()
        return everything(world)
