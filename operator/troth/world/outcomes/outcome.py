"""What every outcome has in common."""

from typing import Protocol

from troth.world.keys import Keys
from troth.world.state import WorldState


class Outcome(Protocol):
    """Something that I/O came to and that no watch reports."""

    def take(self, world: WorldState) -> Keys:
        """Update the world; return whom that concerns."""
