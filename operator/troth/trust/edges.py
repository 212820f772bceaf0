"""Edges: one caller, one callee, one port, and whether both sides consent.

Each check is a small pure function of one frozen input. The first check that fails decides the
state of the edge, and names the reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from troth.resources.identity.authentication import GATEWAY_TRUST_LIMIT, GatewayOnly
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import Consent, TrustDomain
from troth.trust.audiences import audience_fault, shared_audience
from troth.trust.deliveries import (
    delivered_by,
    delivered_to,
    gateway_delivers,
    how_to_accept,
)
from troth.trust.edge_question import Check, Obstacle, Question, find_port
from troth.trust.federation import UNCONFINED, unconfined_message
from troth.trust.governance import Governance
from troth.trust.registry import Registry


@dataclass(frozen=True, slots=True)
class Edge:
    """Declared edge between two identities on one port of the callee."""

    caller: Ref
    callee: Ref
    port: str
    state: EdgeState
    reason: str = ""
    message: str = ""


def peers_exist(question: Question) -> Obstacle | None:
    """Check that both identities exist. An unreadable one suspends the edge."""
    for ref, state in (
        (question.caller, EdgeState.AWAITING_CALLER),
        (question.callee, EdgeState.AWAITING_CALLEE),
    ):
        if ref in question.registry.invalid_identities:
            message = f"ServiceIdentity {ref} cannot be read; mend it"
            return Obstacle(EdgeState.SUSPENDED, "PeerInvalid", message)
        if ref in question.registry.terminating_identities:
            message = f"ServiceIdentity {ref} is being deleted; remove the entry"
            return Obstacle(state, "PeerTerminating", message)
        if ref not in question.registry.identities:
            message = f"ServiceIdentity {ref} does not exist; create it or remove the entry"
            return Obstacle(state, "PeerMissing", message)
    return None


def callee_accepts(question: Question) -> Obstacle | None:
    """Check that the callee declares the port and accepts the caller on it."""
    callee, port = question.callee, question.port
    identity = question.callee_identity
    assert identity is not None
    if find_port(identity, port) is None:
        message = f"{callee} declares no port {port}; correct the name or add it to workload.ports"
        return Obstacle(EdgeState.AWAITING_CALLEE, "PortUndeclared", message)
    if port not in question.registry.declared(callee).accepts.get(question.caller, ()):
        message = f"{callee} does not accept {question.caller} on {port}; {how_to_accept(question)}"
        return Obstacle(EdgeState.AWAITING_CALLEE, "NotAccepted", message)
    return None


def caller_calls(question: Question) -> Obstacle | None:
    """Check that the caller declares the call, unless both domains require only the callee's
    consent.

    The caller's side of a gateway's delivery is always required: an endpoint declares it.
    """
    identity = question.caller_identity
    assert identity is not None
    called = question.registry.declared(question.caller).calls
    if question.port in called.get(question.callee, ()):
        return None
    if identity.spec.serves_webhooks is not None:
        return gateway_delivers(question)
    if all(domain and domain.spec.consent is Consent.CALLEE for domain in question.domains):
        return None
    if all(_might_go_without(governance, question.registry) for governance in question.governances):
        unsettled = next(each for each in question.governances if not each.settled)
        return Obstacle(EdgeState.SUSPENDED, unsettled.reason, unsettled.message)
    message = f"{question.caller} does not call {question.callee} on {question.port}; add it to "
    return Obstacle(EdgeState.AWAITING_CALLER, "NotCalled", message + "its calls")


def _might_go_without(governance: Governance, registry: Registry) -> bool:
    """Return whether a domain that claims the namespace requires only the callee's consent.

    An unreadable domain counts, because it may be one.
    """
    if not governance.settled and registry.invalid_domains:
        return True
    return any(claim.spec.consent is Consent.CALLEE for claim in governance.claims)


def both_governed(question: Question) -> Obstacle | None:
    """Check that each namespace belongs to exactly one trust domain."""
    for governance in question.governances:
        if governance.domain is None:
            state = EdgeState.REFUSED if governance.settled else EdgeState.SUSPENDED
            return Obstacle(state, governance.reason, governance.message)
    return None


def domains_federate(question: Question) -> Obstacle | None:
    """Check that peers of two trust domains are in domains that federate with each other."""
    first, second = question.domains
    assert first is not None
    assert second is not None
    if first.metadata.name == second.metadata.name:
        return None
    for here, there in ((first, second), (second, first)):
        mine, theirs = here.metadata.name, there.metadata.name
        allowed = {here.spec.environment, *here.spec.allow_environments}
        if there.spec.environment not in allowed:
            message = (
                f"TrustDomain {mine} does not allow the environment {there.spec.environment}; "
                "edges between environments need allowEnvironments on both sides"
            )
            return Obstacle(EdgeState.REFUSED, "EnvironmentNotAllowed", message)
        if all(reference.name != theirs for reference in here.spec.federates_with):
            message = f"TrustDomain {mine} does not name {theirs} under federatesWith"
            return Obstacle(EdgeState.REFUSED, "NotFederated", message)
    return _roots_confined(question.registry, first, second)


def _roots_confined(registry: Registry, first: TrustDomain, second: TrustDomain) -> Obstacle | None:
    """Check that both roots are confined, because each side must trust the other's root."""
    for here, there in ((first, second), (second, first)):
        if there.metadata.name in registry.unconfined_domains:
            message = unconfined_message(there, f"by TrustDomain {here.metadata.name}")
            return Obstacle(EdgeState.REFUSED, UNCONFINED, message)
    return None


def kept_apart(question: Question) -> Obstacle | None:
    """Return why no call between the two can be live, whatever anybody declares about it."""
    return both_governed(question) or domains_federate(question)


def caller_has_certificate(question: Question) -> Obstacle | None:
    """Check that the caller has a certificate to present."""
    identity = question.caller_identity
    assert identity is not None
    if identity.spec.authentication.gateway_only is None:
        return None
    message = (
        f"{question.caller} is gatewayOnly and has no identity to present; use mtls or token there"
    )
    return Obstacle(EdgeState.REFUSED, "CallerHasNoCertificate", message)


def gateway_trust_holds(question: Question) -> Obstacle | None:
    """Check that the end of gateway-only trust is in the future and near enough."""
    identity = question.callee_identity
    assert identity is not None
    trust = identity.spec.authentication.gateway_only
    return None if trust is None else gateway_trust_fault(trust, question.now)


def gateway_trust_fault(trust: GatewayOnly, now: datetime) -> Obstacle | None:
    """Return why gateway-only trust admits nobody, None if it admits its gateway."""
    if trust.expires_at <= now:
        message = (
            "gateway-only trust has ended; use mtls or token, or renew expiresAt with its owner"
        )
        return Obstacle(EdgeState.REFUSED, "GatewayTrustExpired", message)
    if now < trust.counts_from:
        message = f"write an expiresAt at most {GATEWAY_TRUST_LIMIT.days} days ahead"
        return Obstacle(EdgeState.REFUSED, "GatewayTrustTooLong", message)
    return None


def tokens_are_issued(question: Question) -> Obstacle | None:
    """Check that the caller can get tokens if the callee requires them.

    The callee's trust domain must issue tokens, and so must the caller's, which issues them to the
    caller.
    """
    identity = question.callee_identity
    assert identity is not None
    if identity.spec.authentication.token is None:
        return None
    for domain in question.domains:
        assert domain is not None
        if domain.spec.tokens is None:
            message = (
                f"{question.callee} asks for tokens and TrustDomain {domain.metadata.name} issues "
                "none; add tokens: {} to it"
            )
            return Obstacle(EdgeState.REFUSED, "TokensNotEnabled", message)
    return None


def audience_is_its_own(question: Question) -> Obstacle | None:
    """Check that no other callee of the callee's possible callers has its audience."""
    identity, (_, domain) = question.callee_identity, question.domains
    assert identity is not None
    assert domain is not None
    other = shared_audience(identity, domain, question.registry)
    if other is None:
        return None
    return Obstacle(EdgeState.REFUSED, "AudienceShared", audience_fault(identity, other))


def nobody_shares(question: Question) -> Obstacle | None:
    """Check that neither side shares its ServiceAccount or its pods with another identity."""
    for ref in (question.caller, question.callee):
        shared = question.registry.shared_identity(ref)
        if shared is not None:
            return Obstacle(EdgeState.SUSPENDED, "SharedIdentity", shared.message)
    return None


CALLEE_NOT_NARROWED, CALLER_NOT_NARROWED = "CalleeNotNarrowed", "CallerNotNarrowed"
"""Reasons for which an edge is closed although both sides declare it."""


def documents_narrowed(question: Question) -> Obstacle | None:
    """Check that no `identity.json` of either side grants more than declared and is unwritable."""
    for ref, peer, reason in (
        (question.callee, question.caller, CALLEE_NOT_NARROWED),
        (question.caller, question.callee, CALLER_NOT_NARROWED),
    ):
        inbound = reason == CALLEE_NOT_NARROWED
        narrowing = question.registry.unapplied.get(ref)
        if narrowing is not None and narrowing.closes(peer, inbound=inbound):
            message = (
                f"identity.json of ServiceIdentity {ref} still grants more than is declared and "
                "cannot be written, so the edge is closed; see Ready of that ServiceIdentity"
            )
            return Obstacle(EdgeState.REFUSED, reason, message)
    return None


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


def judge(question: Question) -> Edge:
    """Return the edge with its state."""
    for check in CHECKS:
        obstacle = check(question)
        if obstacle is not None:
            if obstacle.state is EdgeState.SUSPENDED:  # which would keep open ports open
                obstacle = documents_narrowed(question) or obstacle
            return Edge(
                question.caller,
                question.callee,
                question.port,
                obstacle.state,
                obstacle.reason,
                obstacle.message,
            )
    return Edge(question.caller, question.callee, question.port, EdgeState.LIVE)


Judge = Callable[[Question], Edge]


def judge_or_close(question: Question) -> Edge:
    """Return the edge with its state, `Refused` if a check raises an error."""
    try:
        return judge(question)
    except Exception as error:  # noqa: BLE001 - fail closed on any error
        message = (
            f"judging this edge failed with {type(error).__name__}, which is a fault of Troth; "
            "report it with the operator's log"
        )
        edge = question.caller, question.callee, question.port
        return Edge(*edge, EdgeState.REFUSED, "InternalError", message)


def edges_of(
    registry: Registry, ref: Ref, now: datetime, judging: Judge = judge
) -> tuple[Edge, ...]:
    """Return every edge of an identity, inbound before outbound, sorted.

    An edge that only one side declares is included, so that both can report the missing side.
    """
    mine = registry.declared(ref)
    inbound = {(peer, port) for peer, ports in mine.accepts.items() for port in ports}
    for peer in registry.naming(ref):
        theirs = registry.declared(peer)
        inbound |= {(peer, port) for port in theirs.calls.get(ref, ())}
    inbound |= {(route.gateway, route.port) for route in delivered_to(registry, ref)}
    questions = [Question(registry, peer, ref, port, now) for peer, port in sorted(inbound)]
    return (*map(judging, questions), *edges_from(registry, ref, now, judging=judging))


def edges_from(
    registry: Registry,
    ref: Ref,
    now: datetime,
    among: Callable[[Ref], bool] = lambda _: True,
    judging: Judge = judge,
) -> tuple[Edge, ...]:
    """Return every edge from an identity to one `among` others, sorted.

    An edge that only one side declares is included.
    """
    calls = registry.declared(ref).calls
    outbound = {(peer, port) for peer, ports in calls.items() if among(peer) for port in ports}
    for peer in filter(among, registry.naming(ref)):
        outbound |= {(peer, port) for port in registry.declared(peer).accepts.get(ref, ())}
    outbound |= {
        (route.target, route.port) for route in delivered_by(registry, ref) if among(route.target)
    }
    questions = [Question(registry, ref, peer, port, now) for peer, port in sorted(outbound)]
    return tuple(map(judging, questions))


def all_edges(registry: Registry, now: datetime) -> tuple[Edge, ...]:
    """Return every declared edge once, sorted."""
    edges = {
        (edge.caller, edge.callee, edge.port): edge
        for ref in registry.identities
        for edge in edges_of(registry, ref, now)
    }
    return tuple(edges[key] for key in sorted(edges))
