"""Gateway-only trust: until when an identity may trust its gateway.

It ends at its `expiresAt`, and in any case a fixed time after Troth first accepted it. A later
`expiresAt` moves the first end only. The time of the first acceptance is in the identity's status,
and in a record in Troth's namespace that outlives the identity.
"""

from datetime import datetime

from troth.resources.identity.authentication import (
    GATEWAY_TRUST_CEILING,
    GATEWAY_TRUST_LIMIT,
)
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.schema.scalars import format_time
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.trust_records import (
    MOST_RECORDS,
    RECORD_PREFIX,
    UNREADABLE,
    former_record,
    record_name,
)
from troth.trust.edges.candidate import EdgeCandidate, EdgeObstacle


def first_accepted(identity: ServiceIdentity, registry: Registry) -> datetime | None:
    """Return when Troth first accepted gateway-only trust of this name, None if it never did.

    The earlier of record and status counts, because either can be lost. A record that cannot be
    read counts only if the status knows nothing.
    """
    said, recorded = (
        identity.status.gateway_trusted_since,
        registry.trust_records.of(identity.ref),
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
        message = _ended(identity, since, registry)
        return EdgeObstacle(EdgeState.REFUSED, "GatewayTrustEnded", message)
    if now < trust.counts_from:
        message = (
            f"expiresAt is more than {GATEWAY_TRUST_LIMIT.days} days ahead; write an earlier time"
        )
        return EdgeObstacle(EdgeState.REFUSED, "GatewayTrustTooLong", message)
    if not registry.trust_records.has_room(identity.ref):
        message = (
            f"namespace {identity.ref.namespace} has {MOST_RECORDS} records of gateway-only trust, "
            "the maximum, so the trust of another identity cannot be recorded and nobody is "
            "accepted; use mtls or token, or have an administrator delete records of identities "
            f"that no longer exist: ConfigMaps {RECORD_PREFIX}{identity.ref.namespace}.<identity> "
            "in Troth's namespace"
        )
        return EdgeObstacle(EdgeState.REFUSED, "TooManyTrustRecords", message)
    return None


def _ended(identity: ServiceIdentity, since: datetime | None, registry: Registry) -> str:
    if since is None or since == UNREADABLE:
        former = registry.trust_records.kept(identity.ref) is None
        name = former_record(identity.ref).name if former else record_name(identity.ref)
        where = "this namespace" if former else "Troth's namespace"
        return (
            "the record of when gateway-only trust was first accepted cannot be read; have an "
            f"administrator correct or delete ConfigMap {name} in {where}"
        )
    return (
        f"gateway-only trust of ServiceIdentity {identity.ref} was first accepted at "
        f"{format_time(since)} and cannot last longer than {GATEWAY_TRUST_CEILING.days} days; use "
        "mtls or token, or declare the workload under another name"
    )
