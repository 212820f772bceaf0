"""All inputs of the plan of one broker, gathered once, and what its parts share."""

from dataclasses import dataclass

from troth.planning.brokers.admin_rotation import AdminState, plan_admin
from troth.planning.brokers.exposure import ExposureStatus, exposure_status
from troth.planning.brokers.work import Work, broker_work
from troth.planning.grants.dialects import unsupported
from troth.planning.grants.rules import broker_grants, grants_that_outlive
from troth.planning.moment import Moment
from troth.planning.network.broker_policy import BrokerNetwork, plan_broker_network
from troth.planning.steps.brokers import ChangeBroker
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.world.facts.broker import BrokerObservation, KeptLedger, Ledger
from troth.world.facts.objects import Fault
from troth.world.keys import broker_key
from troth.world.world import World

FIRST_RETRY = 1.0
"""Seconds until the first retry after a failure. Each retry doubles the delay, up to the interval
of the drift check."""
MOST_DOUBLINGS = 12


@dataclass(frozen=True, slots=True)
class BrokerView:
    """All inputs of the plan of one broker, gathered once.

    `fault` is why the state of the broker is unknown or nothing can be changed there. `work` are
    the changes that are due, None while that is unknown. `network` is None while an observation or
    a change of the broker is in progress, when nothing is planned, and for a broker that is being
    deleted together with its namespace. `admin` is the state of the admin credential's rotation,
    None if none is declared or under way. `exposure` is what the broker shows of its security.
    """

    broker: MessageBroker
    look: BrokerObservation
    kept: KeptLedger | None
    fault: Fault | None
    work: Work | None
    network: BrokerNetwork | None
    admin: AdminState | None
    exposure: ExposureStatus
    moment: Moment

    @property
    def leaving(self) -> bool:
        """Whether the broker is being deleted."""
        return self.broker.metadata.deletion_timestamp is not None

    @property
    def enforcing(self) -> bool:
        """Whether Troth may change the broker."""
        return self.broker.spec.mode is BrokerMode.ENFORCE

    @property
    def change(self) -> ChangeBroker | None:
        """Change that is due now, None if there is none."""
        return self.work.step if self.work is not None and self.enforcing else None

    @property
    def next_look(self) -> float:
        """Time of the next observation, in seconds of this process's uptime."""
        look, every = self.look, self.broker.spec.drift_check.total_seconds()
        if look.suspect:
            doubled = FIRST_RETRY * float(1 << min(max(look.attempts - 1, 0), MOST_DOUBLINGS))
            return look.tried_at + min(doubled, every)
        return look.at + every


def gather(broker: MessageBroker, world: World, moment: Moment) -> BrokerView:
    """Return all inputs of the plan, from the world."""
    look = world.brokers.observation(broker.ref)
    kept = world.brokers.ledgers.get(broker.ref)
    fault = unsupported(broker) or look.fault or (kept.fault if kept is not None else None)
    admin = _admin(broker, world, moment)
    exposure = exposure_status(broker, world, moment.now)
    if look.busy:
        return BrokerView(broker, look, kept, fault, None, None, admin, exposure, moment)
    ledger = world.brokers.ledger(broker.ref) or Ledger()
    leaving = broker.metadata.deletion_timestamp is not None
    grants = (grants_that_outlive if leaving else broker_grants)(broker, ledger, world)
    seen = look.observed if fault is None else None
    work = broker_work(broker, grants, seen, world) if seen is not None else None
    closing = leaving and broker.ref.namespace in world.terminating
    network = None if closing else plan_broker_network(broker, grants, world, moment.now)
    return BrokerView(broker, look, kept, fault, work, network, admin, exposure, moment)


def _admin(broker: MessageBroker, world: World, moment: Moment) -> AdminState | None:
    ledger = world.brokers.ledger(broker.ref)
    under_way = ledger is not None and ledger.admin is not None
    asked = under_way or world.rotations.of(broker_key(broker.ref))
    return plan_admin(broker, world, moment) if asked else None
