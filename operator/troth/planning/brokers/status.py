"""How a broker's status tells of what was seen there, and of what is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from troth.planning import status as verdicts
from troth.planning.brokers.view import BrokerView
from troth.planning.brokers.work import ALLOW_REMOVALS
from troth.planning.grants.dialects import unsupported
from troth.planning.network.broker_policy import TYPE as NETWORK
from troth.resources.conditions import Condition, Verdict
from troth.resources.messaging.message_broker_status import MessageBrokerStatus
from troth.world.facts.objects import Fault

REACHABLE, IN_SYNC, BRAKED = "Reachable", "InSync", "Braked"
ADMIN_ROTATES = "AdminRotates"
ON_ITS_WAY = frozenset(
    {
        *("NotSeenYet", "Changing", "AwaitingCredentials", "Revoking"),
        *("PolicyPending", "WriteRefused"),
    }
)
"""Reasons that pass without a person doing anything."""
LISTED = 5
"""How many names a sentence has of many."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What Ready needs, and what else there is to say."""

    needed: tuple[Verdict, ...]
    beside: tuple[Verdict, ...]


def judged(view: BrokerView) -> Judged:
    """Return how a broker stands."""
    needed = (_reachable(view), _in_sync(view), _network(view))
    return Judged(needed, (_braked(view), *_admin(view)))


def broker_status(view: BrokerView) -> dict[str, Any]:
    """Return the status without its conditions; what cannot be told now is as it was told last."""
    broker, work = view.broker, view.work
    told = broker.status
    if work is None:
        return told.model_copy(
            update={"observed_generation": broker.metadata.generation, "conditions": ()}
        ).manifest()
    changes = work.changes
    principals = view.kept.ledger.principals if view.kept is not None else ()
    return MessageBrokerStatus(
        observed_generation=broker.metadata.generation,
        principals=len(principals),
        foreign_grants=len(changes.foreign | changes.orphaned),
        braked_removals=len(changes.braked) or None,
        missing_grants=len(changes.additions) or None,
        surplus_grants=len(changes.removals | changes.braked) or None,
    ).manifest()


def _reachable(view: BrokerView) -> Verdict:
    look = view.look
    fault = unsupported(view.broker) or look.fault
    if fault is not None:
        return verdicts.false(REACHABLE, fault.reason, fault.message)
    if look.observed is None:
        return _unseen(view, REACHABLE, "the broker has not been looked at yet")
    return verdicts.true(REACHABLE, "Seen", "the broker answers")


def _in_sync(view: BrokerView) -> Verdict:
    fault = view.fault or refused_change(view)
    if fault is not None:
        return verdicts.false(IN_SYNC, fault.reason, fault.message)
    work = view.work
    if view.look.observed is None:
        return _unseen(view, IN_SYNC, "what the broker has is not known yet")
    if work is None:
        return _as_before(view, IN_SYNC)
    if view.leaving:
        message = "what was granted is being taken back; then the MessageBroker is gone"
        return verdicts.false(IN_SYNC, "Revoking", message)
    if work.changes.braked:
        message = (
            "more rules would be removed than brake.maxRemovals lets pass; see whether that is "
            f"meant, and write the annotation {ALLOW_REMOVALS} with the number in "
            "status.brakedRemovals"
        )
        return verdicts.false(IN_SYNC, "Braked", message)
    if work.step is not None and not view.enforcing:
        message = (
            f"mode is {view.broker.spec.mode}: the broker differs from what is declared, and is "
            "not changed"
        )
        return verdicts.false(IN_SYNC, "NotEnforced", message)
    if work.step is not None:
        return verdicts.false(IN_SYNC, "Changing", "the broker is being changed")
    if work.waiting:
        message = f"the Secrets of {_some(work.waiting)} are awaited"
        return verdicts.false(IN_SYNC, "AwaitingCredentials", message)
    if work.unaccounted:
        message = (
            f"the broker has rules or a credential of {_some(work.unaccounted)}, a name that only "
            "Troth gives, that no ledger accounts for; they are left alone: remove them at the "
            "broker, or declare what they grant"
        )
        return verdicts.false(IN_SYNC, "Unaccounted", message)
    return verdicts.true(IN_SYNC, "InSync", "the broker has what is declared")


def _network(view: BrokerView) -> Verdict:
    return view.network.verdict if view.network is not None else _as_before(view, NETWORK)


def _unseen(view: BrokerView, type_: str, message: str) -> Verdict:
    """Return what was told last of the same broker, by an operator that ran before this one."""
    told = view.broker.status.observed_generation
    if told == view.broker.metadata.generation and _last(view, type_) is not None:
        return _as_before(view, type_)
    return verdicts.unknown(type_, "NotSeenYet", message)


def _last(view: BrokerView, type_: str) -> Condition | None:
    return next((each for each in view.broker.status.conditions if each.type == type_), None)


def _as_before(view: BrokerView, type_: str) -> Verdict:
    """Return what was told last, while a look or a change is under way."""
    last = _last(view, type_)
    if last is None:
        return verdicts.false(type_, "Changing", "the broker is being worked with")
    return Verdict(type=type_, status=last.status, reason=last.reason, message=last.message)


def refused_change(view: BrokerView) -> Fault | None:
    """Return which change the broker did not carry out, if there is one."""
    over = view.work is not None and view.work.step is None
    if not view.look.failures or over:
        return None
    change, said = min(view.look.failures.items(), key=str)
    whose = change[0] if isinstance(change, tuple) else change.principal
    message = f"the broker did not carry out every change; of {whose} it says: {said}"
    return Fault("ChangeRefused", message[:1024])


def _braked(view: BrokerView) -> Verdict:
    if view.work is None and _last(view, BRAKED) is not None:
        return _as_before(view, BRAKED)
    if view.work is not None and view.work.changes.braked:
        message = "removals wait for a person; see InSync"
        return verdicts.true(BRAKED, "TooManyRemovals", message)
    return verdicts.false(BRAKED, "Released")


def _admin(view: BrokerView) -> Iterator[Verdict]:
    """Yield how the credential that administers the broker stands, where it is to be replaced."""
    if view.admin is None:
        return
    fault = view.admin.fault
    if fault is not None:
        yield verdicts.false(ADMIN_ROTATES, fault.reason, fault.message)
    else:
        yield verdicts.true(ADMIN_ROTATES, str(view.admin.phase))


def _some(names: frozenset[str]) -> str:
    listed = sorted(names)[:LISTED]
    return ", ".join(listed) + (" and others" if len(names) > LISTED else "")
