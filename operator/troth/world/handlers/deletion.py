"""Handler of brokers and policies of which only the metadata is read."""

from troth.world.change import Change
from troth.world.facts.deletion import Deletion
from troth.world.keys import Key, Keys
from troth.world.state import WorldState


def take_metadata(world: WorldState, change: Change) -> Keys:
    """Take in the current metadata of a resource; return its key if it is, or was, being deleted.

    Nothing but a deletion is recorded, so a resource that exists declares nothing here.
    """
    key = Key(change.kind, change.ref)
    before = world.deletions.pop(key, None)
    after = Deletion.of(change.manifest["metadata"]) if change.manifest is not None else None
    if after is not None:
        world.deletions[key] = after
    return {key} if before is not None or after is not None else set()
