"""Common handler of the objects that Troth writes."""

from typing import TypeVar

from troth.resources.references import Ref
from troth.world.facts.objects import Fact
from troth.world.first_seen import with_first_seen
from troth.world.keys import Keys
from troth.world.owners import named_after, owner_of
from troth.world.state import WorldState

F = TypeVar("F", bound=Fact)


def take_written(
    world: WorldState, facts: dict[Ref, F], ref: Ref, after: F | None, uptime: float
) -> Keys:
    """Replace a fact; return the keys of its owners by label, and of those that need its name."""
    before = facts.pop(ref, None)
    if after is not None:
        facts[ref] = with_first_seen(after, before, uptime)
    return (
        owner_of(before)
        | owner_of(after)
        | named_after(ref, world.registry, world.brokers.messaging)
    )
