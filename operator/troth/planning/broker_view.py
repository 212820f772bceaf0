"""Everything the plan of one broker depends on, gathered once, and what its parts share."""

from dataclasses import dataclass
from datetime import datetime

from troth.planning.broker_rules import unsupported
from troth.planning.broker_work import Work, broker_work
from troth.planning.plan import ChangeBroker
from troth.resources.message_broker import BrokerMode, MessageBroker
from troth.world.broker_facts import KeptLedger, Look
from troth.world.facts import Fault
from troth.world.world import World

FIRST_RETRY = 1.0
"""Seconds until a try that failed is made again; then twice as many, up to the drift check's."""
MOST_DOUBLINGS = 12


@dataclass(frozen=True, slots=True)
class BrokerView:
    """Everything that the plan of one broker depends on, gathered once.

    `fault` is why nothing can be told of it or done there, `work` what there is to do, None while
    that cannot be told.
    """

    broker: MessageBroker
    look: Look
    kept: KeptLedger | None
    fault: Fault | None
    work: Work | None
    uptime: float
    now: datetime

    @property
    def leaving(self) -> bool:
        """Whether the broker is being deleted."""
        return self.broker.metadata.deletion_timestamp is not None

    @property
    def enforcing(self) -> bool:
        """Whether anything may be changed there."""
        return self.broker.spec.mode is BrokerMode.ENFORCE

    @property
    def change(self) -> ChangeBroker | None:
        """What is to be done there now."""
        return self.work.step if self.work is not None and self.enforcing else None

    @property
    def next_look(self) -> float:
        """When to look again, in seconds of this process's uptime."""
        look, every = self.look, self.broker.spec.drift_check.total_seconds()
        if look.suspect:
            doubled = FIRST_RETRY * float(1 << min(max(look.attempts - 1, 0), MOST_DOUBLINGS))
            return look.tried_at + min(doubled, every)
        return look.at + every


def gather(broker: MessageBroker, world: World, now: datetime) -> BrokerView:
    """Read from the world all that the plan depends on."""
    look = world.brokers.look(broker.ref)
    kept = world.brokers.ledgers.get(broker.ref)
    fault = unsupported(broker) or look.fault or (kept.fault if kept is not None else None)
    idle = fault is None and not look.busy
    work = broker_work(broker, look.observed, world) if idle and look.observed else None
    return BrokerView(broker, look, kept, fault, work, world.uptime, now)
