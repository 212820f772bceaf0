"""Sharding: the keys that this replica works on, if several replicas act at once."""

from collections.abc import Callable, Sequence

from troth.reconcile.runtime.lease_fence import Fence
from troth.world.keys import Key
from troth.world.shards import CENTRAL, shard_of


class Sharding:
    """The fence of each key. Without fences of shards, that of the leader is the fence of all.

    A replica of one shard also observes brokers, which another shard changes: its identities wait
    for what an observation shows, and that is known to one process.
    """

    def __init__(self, leader_fence: Fence, fences: Sequence[Fence] = ()) -> None:
        self._leader_fence = leader_fence
        self._fences = fences
        self._held: frozenset[int] = frozenset()
        """Shards in which work may begin, as last reported; what has begun ends by its fence."""
        self._worked_on: frozenset[int] = frozenset()
        """Shards in which the recorded outcomes are this replica's."""

    @property
    def central(self) -> Fence:
        """Fence of changes at brokers."""
        return self._fences[CENTRAL] if self._fences else self._leader_fence

    def fence_of(self, key: Key) -> Fence:
        """Return the fence of the writes for a key."""
        return self._fences[self.shard_of(key)] if self._fences else self._leader_fence

    def shard_of(self, key: Key) -> int:
        """Return the shard of a key."""
        return shard_of(key, max(len(self._fences), 1))

    def takes(self, key: Key) -> bool:
        """Return whether a worker may take a key: to work on it, or only to observe a broker.

        A replica that may not write for a moment still takes the keys of its shards, and its
        workers wait for the leader's fence, as without shards. If it put keys aside, nothing would
        queue them again, because it gets the same shards back.
        """
        if not self._fences or self.shard_of(key) in self._held:
            return True
        return _is_broker(key) and bool(self._held)

    def only_observes(self, key: Key) -> bool:
        """Return whether a key is that of a broker that another replica changes."""
        return bool(self._fences) and _is_broker(key) and CENTRAL not in self._held

    def change(
        self, held: frozenset[int], is_idle: Callable[[int], bool]
    ) -> tuple[frozenset[int], frozenset[int]]:
        """Record the shards in which work may begin; return those gained, and those lost.

        A replica whose lease lapses has no shard, and nothing is lost yet: it often gets the same
        ones back. What it did not get back is lost once it works again. A shard in which work is
        still under way is lost with the next call after its end.
        """
        before, self._held = self._held, held
        left = self._worked_on - held if held else frozenset[int]()
        lost = frozenset(filter(is_idle, left))
        self._worked_on = (self._worked_on | held) - lost
        return held - before, lost


def _is_broker(key: Key) -> bool:
    return key.kind == "MessageBroker"
