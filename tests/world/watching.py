"""Every key whose plan differs after a change is among the affected ones.

A world that is built afresh from the same objects and outcomes plans the same.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.builders import Cluster, Manifest
from troth.resources.kinds import KIND_BY_NAME
from troth.world.index.workloads import Workloads
from troth.world.keys import Key, Keys
from troth.world.world import World


@dataclass
class Watch:
    """Makes changes and holds the world to its word.

    What is said after one change is what is said before the next, and is not worked out again:
    whatever else changes the cluster is followed by `look_anew`.
    """

    cluster: Cluster
    look: Callable[[Cluster], dict[Key, Any]]
    """Works out what is said of everybody."""
    _said: dict[Key, Any] | None = field(default=None, init=False)
    _readable: dict[Key, Manifest] = field(default_factory=dict, init=False)

    def __call__(self, told: str, change: Callable[..., Keys], *what: Any) -> None:
        self._note_readable()
        before = self._said if self._said is not None else self.look(self.cluster)
        named = change(*what)
        after = self._said = self.look(self.cluster)
        forgotten = [str(key) for key in after if before[key] != after[key] and key not in named]
        assert not forgotten, f"{told}: {forgotten}"

    def assert_like_afresh(self) -> None:
        """Assert that a world that takes in only the current objects has the same plans.

        Of an unreadable object it also takes in the last readable version, which the world keeps.
        """
        said = self._said if self._said is not None else self.look(self.cluster)
        anew = self.look(replace(self.cluster, world=self._afresh()))
        differing = [str(key) for key in said if said[key] != anew[key]]
        assert not differing, f"a world built afresh differs: {differing}"

    def look_anew(self) -> None:
        self._said = None

    def _note_readable(self) -> None:
        unreadable = self.cluster.world.unreadable
        for (kind, ref), manifest in self.cluster.objects.items():
            if kind in KIND_BY_NAME and (key := Key(kind, ref)) not in unreadable:
                self._readable[key] = manifest

    def _afresh(self) -> World:
        known, cluster = self.cluster.world, self.cluster
        world = World(known.own_namespace, workloads=Workloads(enabled=known.workloads.enabled))
        for (kind, ref), manifest in cluster.objects.items():
            key, uid = Key(kind, ref), manifest["metadata"]["uid"]
            before = self._readable.get(key) if key in known.unreadable else None
            if before is not None and before["metadata"]["uid"] == uid:
                world.observe(copy.deepcopy(before), uptime=cluster.uptime)
            world.observe(copy.deepcopy(manifest), uptime=cluster.uptime)
        for broker in (*known.brokers.messaging.brokers, *known.brokers.leaving_brokers):
            world.brokers.note_observation(broker, known.brokers.observation(broker))
        world.brokers.messaging.reviews.hidden = known.brokers.messaging.reviews.hidden
        world.registry.unread = known.registry.unread
        world.tokens.view_written.update(known.tokens.view_written)
        return world
