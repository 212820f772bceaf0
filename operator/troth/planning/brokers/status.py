"""Status of a `MessageBroker`: what was observed there, and what is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from troth.planning import status as verdicts
from troth.planning.brokers.growth import Growth
from troth.planning.brokers.view import BrokerView
from troth.planning.brokers.work import ALLOW_REMOVALS, Work
from troth.planning.grants.dialects import unsupported
from troth.planning.network.broker_policy import TYPE as NETWORK
from troth.resources.conditions import Condition, Verdict
from troth.resources.messaging.message_broker_status import (
    ALL_NAMESPACES,
    LISTED_CLIENTS,
    LISTED_NAMESPACES,
    MessageBrokerStatus,
    every_client,
)
from troth.world.facts.objects import Fault

REACHABLE, IN_SYNC, BRAKED = "Reachable", "InSync", "Braked"
ADMIN_ROTATES = "AdminRotates"
ON_ITS_WAY = frozenset(
    {
        *("NotSeenYet", "Changing", "AwaitingCredentials", "Revoking"),
        *("PolicyPending", "WriteRefused"),
    }
)
"""Reasons that end without a person doing anything."""


@dataclass(frozen=True, slots=True)
class BrokerVerdicts:
    """Verdicts that Ready depends on, and verdicts beside them."""

    needed: tuple[Verdict, ...]
    beside: tuple[Verdict, ...]


def broker_verdicts(view: BrokerView) -> BrokerVerdicts:
    """Return the verdicts on a broker."""
    needed = (_reachable(view), _in_sync(view), _network(view))
    return BrokerVerdicts(needed, (_braked(view), *_admin(view)))


def broker_status(view: BrokerView) -> dict[str, Any]:
    """Return the status without its conditions.

    Values that are unknown now keep those of the previous status.
    """
    broker, work = view.broker, view.work
    told = broker.status
    if work is None:
        return told.model_copy(
            update={
                "observed_generation": broker.metadata.generation,
                "observed": view.exposure.observed,
                "clients_without_room": _clients_without_room(view),
                "conditions": (),
            }
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
        namespaces_without_room=_without_room(work.growth) or None,
        rotations_without_room=len(work.unrotated) or None,
        clients_without_room=_clients_without_room(view),
        observed=view.exposure.observed,
    ).manifest()


def _without_room(growth: Growth) -> tuple[str, ...]:
    if growth.over is None:
        return (ALL_NAMESPACES,)
    return tuple(sorted(filter(None, growth.over)))[:LISTED_NAMESPACES]


def _clients_without_room(view: BrokerView) -> tuple[str, ...] | None:
    """Return the clients that the NetworkPolicy does not admit, summed up by namespace if many."""
    if view.network is None:
        return view.broker.status.clients_without_room
    by_namespace: dict[str, list[str]] = {}
    for each in sorted(view.network.without_room):
        by_namespace.setdefault(each.namespace, []).append(str(each))
    left = len(view.network.without_room)
    for namespace, clients in sorted(by_namespace.items(), key=lambda each: -len(each[1])):
        if left <= LISTED_CLIENTS:
            break
        left -= len(clients) - 1
        by_namespace[namespace] = [every_client(namespace)]
    return tuple(chain.from_iterable(by_namespace.values()))[:LISTED_CLIENTS] or None


def _reachable(view: BrokerView) -> Verdict:
    look = view.look
    fault = unsupported(view.broker) or look.fault
    if fault is not None:
        return verdicts.false(REACHABLE, fault.reason, fault.message)
    if look.observed is None:
        return _unseen(view, REACHABLE, "the broker has not been observed yet")
    return verdicts.true(REACHABLE, "Seen", "the broker is reachable")


def _in_sync(view: BrokerView) -> Verdict:
    fault = view.fault or refused_change(view)
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


def _network(view: BrokerView) -> Verdict:
    return view.network.verdict if view.network is not None else _as_before(view, NETWORK)


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


def refused_change(view: BrokerView) -> Fault | None:
    """Return a fault that names a change that the broker rejected, None if there is none."""
    over = view.work is not None and view.work.step is None
    if not view.look.failures or over:
        return None
    change, said = min(view.look.failures.items(), key=str)
    whose = change[0] if isinstance(change, tuple) else change.principal
    message = f"the broker did not make every change; for {whose}: {said}"
    return Fault("ChangeRefused", message[:1024])


def _braked(view: BrokerView) -> Verdict:
    if view.work is None and _last(view, BRAKED) is not None:
        return _as_before(view, BRAKED)
    if view.work is not None and view.work.changes.braked:
        message = "removals wait until a person allows them; see InSync"
        return verdicts.true(BRAKED, "TooManyRemovals", message)
    return verdicts.false(BRAKED, "Released")


def _admin(view: BrokerView) -> Iterator[Verdict]:
    """Yield the verdict on the admin credential's rotation, if one is declared or under way."""
    if view.admin is None:
        return
    fault = view.admin.fault
    if fault is not None:
        yield verdicts.false(ADMIN_ROTATES, fault.reason, fault.message)
    else:
        yield verdicts.true(ADMIN_ROTATES, str(view.admin.phase))
