"""Exceptions from mutual authentication, which end: gateway-only trust and unverified peers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from troth.planning import faults
from troth.planning import status as verdicts
from troth.planning.identity.edge_status import describe_unverified
from troth.planning.identity.facts import View
from troth.planning.identity.layer import unwritten
from troth.planning.identity.trust_record import record_steps
from troth.planning.owned_objects import FOREIGN_RETRY
from troth.planning.steps.step import Step
from troth.resources.conditions import Verdict
from troth.resources.identity.peers import UNVERIFIED_LIMIT, Unverified
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.schema.scalars import format_time
from troth.trust.declarations.trust_records import UNREADABLE
from troth.trust.edges.evaluation import Edge
from troth.trust.edges.gateway_trust import first_accepted, gateway_trust_fault, trust_ends
from troth.world.facts.objects import OWNER_KIND, Fault

WARNING = timedelta(days=14)
"""Time before the end of an exception from which its condition warns."""
TRUST, VERIFIED = "GatewayTrusted", "PeersVerified"
RECORD_PENDING = "GatewayTrustPending"
"""Reason of trust that counts as soon as its begin is recorded."""


@dataclass(frozen=True, slots=True)
class TrustLayer:
    """Condition of gateway-only trust, and the steps that record when it was first accepted.

    `fault` is why it admits nobody although it has not ended.
    """

    verdicts: tuple[Verdict, ...] = ()
    steps: tuple[Step, ...] = ()
    fault: Verdict | None = None

    def edges(self, view: View) -> tuple[Edge, ...]:
        """Return the identity's edges; without a record, nobody is accepted."""
        if self.fault is None:
            return view.edges
        reason, message = self.fault.reason, self.fault.message
        me = view.identity.ref
        return tuple(
            replace(edge, state=EdgeState.REFUSED, reason=reason, message=message)
            if edge.callee == me and edge.state is not EdgeState.REFUSED
            else edge
            for edge in view.edges
        )


def unplanned_trust(view: View, error: Exception) -> TrustLayer:
    """Return the layer of an identity whose gateway-only trust cannot be planned."""
    verdict = faults.verdict(TRUST, error)
    return TrustLayer((verdict,), fault=verdict if view.gateway_only is not None else None)


def plan_gateway_trust(view: View) -> TrustLayer:
    """Return the condition of gateway-only trust, if it is declared, and the steps that record it.

    An identity that no longer declares it keeps its record. Nobody is accepted before the time of
    the first acceptance is recorded.
    """
    trust, identity, since = view.gateway_only, view.identity, trusted_since(view)
    steps = record_steps(view.record, since, view.moment.now)
    if trust is None:
        return TrustLayer(steps=steps)
    ended = gateway_trust_fault(identity, view.registry, view.moment.now)
    if ended is not None:
        return TrustLayer((verdicts.false(TRUST, ended.reason, ended.message),), steps)
    obstacle = _obstacle(view)
    if obstacle is not None:
        verdict = verdicts.false(TRUST, obstacle.reason, obstacle.message)
        return TrustLayer((verdict,), fault=verdict)
    rejected = unwritten(TRUST, view.record.owned.write_fault)
    if rejected is not None:
        return TrustLayer((rejected,), steps, rejected)
    if since is not None and first_accepted(identity, view.registry) is None:
        message = f"ConfigMap {view.record.ref}, the record of gateway-only trust, is being written"
        pending = verdicts.false(TRUST, RECORD_PENDING, message)
        return TrustLayer((pending,), steps, pending)
    end, whose = trust_ends(trust.expires_at, since), f"owner {trust.owner}, reason: {trust.reason}"
    if end > view.moment.now + WARNING:
        return TrustLayer((verdicts.true(TRUST, "UntilItsEnd", whose),), steps)
    final = "" if end == trust.expires_at else ", and cannot be extended under this name"
    message = (
        f"gateway-only trust expires at {format_time(end)}{final}; from then on, every caller is "
        f"rejected ({whose})"
    )
    return TrustLayer((verdicts.true(TRUST, "GatewayTrustEnding", message),), steps)


def trusted_since(view: View) -> datetime | None:
    """Return when gateway-only trust of this name was first accepted, now if it is accepted now.

    A record of the future, which only a person writes, counts from now. Otherwise the trust could
    be extended without an end.
    """
    since = first_accepted(view.identity, view.registry)
    if since == UNREADABLE:
        return None
    accepted = view.gateway_only is not None and view.domain is not None
    if since is None and accepted:
        fault = gateway_trust_fault(view.identity, view.registry, view.moment.now)
        return view.moment.now if fault is None else None
    return min(since, view.moment.now) if since is not None else None


def _obstacle(view: View) -> Fault | None:
    """Return why the record cannot be written, None if it can."""
    found, seen = view.record.owned.fact, view.record.owned.seen
    taken = found is not None and found.labels.get(OWNER_KIND) == "TrustDomain"
    if taken or (seen is not None and view.moment.now < seen + FOREIGN_RETRY):
        message = (
            f"ConfigMap {view.record.ref} is not the record of this identity's gateway-only "
            "trust, so nobody is accepted; have an administrator rename or delete it, or rename "
            "this ServiceIdentity"
        )
        return Fault("Conflict", message)
    return None


def exception_dues(view: View) -> Iterator[datetime]:
    """Yield the times at which an exception opens, warns or ends."""
    trust = view.gateway_only
    if trust is not None:
        end = trust_ends(trust.expires_at, trusted_since(view))
        yield trust.counts_from
        yield end - WARNING
        yield end
        if view.record.owned.seen is not None:
            yield view.record.owned.seen + FOREIGN_RETRY
    for each in view.identity.spec.accepts:
        if each.unverified is not None and each.unverified.expires_at is not None:
            end = each.unverified.expires_at
            yield end - UNVERIFIED_LIMIT
            yield end - WARNING
            yield end


def peers_verified(identity: ServiceIdentity, now: datetime) -> Iterator[Verdict]:
    """Yield the finding about peers without an identity, if the identity accepts any.

    It is about the first that the network no longer admits, else the first without an end, else the
    one that ends first. It is never part of Ready: a person has declared the peers, and may have
    good reasons.
    """
    peers = [each.unverified for each in identity.spec.accepts if each.unverified is not None]
    if not peers:
        return
    faulty = next((each for each in peers if each.fault(now)), None)
    endless = next((each for each in peers if each.expires_at is None), None)
    first = min(peers, key=lambda each: each.expires_at or now)
    yield unverified_verdict(faulty or endless or first, now)


def unverified_verdict(peer: Unverified, now: datetime) -> Verdict:
    """Return the finding about one peer without an identity."""
    if peer.expires_at is None:
        message = (
            f"the network is open to {_who(peer)} without an identity and without an end; set "
            "unverified.expiresAt, or give the peer a ServiceIdentity"
        )
        return verdicts.false(VERIFIED, "UnverifiedWithoutEnd", message)
    end, fault = format_time(peer.expires_at), peer.fault(now)
    if fault is not None:
        remedy = (
            "remove the entry, or decide again and write a later unverified.expiresAt"
            if peer.expires_at <= now
            else f"write an unverified.expiresAt at most {UNVERIFIED_LIMIT.days} days ahead"
        )
        message = f"the network is closed to {_who(peer)}, whose end is {end}; {remedy}"
        return verdicts.false(VERIFIED, fault, message)
    reason = "UnverifiedEnding" if peer.expires_at <= now + WARNING else "Unverified"
    message = (
        f"the network is open to {_who(peer)} without an identity until {end}; give the peer a "
        "ServiceIdentity"
    )
    return verdicts.false(VERIFIED, reason, message)


def _who(unverified: Unverified) -> str:
    return describe_unverified(unverified)[:200]
