"""Plan of a `MessageBroker`: when to observe it, what to change there, its status."""

from collections.abc import Iterator

from troth.planning.brokers.exposure import plan_exposure
from troth.planning.brokers.next_step import parting
from troth.planning.brokers.status import (
    plan_admin_rotation,
    plan_brake,
    plan_network,
    plan_reachability,
    plan_sync,
)
from troth.planning.brokers.unreadable import plan_unreadable
from troth.planning.brokers.view import BrokerView, MessageBrokerView
from troth.planning.grants.finalizer import patience_ends
from troth.planning.parts import Part, assemble, fails_closed, unplanned
from troth.planning.plan import Plan


def plan_message_broker(known: MessageBrokerView) -> Plan:
    """Return the plan of a broker."""
    key, view, now = known.key, known.readable, known.moment.now
    if known.unreadable is not None:
        return plan_unreadable(key, known.unreadable, known.kept, known.removal_fault, now)
    if view is None:
        return Plan(key, "")
    return assemble(key, view.broker, _parts(view), now)


def _parts(view: BrokerView) -> Iterator[Part]:
    yield _plan_deletion(view)
    yield plan_network(view)
    yield plan_reachability(view)
    yield plan_sync(view)
    yield plan_brake(view)
    yield plan_admin_rotation(view)
    yield plan_exposure(view.broker, view.look, view.rights, view.moment.now)


@fails_closed(unplanned())
def _plan_deletion(view: BrokerView) -> Part:
    """Return the part with the steps that end a broker's deletion."""
    ends = patience_ends(view.broker)
    steps = tuple(parting(view)) if view.leaving else ()
    return Part(steps=steps, dues=(ends,) if ends is not None else ())
