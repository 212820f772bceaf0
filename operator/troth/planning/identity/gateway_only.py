"""Gateway-only trust, an exception from mutual authentication that ends, and its record."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from troth.planning import faults, verdicts
from troth.planning.identity.facts import View
from troth.planning.identity.trust_record import record_steps
from troth.planning.owned_objects import FOREIGN_RETRY, rechecks
from troth.planning.parts import Part, fails_closed
from troth.resources.conditions import Verdict
from troth.resources.identity.authentication import GatewayOnly
from troth.resources.identity.status import EdgeState
from troth.resources.schema.scalars import format_time
from troth.trust.declarations.trust_records import UNREADABLE
from troth.trust.edges.gateway_trust import first_accepted, gateway_trust_fault, trust_ends
from troth.world.facts.objects import OWNER_KIND, Fault

WARNING = timedelta(days=14)
"""Time before the end of an exception at which its condition starts to warn."""
TRUST = "GatewayTrusted"
"""Reason of trust that counts as soon as its begin is recorded."""


@dataclass(frozen=True, slots=True)
class TrustPart(Part):
    """The part of gateway-only trust; `refusal` is why nobody is accepted before it ends."""

    refusal: Verdict | None = None

    def applied(self, view: View) -> View:
        """Return the view with the edges refused that the refusal closes."""
        if self.refusal is None:
            return view
        me, reason, message = view.identity.ref, self.refusal.reason, self.refusal.message
        edges = (
            replace(edge, state=EdgeState.REFUSED, reason=reason, message=message)
            if edge.callee == me and edge.state is not EdgeState.REFUSED
            else edge
            for edge in view.edges
        )
        return replace(view, edges=tuple(edges))


def _closed(error: Exception, view: View) -> TrustPart:
    verdict = faults.verdict(TRUST, error)
    return TrustPart((verdict,), refusal=verdict if view.gateway_only is not None else None)


@fails_closed(_closed)
def plan_gateway_trust(view: View) -> TrustPart:
    """Return the condition of gateway-only trust, if it is declared, and the steps that record it.

    An identity that no longer declares it keeps its record. Nobody is accepted before the time of
    the first acceptance is recorded.
    """
    trust, since, now = view.gateway_only, trusted_since(view), view.moment.now
    steps, status = record_steps(view.record, since, now), {"gateway_trusted_since": since}
    if trust is None:
        return TrustPart(steps=steps, status=status)
    dues = tuple(_trust_dues(view, trust))
    ended = gateway_trust_fault(view.identity, view.registry, now)
    if ended is not None:
        verdict = verdicts.false(TRUST, ended.reason, ended.message)
        return TrustPart((verdict,), steps, dues, status)
    obstacle = verdicts.faulty(TRUST, _obstacle(view))
    if obstacle is not None:
        return TrustPart((obstacle,), (), dues, status, refusal=obstacle)
    refusal = verdicts.faulty(TRUST, view.record.owned.write_fault) or _pending(view, since)
    return TrustPart(
        (refusal or _accepted(trust, since, now),), steps, dues, status, refusal=refusal
    )


def _pending(view: View, since: datetime | None) -> Verdict | None:
    """Return the condition of trust whose record is being written."""
    if since is None or first_accepted(view.identity, view.registry) is not None:
        return None
    message = f"ConfigMap {view.record.ref}, the record of gateway-only trust, is being written"
    return verdicts.false(TRUST, "GatewayTrustPending", message)


def _accepted(trust: GatewayOnly, since: datetime | None, now: datetime) -> Verdict:
    end, whose = trust_ends(trust.expires_at, since), f"owner {trust.owner}, reason: {trust.reason}"
    if end > now + WARNING:
        return verdicts.true(TRUST, "UntilItsEnd", whose)
    final = "" if end == trust.expires_at else ", and cannot be extended under this name"
    message = (
        f"gateway-only trust expires at {format_time(end)}{final}; from then on, every caller is "
        f"rejected ({whose})"
    )
    return verdicts.true(TRUST, "GatewayTrustEnding", message)


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


def _trust_dues(view: View, trust: GatewayOnly) -> Iterator[datetime]:
    """Yield the times at which gateway-only trust opens, warns or ends."""
    end = trust_ends(trust.expires_at, trusted_since(view))
    yield from (trust.counts_from, end - WARNING, end)
    yield from rechecks(view.record.owned)
