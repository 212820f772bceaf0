"""Status of a `MessageBroker`: what was observed there, and what is wrong."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from troth.planning import verdicts
from troth.planning.brokers.admin_rotation import plan_admin
from troth.planning.brokers.growth import Growth
from troth.planning.brokers.next_step import (
    change_of,
    is_observed_next,
    is_over,
    is_settled,
    refused_change,
)
from troth.planning.brokers.view import BrokerView
from troth.planning.brokers.work import ALLOW_REMOVALS, Work
from troth.planning.grants.dialects import unsupported
from troth.planning.grants.finalizer import add_finalizer, is_held
from troth.planning.network.broker_policy import TYPE as NETWORK
from troth.planning.network.broker_policy import plan_broker_network
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.steps.brokers import ObserveBroker
from troth.planning.steps.step import Step
from troth.resources.conditions import Condition, Verdict
from troth.resources.messaging.message_broker_status import ALL_NAMESPACES, LISTED_NAMESPACES

REACHABLE, IN_SYNC, BRAKED = "Reachable", "InSync", "Braked"
ADMIN_ROTATES = "AdminRotates"


@fails_closed(unplanned(REACHABLE))
def plan_reachability(view: BrokerView) -> Part:
    """Return the part with the next observation of a broker."""
    steps = (ObserveBroker(view.broker.ref),) if is_observed_next(view) else ()
    dues = []
    if unsupported(view.broker) is None and not view.look.busy:
        wait = max(view.next_look - view.moment.uptime, 0.0)
        # 1 ms later, because a due time is rounded to the clock's resolution
        dues.append(view.moment.now + timedelta(seconds=wait + 0.001))
    return Part(verdicts=(_reachable(view),), steps=steps, dues=tuple(dues))


@fails_closed(unplanned(IN_SYNC))
def plan_sync(view: BrokerView) -> Part:
    """Return the part with the next change of a broker.

    Numbers that are unknown now keep those of the previous status.
    """
    step, work = change_of(view), view.work
    numbers = {} if work is None else _numbers(view, work)
    return Part(
        verdicts=(_in_sync(view),),
        steps=(step,) if step is not None else (),
        status=numbers,
    )


@fails_closed(unplanned(NETWORK))
def plan_network(view: BrokerView) -> Part:
    """Return the part on the NetworkPolicy of a broker, without steps once its deletion ends."""
    if view.clients is None:
        return Part(verdicts=(_as_before(view, NETWORK),))
    part = plan_broker_network(view.clients, view.moment.now)
    return replace(part, steps=()) if is_over(view) else part


@fails_closed(unplanned(beside=(BRAKED,)))
def plan_brake(view: BrokerView) -> Part:
    """Return the part on removals that wait for a person."""
    return Part(beside=(_braked(view),))


@fails_closed(unplanned(beside=(ADMIN_ROTATES,)))
def plan_admin_rotation(view: BrokerView) -> Part:
    """Return the part on the admin credential's rotation, if one is declared or under way."""
    if view.admin is None:
        return Part()
    state, now = plan_admin(view.admin, view.moment), view.moment.now
    step: Step | None = state.step if is_settled(view) else None
    if step is not None and not is_held(view.broker):
        step = add_finalizer(view.broker)
    verdict = verdicts.true(ADMIN_ROTATES, str(state.phase))
    if state.fault is not None:
        verdict = verdicts.false(ADMIN_ROTATES, state.fault.reason, state.fault.message)
    return Part(
        steps=(step,) if step is not None else (),
        dues=tuple(state.dues(now)),
        beside=(verdict,),
    )


def _numbers(view: BrokerView, work: Work) -> Mapping[str, Any]:
    """Return the fields of the status that an observation shows."""
    changes = work.changes
    return {
        "principals": len(view.kept.ledger.principals if view.kept is not None else ()),
        "foreign_grants": len(changes.foreign | changes.orphaned),
        "braked_removals": len(changes.braked) or None,
        "missing_grants": len(changes.additions) or None,
        "surplus_grants": len(changes.removals | changes.braked) or None,
        "namespaces_without_room": _without_room(work.growth) or None,
        "rotations_without_room": len(work.unrotated) or None,
    }


def _without_room(growth: Growth) -> tuple[str, ...]:
    if growth.over is None:
        return (ALL_NAMESPACES,)
    return tuple(sorted(filter(None, growth.over)))[:LISTED_NAMESPACES]


def _reachable(view: BrokerView) -> Verdict:
    look = view.look
    fault = unsupported(view.broker) or look.fault
    if fault is not None:
        return verdicts.false(REACHABLE, fault.reason, fault.message)
    if look.observed is None:
        return _unseen(view, REACHABLE, "the broker has not been observed yet")
    return verdicts.true(REACHABLE, "Seen", "the broker is reachable")


def _in_sync(view: BrokerView) -> Verdict:
    fault = view.removal_fault or view.fault or refused_change(view)
    if fault is not None:
        return verdicts.false(IN_SYNC, fault.reason, fault.message)
    work = view.work
    if view.look.observed is None:
        return _unseen(view, IN_SYNC, "the state of the broker is not known yet")
    if work is None:
        return _as_before(view, IN_SYNC)
    if view.leaving:
        message = "grants are being revoked before the MessageBroker is deleted"
        return verdicts.false(IN_SYNC, "Revoking", message)
    if work.changes.braked:
        message = (
            "more rules would be removed than brake.maxRemovals allows; if this is intended, set "
            f"the annotation {ALLOW_REMOVALS} to the number in status.brakedRemovals"
        )
        return verdicts.false(IN_SYNC, "Braked", message)
    if work.step is not None and not view.enforcing:
        message = (
            f"the broker differs from what is declared, and mode {view.broker.spec.mode} leaves "
            "it unchanged; to apply the difference, set mode: Enforce"
        )
        return verdicts.false(IN_SYNC, "NotEnforced", message)
    return _under_way(work)


def _under_way(work: Work) -> Verdict:
    """Return the verdict on a broker that Troth may change."""
    if work.growth.is_limited:
        over = work.growth.over
        whose = (
            ""
            if over is None
            else f" of {verdicts.some(sorted(over))}, which use more than their share"
        )
        effective, waiting = ("revocations and rotations take", "")
        if work.unrotated:
            rotations = f"the rotations of {verdicts.some(sorted(work.unrotated))}, "
            effective, waiting = "revocations take", rotations
        message = (
            f"the ledger of this broker has no room in its ConfigMap, so {effective} effect but "
            f"{waiting}new grants and first credentials{whose} do not; remove grants, or divide "
            "them over several MessageBrokers with their own principalPrefix (see docs/limits.md)"
        )
        return verdicts.false(IN_SYNC, "LedgerFull", message)
    if work.step is not None:
        return verdicts.false(IN_SYNC, "Changing", "changes at the broker are in progress")
    if work.waiting:
        message = (
            f"changes wait for the credential Secrets of {verdicts.some(sorted(work.waiting))}"
        )
        return verdicts.false(IN_SYNC, "AwaitingCredentials", message)
    if work.unaccounted:
        principals = verdicts.some(sorted(work.unaccounted))
        message = (
            f"the broker has rules or a credential of {principals}, a principal "
            "name that only Troth uses, but no ledger records them, so they stay; remove them at "
            "the broker, or declare what they grant"
        )
        return verdicts.false(IN_SYNC, "Unaccounted", message)
    return verdicts.true(IN_SYNC, "InSync", "the broker matches what is declared")


def _unseen(view: BrokerView, type_: str, message: str) -> Verdict:
    """Return the last verdict if it is on the same generation, otherwise Unknown.

    An earlier process of the operator wrote that verdict.
    """
    told = view.broker.status.observed_generation
    if told == view.broker.metadata.generation and _last(view, type_) is not None:
        return _as_before(view, type_)
    return verdicts.unknown(type_, "NotSeenYet", message)


def _last(view: BrokerView, type_: str) -> Condition | None:
    return next((each for each in view.broker.status.conditions if each.type == type_), None)


def _as_before(view: BrokerView, type_: str) -> Verdict:
    """Return the last verdict, while an observation or a change is in progress."""
    last = _last(view, type_)
    if last is None:
        return verdicts.false(
            type_, "Changing", "an observation or a change of the broker is in progress"
        )
    return Verdict(type=type_, status=last.status, reason=last.reason, message=last.message)


def _braked(view: BrokerView) -> Verdict:
    if view.work is None and _last(view, BRAKED) is not None:
        return _as_before(view, BRAKED)
    if view.work is not None and view.work.changes.braked:
        message = "removals wait until a person allows them; see InSync"
        return verdicts.true(BRAKED, "TooManyRemovals", message)
    return verdicts.false(BRAKED, "Released")
