"""Taking in an object that Troth writes, and whom a change of it concerns."""

from typing import TypeVar

from troth.resources.references import Ref
from troth.world.facts.objects import Fact
from troth.world.first_seen import dated
from troth.world.keys import Keys
from troth.world.owners import named_after, owner_of
from troth.world.state import WorldState

F = TypeVar("F", bound=Fact)


def take_written(
    world: WorldState, facts: dict[Ref, F], ref: Ref, after: F | None, uptime: float
) -> Keys:
    """Replace a fact; affected are its owners by label, and whoever wants its name."""
    before = facts.pop(ref, None)
    if after is not None:
        facts[ref] = dated(after, before, uptime)
    return (
        owner_of(before)
        | owner_of(after)
        | named_after(ref, world.registry, world.brokers.messaging)
    )
