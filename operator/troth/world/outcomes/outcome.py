"""Protocol of outcomes."""

from typing import Protocol

from troth.world.keys import Keys
from troth.world.state import WorldState


class Outcome(Protocol):
    """Result of I/O that no watch reports."""

    def take(self, world: WorldState) -> Keys:
        """Update the world; return the affected keys."""
