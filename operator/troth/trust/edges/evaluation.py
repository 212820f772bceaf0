"""Edges: one caller, one callee, one port, and whether both sides consent.

Each check is a small pure function of one frozen input. The first that closes the edge decides its
state and reason, else the first that suspends it.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.unlisted import UNLISTED, unlisted_message
from troth.trust.declarations.unread import UNREAD
from troth.trust.edges.candidate import (
    Check,
    EdgeCandidate,
    EdgeObstacle,
    deciding_obstacle,
    find_port,
)
from troth.trust.edges.deliveries import gateway_delivers, how_to_accept
from troth.trust.edges.domains import both_governed, callee_may_decide, domains_permit
from troth.trust.edges.gateway_shares import gateway_has_room
from troth.trust.edges.gateway_trust import gateway_trust_holds


@dataclass(frozen=True, slots=True)
class Edge:
    """Declared edge between two identities on one port of the callee.

    An edge that only one side declares stands for all such ports of the pair: `together`, of which
    `port` is the first.
    """

    caller: Ref
    callee: Ref
    port: str
    state: EdgeState
    reason: str = ""
    message: str = ""
    together: AbstractSet[str] = frozenset()

    @property
    def ports(self) -> AbstractSet[str]:
        """Every port of the edge."""
        return self.together or frozenset((self.port,))


def peers_exist(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that both identities exist, readable or not."""
    registry = candidate.registry
    for ref, state in (
        (candidate.caller, EdgeState.AWAITING_CALLER),
        (candidate.callee, EdgeState.AWAITING_CALLEE),
    ):
        if ref in registry.terminating_identities:
            message = f"ServiceIdentity {ref} is being deleted; remove the entry"
            return EdgeObstacle(state, "PeerTerminating", message)
        if ref not in registry.identities and not registry.is_unreadable(ref):
            advice = "create it or remove the entry"
            message = registry.watched.missing(ServiceIdentity, ref, advice)
            return EdgeObstacle(state, "PeerMissing", message)
    return None


def peers_readable(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that both identities are readable. An unreadable one suspends the edge."""
    for ref in (candidate.caller, candidate.callee):
        if ref in candidate.registry.invalid_identities:
            message = f"ServiceIdentity {ref} cannot be read; correct it"
            return EdgeObstacle(EdgeState.SUSPENDED, "PeerInvalid", message)
        if candidate.registry.is_unreadable(ref):
            message = unlisted_message(ref.namespace)
            return EdgeObstacle(EdgeState.SUSPENDED, UNLISTED, message)
    return None


def callee_accepts(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that the callee declares the port and accepts the caller on it."""
    callee, port, identity = candidate.callee, candidate.port, candidate.callee_identity
    if identity is None:
        return None
    if find_port(identity, port) is None:
        message = f"{callee} declares no port {port}; correct the name or add it to workload.ports"
        return EdgeObstacle(EdgeState.AWAITING_CALLEE, "PortUndeclared", message)
    if port not in candidate.registry.declared(callee).accepts.get(candidate.caller, ()):
        message = (
            f"{callee} does not accept {candidate.caller} on {port}; {how_to_accept(candidate)}"
        )
        return EdgeObstacle(EdgeState.AWAITING_CALLEE, "NotAccepted", message)
    return None


def caller_calls(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that the caller declares the call, unless the callee's consent may be enough.

    The caller's side of a gateway's delivery is always required: an endpoint declares it.
    """
    identity = candidate.caller_identity
    if identity is None or candidate.is_called:
        return None
    if identity.spec.serves_webhooks is not None:
        return gateway_delivers(candidate)
    return callee_may_decide(candidate)


def caller_has_certificate(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that the caller has a certificate to present."""
    identity = candidate.caller_identity
    if identity is None or identity.spec.authentication.gateway_only is None:
        return None
    message = (
        f"{candidate.caller} is gatewayOnly and has no identity to present; use mtls or token there"
    )
    return EdgeObstacle(EdgeState.REFUSED, "CallerHasNoCertificate", message)


def declarations_read(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that everything that declares the edge was read lately. Otherwise suspend it."""
    caller = candidate.caller_identity
    why = candidate.registry.unread.about_edge(
        candidate.caller.namespace,
        candidate.callee.namespace,
        delivers=caller is not None and caller.spec.serves_webhooks is not None,
    )
    return EdgeObstacle(EdgeState.SUSPENDED, UNREAD, why) if why else None


def nobody_shares(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that neither side shares its ServiceAccount or its pods with another identity."""
    for ref in (candidate.caller, candidate.callee):
        readable = ref in candidate.registry.identities
        shared = candidate.registry.shared_identity(ref) if readable else None
        if shared is not None:
            return EdgeObstacle(EdgeState.SUSPENDED, "SharedIdentity", shared.message)
    return None


CALLEE_NOT_NARROWED, CALLER_NOT_NARROWED = "CalleeNotNarrowed", "CallerNotNarrowed"
"""Reasons for which an edge is closed although both sides declare it."""


def documents_narrowed(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that no `identity.json` of either side grants more than declared and is unwritable."""
    for ref, peer, reason in (
        (candidate.callee, candidate.caller, CALLEE_NOT_NARROWED),
        (candidate.caller, candidate.callee, CALLER_NOT_NARROWED),
    ):
        inbound = reason == CALLEE_NOT_NARROWED
        narrowing = candidate.registry.unapplied.get(ref)
        if narrowing is not None and narrowing.closes(peer, inbound=inbound):
            return EdgeObstacle(EdgeState.REFUSED, reason, not_narrowed(ref))
    return None


def not_narrowed(ref: Ref) -> str:
    """Return the message of an edge that the document of an identity closes."""
    return (
        f"the identity.json of ServiceIdentity {ref} still grants more than is declared and "
        "cannot be written, so the edge is closed; see its Ready condition"
    )


CHECKS: tuple[Check, ...] = (
    peers_exist,
    peers_readable,
    callee_accepts,
    caller_calls,
    gateway_has_room,
    caller_has_certificate,
    gateway_trust_holds,
    both_governed,
    domains_permit,
    declarations_read,
    nobody_shares,
    documents_narrowed,
)
"""Checks in the order in which their reasons count. What closes an edge counts before all that
suspends it, so a refused edge closes even if something else is unsettled."""


def evaluate(candidate: EdgeCandidate) -> Edge:
    """Return the edge with its state."""
    edge = candidate.caller, candidate.callee, candidate.port
    obstacle = deciding_obstacle(candidate, CHECKS)
    if obstacle is None:
        return Edge(*edge, EdgeState.LIVE)
    return Edge(*edge, obstacle.state, obstacle.reason, obstacle.message)


Evaluate = Callable[[EdgeCandidate], Edge]


def evaluate_or_refuse(candidate: EdgeCandidate) -> Edge:
    """Return the edge with its state, `Refused` if a check raises an error."""
    try:
        return evaluate(candidate)
    except Exception as error:  # noqa: BLE001 - fail closed on any error
        message = (
            f"judging this edge failed with {type(error).__name__}, which is a bug in Troth; "
            "report it with the operator's log"
        )
        edge = candidate.caller, candidate.callee, candidate.port
        return Edge(*edge, EdgeState.REFUSED, "InternalError", message)
