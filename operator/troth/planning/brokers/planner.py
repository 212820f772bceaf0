"""Plan of a `MessageBroker`: when to observe it, what to change there, its status."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from troth.planning import status as verdicts
from troth.planning.brokers.status import ON_ITS_WAY, broker_status, broker_verdicts, refused_change
from troth.planning.brokers.unreadable import plan_unreadable
from troth.planning.brokers.view import BrokerView, MessageBrokerView
from troth.planning.grants.dialects import unsupported
from troth.planning.grants.finalizer import add_finalizer, is_held, patience_ends, remove_finalizer
from troth.planning.plan import Plan
from troth.planning.steps.brokers import ChangeBroker, ObserveBroker
from troth.planning.steps.objects import Remove
from troth.planning.steps.step import Step
from troth.world.facts.broker import BrokerObservation
from troth.world.facts.objects import Fault

PASSING = frozenset({"Changing", "AwaitingCredentials"})
"""Reasons that end within moments if nothing fails."""


def plan_message_broker(known: MessageBrokerView) -> Plan:
    """Return the plan of a broker."""
    key, view, now = known.key, known.readable, known.moment.now
    if known.unreadable is not None:
        return plan_unreadable(key, known.unreadable, known.kept, now)
    if view is None:
        return Plan(key, "")
    broker = view.broker
    verdict = broker_verdicts(view)
    summary = verdicts.summed_up(verdict.needed, ON_ITS_WAY)
    status = broker_status(view)
    status["conditions"] = verdicts.conditions(
        broker, broker.status.conditions, (*summary, *verdict.needed, *verdict.beside), now
    )
    return Plan(
        key,
        broker.metadata.uid,
        steps=tuple(_steps(view)),
        status=status,
        previous_status=broker.status.manifest(),
        due=min((due for due in _dues(view) if due > now), default=None),
        passing=verdicts.waits_for(summary, PASSING),
    )


def _steps(view: BrokerView) -> Iterator[Step]:
    broker = view.broker
    if view.leaving:
        parting = tuple(_parting(view))
        yield from parting
        if parting or not broker.metadata.finalizers:
            return
    if view.network is not None:
        yield from view.network.steps
    if view.look.busy or unsupported(broker) is not None:
        return
    if view.leaving and not is_held(broker):
        return  # nothing is left to do there, and another controller's finalizer holds it
    if view.moment.uptime >= view.next_look:
        yield ObserveBroker(broker.ref)
    elif view.kept is not None and view.enforcing and not is_held(broker):
        yield add_finalizer(broker)  # somebody removed the finalizer
    elif view.change is not None and (not view.look.suspect or _has_news(view.change, view.look)):
        yield view.change if view.leaving or is_held(broker) else add_finalizer(broker)
    elif view.admin is not None and view.admin.step is not None and _is_in_sync(view):
        yield view.admin.step if is_held(broker) else add_finalizer(broker)


def _is_in_sync(view: BrokerView) -> bool:
    """Return whether a broker that is not being deleted is known to need no change."""
    return view.work is not None and not view.leaving and not view.look.suspect


def _has_news(change: ChangeBroker, look: BrokerObservation) -> bool:
    """Return whether a change has more than what the broker has just rejected.

    The rest of the change does not wait for the retry.
    """
    uploaded = ((each.principal, each.slot) for each in change.uploads)
    requested = {*uploaded, *change.additions, *change.removals, *change.revocations}
    return bool(look.failures) and not requested <= look.failures.keys()


def _parting(view: BrokerView) -> Iterator[Step]:
    """Yield the steps that end a broker's deletion once nothing is left to do there."""
    broker, kept = view.broker, view.kept
    if not is_held(broker):
        return
    warning = ""
    if kept is not None and view.enforcing:
        ends = patience_ends(broker)
        if view.work is not None and view.work.step is None:
            pass
        elif _why_not(view) is not None and ends is not None and ends <= view.moment.now:
            warning = _left_behind(view)
        else:
            return
    elif kept is not None:
        warning = _left_behind(view)
    if kept is not None:
        yield Remove("ConfigMap", kept.ref, kept.uid)
    yield remove_finalizer(broker, warning)


def _why_not(view: BrokerView) -> Fault | None:
    """Return why nothing more can be revoked, None if that is unknown."""
    return view.fault or refused_change(view)


def _left_behind(view: BrokerView) -> str:
    """Return what stays at a broker that is unreachable, or that Troth may not change."""
    assert view.kept is not None
    principals, fault = sorted(view.kept.ledger.principals), _why_not(view)
    why = fault.message if fault is not None else f"mode is {view.broker.spec.mode}"
    if view.kept.fault is not None:
        prefix = view.broker.spec.owns.principal_prefix
        return (
            f"all grants and credentials of principals {prefix}* stay at the broker, because {why}"
        )
    return (
        f"{len(view.kept.ledger.rules)} rules and the credentials of {len(principals)} "
        f"principals stay at the broker, because {why}: {', '.join(principals)}"
    )


def _dues(view: BrokerView) -> Iterator[datetime]:
    if unsupported(view.broker) is None and not view.look.busy:
        # 1 ms later, because a due time is rounded to the clock's resolution
        yield view.moment.now + timedelta(
            seconds=max(view.next_look - view.moment.uptime, 0.0) + 0.001
        )
    ends = patience_ends(view.broker)
    if ends is not None:
        yield ends
    if view.admin is not None:
        yield from view.admin.dues(view.moment.now)
    if view.network is not None and view.network.due is not None:
        yield view.network.due
    if view.exposure.due is not None:
        yield view.exposure.due
