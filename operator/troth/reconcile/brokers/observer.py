"""Observation of the brokers that another replica changes, for the identities of this one.

They wait for what an observation shows: that the broker answers, and the roots of its certificate.
"""

from dataclasses import replace
from datetime import datetime

from troth.planning.planner import plan
from troth.planning.steps.brokers import ObserveBroker
from troth.reconcile.brokers.work import BrokerWork, Surroundings
from troth.reconcile.runtime.clock import Clock, Moments
from troth.reconcile.runtime.lease_fence import Fence
from troth.world.keys import Key
from troth.world.world import World


class BrokerObserver(BrokerWork):
    """Observations of brokers under a fence of its own. It changes nothing at a broker."""

    def __init__(
        self, world: World, clock: Clock, surroundings: Surroundings, fence: Fence
    ) -> None:
        super().__init__(world, clock, replace(surroundings, leader_fence=fence))
        self._moments = Moments(clock)

    def visit(self, key: Key) -> datetime | None:
        """Begin the observation of a broker if it is due; return when the next one is."""
        planned = plan(key, self._world, self._moments.read())
        for step in planned.steps:
            if isinstance(step, ObserveBroker):
                self.begin(step)
        return planned.due
