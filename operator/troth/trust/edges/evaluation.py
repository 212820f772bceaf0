"""Edges: one caller, one callee, one port, and whether both sides consent.

Each check is a small pure function of one frozen input. The first check that fails decides the
state of the edge, and names the reason.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import Consent, TrustDomain
from troth.trust.declarations.governance import Governance, lists
from troth.trust.declarations.registry import Registry
from troth.trust.edges.candidate import Check, EdgeCandidate, EdgeObstacle, find_port
from troth.trust.edges.deliveries import gateway_delivers, how_to_accept
from troth.trust.edges.federation import UNCONFINED, unconfined_message
from troth.trust.edges.gateway_trust import gateway_trust_holds
from troth.trust.edges.names import audience_holder


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
    """Check that both identities exist. An unreadable one suspends the edge."""
    for ref, state in (
        (candidate.caller, EdgeState.AWAITING_CALLER),
        (candidate.callee, EdgeState.AWAITING_CALLEE),
    ):
        if ref in candidate.registry.invalid_identities:
            message = f"ServiceIdentity {ref} cannot be read; correct it"
            return EdgeObstacle(EdgeState.SUSPENDED, "PeerInvalid", message)
        if ref in candidate.registry.terminating_identities:
            message = f"ServiceIdentity {ref} is being deleted; remove the entry"
            return EdgeObstacle(state, "PeerTerminating", message)
        if ref not in candidate.registry.identities:
            advice = "create it or remove the entry"
            message = candidate.registry.watched.missing(ServiceIdentity, ref, advice)
            return EdgeObstacle(state, "PeerMissing", message)
    return None


def callee_accepts(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that the callee declares the port and accepts the caller on it."""
    callee, port = candidate.callee, candidate.port
    identity = candidate.callee_identity
    assert identity is not None
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
    """Check that the caller declares the call, unless both domains require only the callee's
    consent.

    The caller's side of a gateway's delivery is always required: an endpoint declares it.
    """
    identity = candidate.caller_identity
    assert identity is not None
    called = candidate.registry.declared(candidate.caller).calls
    if candidate.port in called.get(candidate.callee, ()):
        return None
    if identity.spec.serves_webhooks is not None:
        return gateway_delivers(candidate)
    if all(domain and domain.spec.consent is Consent.CALLEE for domain in candidate.domains):
        return None
    if all(map(_might_go_without, candidate.governances)):
        unsettled = next(each for each in candidate.governances if not each.settled)
        return EdgeObstacle(EdgeState.SUSPENDED, unsettled.reason, unsettled.message)
    message = f"{candidate.caller} does not call {candidate.callee} on {candidate.port}; add it to "
    return EdgeObstacle(EdgeState.AWAITING_CALLER, "NotCalled", message + "its calls")


def _might_go_without(governance: Governance) -> bool:
    """Return whether a domain that claims the namespace requires only the callee's consent.

    An unreadable domain counts, because it may be one.
    """
    return governance.unread or any(
        claim.spec.consent is Consent.CALLEE for claim in governance.claims
    )


def both_governed(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that each namespace belongs to exactly one trust domain."""
    for governance in candidate.governances:
        if governance.domain is None:
            state = EdgeState.REFUSED if governance.settled else EdgeState.SUSPENDED
            return EdgeObstacle(state, governance.reason, governance.message)
    return None


def domains_federate(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that peers of two trust domains are in domains that federate with each other."""
    first, second = candidate.domains
    assert first is not None
    assert second is not None
    if first.metadata.name == second.metadata.name:
        return None
    if first.spec.domain == second.spec.domain:
        names = " and ".join(sorted((first.metadata.name, second.metadata.name)))
        message = (
            f"TrustDomains {names} have the same SPIFFE trust domain {first.spec.domain} and "
            "cannot federate; delete the one whose AuthorityReady is Conflict and create it with "
            "another spec.domain"
        )
        return EdgeObstacle(EdgeState.REFUSED, "NotFederated", message)
    for here, there in ((first, second), (second, first)):
        mine, theirs = here.metadata.name, there.metadata.name
        allowed = {here.spec.environment, *here.spec.allow_environments}
        if there.spec.environment not in allowed:
            message = (
                f"TrustDomain {mine} does not allow the environment {there.spec.environment}; "
                "edges between environments need allowEnvironments in both TrustDomains"
            )
            return EdgeObstacle(EdgeState.REFUSED, "EnvironmentNotAllowed", message)
        if not lists(here, there):
            message = f"TrustDomain {mine} does not list {theirs} under federatesWith; add it there"
            return EdgeObstacle(EdgeState.REFUSED, "NotFederated", message)
    return _roots_confined(candidate.registry, first, second)


def _roots_confined(
    registry: Registry, first: TrustDomain, second: TrustDomain
) -> EdgeObstacle | None:
    """Check that both roots are confined, because each side must trust the other's root."""
    for here, there in ((first, second), (second, first)):
        if there.metadata.name in registry.unconfined_domains:
            message = unconfined_message(there, f"by TrustDomain {here.metadata.name}")
            return EdgeObstacle(EdgeState.REFUSED, UNCONFINED, message)
    return None


def kept_apart(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Return why no call between the two can be live, whatever anybody declares about it."""
    return both_governed(candidate) or domains_federate(candidate)


def caller_has_certificate(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that the caller has a certificate to present."""
    identity = candidate.caller_identity
    assert identity is not None
    if identity.spec.authentication.gateway_only is None:
        return None
    message = (
        f"{candidate.caller} is gatewayOnly and has no identity to present; use mtls or token there"
    )
    return EdgeObstacle(EdgeState.REFUSED, "CallerHasNoCertificate", message)


def tokens_are_issued(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that the caller can get tokens if the callee requires them.

    The callee's trust domain must issue tokens, and so must the caller's, which issues them to the
    caller.
    """
    identity = candidate.callee_identity
    assert identity is not None
    if identity.spec.authentication.token is None:
        return None
    for domain in candidate.domains:
        assert domain is not None
        if domain.spec.tokens is None:
            message = (
                f"{candidate.callee} requires tokens, but TrustDomain {domain.metadata.name} "
                "issues none; add tokens: {} to it"
            )
            return EdgeObstacle(EdgeState.REFUSED, "TokensNotEnabled", message)
    return None


def audience_is_its_own(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that no other callee of the callee's possible callers has its audience before it."""
    identity, (_, domain) = candidate.callee_identity, candidate.domains
    assert identity is not None
    assert domain is not None
    if audience_holder(identity, domain, candidate.registry) is None:
        return None
    message = (
        f"the audience of {candidate.callee} belongs to an identity that claimed it first; see "
        f"TokensAccepted of ServiceIdentity {candidate.callee}"
    )
    return EdgeObstacle(EdgeState.REFUSED, "Conflict", message)


def nobody_shares(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that neither side shares its ServiceAccount or its pods with another identity."""
    for ref in (candidate.caller, candidate.callee):
        shared = candidate.registry.shared_identity(ref)
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


# Refusals come before suspensions, so a refused edge closes even if something else is unsettled.
CHECKS: tuple[Check, ...] = (
    peers_exist,
    callee_accepts,
    caller_calls,
    caller_has_certificate,
    gateway_trust_holds,
    both_governed,
    domains_federate,
    tokens_are_issued,
    audience_is_its_own,
    nobody_shares,
    documents_narrowed,
)


def evaluate(candidate: EdgeCandidate) -> Edge:
    """Return the edge with its state."""
    for check in CHECKS:
        obstacle = check(candidate)
        if obstacle is not None:
            if obstacle.state is EdgeState.SUSPENDED:  # which would keep open ports open
                obstacle = documents_narrowed(candidate) or obstacle
            return Edge(
                candidate.caller,
                candidate.callee,
                candidate.port,
                obstacle.state,
                obstacle.reason,
                obstacle.message,
            )
    return Edge(candidate.caller, candidate.callee, candidate.port, EdgeState.LIVE)


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
