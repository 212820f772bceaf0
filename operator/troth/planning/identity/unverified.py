"""Peers without an identity: the finding about them, and when they begin, warn or end."""

from collections.abc import Iterator
from datetime import datetime

from troth.planning import verdicts
from troth.planning.identity.edge_status import describe_unverified
from troth.planning.identity.facts import View
from troth.planning.identity.gateway_only import WARNING
from troth.planning.parts import Part, fails_closed, unplanned
from troth.resources.conditions import Verdict
from troth.resources.identity.peers import UNVERIFIED_LIMIT, Unverified
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.schema.scalars import format_time

VERIFIED = "PeersVerified"


@fails_closed(unplanned())
def plan_unverified(view: View) -> Part:
    """Return the finding about peers without an identity, and when they begin, warn or end."""
    declared = (each.unverified for each in view.identity.spec.accepts)
    ends = [each.expires_at for each in declared if each is not None and each.expires_at]
    return Part(
        beside=tuple(peers_verified(view.identity, view.moment.now)),
        dues=tuple(due for end in ends for due in (end - UNVERIFIED_LIMIT, end - WARNING, end)),
    )


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
