"""Which replica has which shard, as the annotations of the operator's Lease say.

Every decision is a function of one version of the Lease and of the replicas that are alive. A
replica writes its decision only over that version, so of two decisions one is rejected.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from troth.world.facts.objects import Manifest

OWNER = "shard.troth.dev/"
"""Prefix of the annotation of a shard. The name after it is the shard's number, the value the slot
of the replica that has it."""
REPLICA = "replica.troth.dev/"
"""Prefix of the annotation of a replica. The name after it is its slot. The value begins with its
layout, and changes with each renewal."""


def layout(count: int, duration: float) -> str:
    """Return the holder of a Lease that replicas share.

    A replica of another number of shards would write keys of several of them. A replica of another
    duration in seconds would take shards over too early, or hold them for too long.
    """
    return f"{count} shards, {duration:g}s"


def slot_of(identity: str) -> str:
    """Return a replica's name in annotations, which have no room for a pod's name."""
    return blake2b(identity.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Assignment:
    """Owner of each shard that has one, and the last renewal of each replica, by slots."""

    owners: Mapping[int, str]
    renewals: Mapping[str, str]
    strangers: frozenset[str] = frozenset()
    """Slots of replicas of another layout, whose renewal arrived late."""

    @classmethod
    def of(cls, lease: Manifest, count: int) -> "Assignment":
        """Return the assignment of the layout that has a Lease; other annotations are ignored."""
        annotations = lease["metadata"].get("annotations") or {}
        owners = ((shard, annotations.get(f"{OWNER}{shard}")) for shard in range(count))
        every = {
            name.removeprefix(REPLICA): value
            for name, value in annotations.items()
            if name.startswith(REPLICA)
        }
        shared = renewal_of(lease["spec"]["holderIdentity"])
        renewals = {slot: value for slot, value in every.items() if value.startswith(shared)}
        return cls(
            {shard: owner for shard, owner in owners if owner},
            renewals,
            frozenset(every.keys() - renewals.keys()),
        )

    def owned(self, slot: str) -> frozenset[int]:
        """Return the shards of a replica."""
        return frozenset(shard for shard, owner in self.owners.items() if owner == slot)

    def to_take(self, live: Collection[str], count: int) -> Mapping[int, str]:
        """Return which replica takes each shard that no live one has: one with the fewest."""
        load = Counter(owner for owner in self.owners.values() if owner in live)
        taken: dict[int, str] = {}
        for shard in range(count):
            if self.owners.get(shard) not in live and live:
                taken[shard] = min(live, key=lambda slot: (load[slot], slot))
                load[taken[shard]] += 1
        return taken

    def to_give(self, live: Collection[str], slot: str) -> Mapping[int, str]:
        """Return the shards that a replica hands over, each with the replica that gets it.

        It hands over while another has two fewer. The shard with the lowest number is never one of
        them, so the work at brokers, which takes longest to end, stays.
        """
        load = Counter(dict.fromkeys(live, 0))
        load.update(owner for owner in self.owners.values() if owner in load)
        given: dict[int, str] = {}
        for shard in sorted(self.owned(slot), reverse=True):
            poorest = min(load, key=lambda each: (load[each], each), default=slot)
            if load[slot] - load[poorest] < 2:  # noqa: PLR2004 - one fewer is balanced
                break
            given[shard] = poorest
            load[slot] -= 1
            load[poorest] += 1
        return given

    def awaits(self, live: Collection[str], slot: str) -> bool:
        """Return whether another replica is about to hand a shard over to this one."""
        return any(slot in self.to_give(live, other).values() for other in live if other != slot)


def renewal_of(holder: str, text: str = "") -> str:
    """Return the value of a replica's annotation, which begins with the layout."""
    return f"{holder}: {text}"


def annotations_of(owners: Mapping[int, str | None]) -> dict[str, str | None]:
    """Return the annotations that set the owners of shards, None for no owner."""
    return {f"{OWNER}{shard}": owner for shard, owner in owners.items()}


def other_annotations(lease: Manifest) -> dict[str, str]:
    """Return the annotations of a Lease that are not about shards."""
    found = lease["metadata"].get("annotations") or {}
    return {name: value for name, value in found.items() if not name.startswith((OWNER, REPLICA))}


def shard_annotations(lease: Manifest) -> frozenset[str]:
    """Return the names of the annotations about shards."""
    found = lease["metadata"].get("annotations") or {}
    return frozenset(name for name in found if name.startswith((OWNER, REPLICA)))
