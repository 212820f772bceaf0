"""Outcomes of work at brokers.

`uptime` is the time of an outcome, in seconds on the process's monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from troth.brokers.clients import Clients
from troth.resources.references import Ref
from troth.trust.grants import Observed, Place, Rule
from troth.world.facts.broker import AdminInUse, BrokerObservation, Exposed
from troth.world.facts.clients import seen_clients
from troth.world.facts.objects import Fault
from troth.world.index.guarded_policies import concerned_by_clients
from troth.world.keys import Keys, broker_key, policy_key
from troth.world.state import WorldState


@dataclass(frozen=True, slots=True)
class WorkBegun:
    """Work at a broker has begun."""

    broker: Ref

    def take(self, world: WorldState) -> Keys:
        """Mark the broker as busy, so that no other work is planned there."""
        look = world.brokers.observation(self.broker)
        world.brokers.note_observation(self.broker, replace(look, busy=True))
        return set()


@dataclass(frozen=True, slots=True)
class BrokerTakenOver:
    """This process changes a broker from now on, which another replica did before."""

    broker: Ref

    def take(self, world: WorldState) -> Keys:
        """Have the broker observed first, as after a restart."""
        look = world.brokers.observation(self.broker).to_observe_again()
        begun = replace(look, failures={}, admin_fault=None)
        world.brokers.note_observation(self.broker, begun)
        return {broker_key(self.broker)}


@dataclass(frozen=True, slots=True)
class WorkEnded:
    """Work at a broker has ended."""

    broker: Ref

    def take(self, world: WorldState) -> Keys:
        """Clear the mark; return the key of the broker.

        If the MessageBroker was deleted meanwhile, its observation is removed.
        """
        look = world.brokers.observation(self.broker)
        world.brokers.note_observation(self.broker, replace(look, busy=False))
        if world.brokers.declared(self.broker) is None:
            world.brokers.forget_observation(self.broker)
        return {broker_key(self.broker)}


@dataclass(frozen=True, slots=True)
class BrokerObserved:
    """A broker was observed with the admin credential `admin`.

    `authorities` are the PEM roots of its servers' certificates, empty for the system's. `clients`
    are its connected clients, or why it does not show them, and None if nothing depends on them.
    `exposed` is what it showed of its security, None if nobody asked for it.
    """

    broker: Ref
    observed: Observed
    authorities: str
    admin: AdminInUse
    uptime: float
    clients: Clients | Fault | None = None
    exposed: Exposed | None = None

    def take(self, world: WorldState) -> Keys:
        """Record the observation; return the keys that the differences affect."""
        # a result that was wrongly kept when something changed is kept until here at most
        world.grants.clear()
        world.memo.clear()
        brokers, before = world.brokers, world.brokers.observation(self.broker)
        look = replace(
            before,
            observed=self.observed,
            foreign=brokers.foreign(self.broker, self.observed),
            at=self.uptime,
            tried_at=self.uptime,
            attempts=before.attempts if before.failures else 0,
            suspect=False,
            fault=None,
            authorities=self.authorities,
            admin=_dated(self.admin, before.admin, self.uptime),
            clients=seen_clients(self.clients, before.clients, self.uptime),
            exposed=self.exposed,
        )
        brokers.note_observation(self.broker, look)
        if before.authorities != self.authorities:
            return brokers.concerned_by_state(self.broker)
        return _concerned(world, self.broker, before, look) | concerned_by_clients(
            brokers, self.broker, before.clients, look.clients
        )


@dataclass(frozen=True, slots=True)
class BrokerChanged:
    """A broker was changed; `observed` is its new state, `failures` are the failed changes."""

    broker: Ref
    observed: Observed
    failures: Mapping[Rule | Place, str]
    uptime: float

    def take(self, world: WorldState) -> Keys:
        """Record the state; return the keys that the differences affect."""
        before = world.brokers.observation(self.broker)
        look = replace(
            before,
            observed=self.observed,
            foreign=world.brokers.foreign(self.broker, self.observed),
            failures=dict(self.failures),
        )
        done = replace(look, tried_at=self.uptime, attempts=0)
        world.brokers.note_observation(
            self.broker, look.tried(self.uptime) if self.failures else done
        )
        return _concerned(world, self.broker, before, world.brokers.observation(self.broker))


@dataclass(frozen=True, slots=True)
class WorkFailed:
    """Work at a broker failed; `fault` is None if the plan was stale."""

    broker: Ref
    fault: Fault | None
    uptime: float

    def take(self, world: WorldState) -> Keys:
        """Record the fault; return the keys that the differences affect."""
        before = world.brokers.observation(self.broker)
        tried = before.tried(self.uptime, self.fault)
        look = tried if self.fault else replace(tried, failures={})
        world.brokers.note_observation(self.broker, look)
        return _concerned(world, self.broker, before, look)


@dataclass(frozen=True, slots=True)
class AdminCredentialChanged:
    """A change of a broker's admin credential has ended; `fault` is why it failed.

    The fault concerns the credential alone, because the broker still answers.
    """

    broker: Ref
    fault: Fault | None
    uptime: float

    def take(self, world: WorldState) -> Keys:
        """Record the fault, and have the broker observed again at once."""
        look = world.brokers.observation(self.broker).to_observe_again()
        noted = replace(look, admin_fault=self.fault, admin_tried_at=self.uptime)
        world.brokers.note_observation(self.broker, noted)
        return set()


def _concerned(
    world: WorldState, broker: Ref, before: BrokerObservation, after: BrokerObservation
) -> Keys:
    """Return the keys that the differences between two observations of a broker affect."""
    if before.fault != after.fault or (before.observed is None) != (after.observed is None):
        return world.brokers.concerned_by_state(broker)
    opened = _opened(world, broker, before, after)
    known, now = before.observed or Observed(), after.observed or Observed()
    changed = {rule.principal for rule in known.rules ^ now.rules}
    changed |= {principal for principal, _ in known.credentials ^ now.credentials}
    changed |= {
        _principal(change) for change, _ in before.failures.items() ^ after.failures.items()
    }
    return opened | (world.brokers.of_principals(broker, changed) if changed else set())


def _principal(change: Rule | Place) -> str:
    return change.principal if isinstance(change, Rule) else change[0]


def _opened(
    world: WorldState, broker: Ref, before: BrokerObservation, after: BrokerObservation
) -> Keys:
    """Return the policies of a broker if its foreign rules changed."""
    if after.foreign == before.foreign:
        return set()
    return set(map(policy_key, world.brokers.messaging.at(broker)))


def _dated(shown: AdminInUse, before: AdminInUse | None, uptime: float) -> AdminInUse:
    """Return an admin credential with the time since which it is known to administer."""
    same = before is not None and replace(shown, since=before.since) == before
    return replace(shown, since=before.since if same and before is not None else uptime)
