"""Gateway-only trust: until when an identity may trust its gateway.

It ends at its `expiresAt`, and in any case a fixed time after Troth first accepted it. A later
`expiresAt` moves the first end only. The time of the first acceptance is in the identity's status,
and in a record beside it that outlives the identity.
"""

from datetime import UTC, datetime

from troth.resources.identity.authentication import (
    GATEWAY_TRUST_CEILING,
    GATEWAY_TRUST_LIMIT,
)
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.schema.scalars import format_time
from troth.trust.declarations.registry import Registry
from troth.trust.edges.candidate import EdgeCandidate, EdgeObstacle

UNREADABLE = datetime.min.replace(tzinfo=UTC)
"""Time of the first acceptance in a record that cannot be read: too long ago."""


def first_accepted(identity: ServiceIdentity, registry: Registry) -> datetime | None:
    """Return when Troth first accepted gateway-only trust of this name, None if it never did.

    The earlier of record and status counts, because a person can change the record. A record that
    cannot be read counts only if the status knows nothing.
    """
    said, recorded = (
        identity.status.gateway_trusted_since,
        registry.trust_records.get(identity.ref),
    )
    if recorded == UNREADABLE and said is not None:
        return said
    return min((each for each in (said, recorded) if each is not None), default=None)


def trust_ends(expires_at: datetime, since: datetime | None) -> datetime:
    """Return when gateway-only trust ends that was first accepted at a time, None for never."""
    if since is None or since == UNREADABLE:
        return since or expires_at
    return min(expires_at, since + GATEWAY_TRUST_CEILING)


def gateway_trust_holds(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that the end of gateway-only trust is in the future and near enough."""
    identity = candidate.callee_identity
    if identity is None:
        return None
    return gateway_trust_fault(identity, candidate.registry, candidate.now)


def gateway_trust_fault(
    identity: ServiceIdentity, registry: Registry, now: datetime
) -> EdgeObstacle | None:
    """Return why gateway-only trust admits nobody, None if it admits its gateway or is not used."""
    trust = identity.spec.authentication.gateway_only
    if trust is None:
        return None
    if trust.expires_at <= now:
        message = (
            "gateway-only trust has expired; use mtls or token, or agree on a new expiresAt with "
            "its owner"
        )
        return EdgeObstacle(EdgeState.REFUSED, "GatewayTrustExpired", message)
    since = first_accepted(identity, registry)
    if trust_ends(trust.expires_at, since) <= now:
        return EdgeObstacle(EdgeState.REFUSED, "GatewayTrustEnded", _ended(identity, since))
    if now < trust.counts_from:
        message = (
            f"expiresAt is more than {GATEWAY_TRUST_LIMIT.days} days ahead; write an earlier time"
        )
        return EdgeObstacle(EdgeState.REFUSED, "GatewayTrustTooLong", message)
    return None


def _ended(identity: ServiceIdentity, since: datetime | None) -> str:
    if since is None or since == UNREADABLE:
        return (
            "the record of when gateway-only trust was first accepted cannot be read; correct or "
            f"delete the ConfigMap {identity.ref}-gateway-trust"
        )
    return (
        f"gateway-only trust of ServiceIdentity {identity.ref} was first accepted at "
        f"{format_time(since)} and cannot last longer than {GATEWAY_TRUST_CEILING.days} days; use "
        "mtls or token, or declare the workload under another name"
    )
