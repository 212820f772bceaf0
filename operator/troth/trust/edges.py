"""Edges: one caller, one callee, one port, and whether both sides agree to it.

Every question about an edge is a small pure function over one frozen input; the first that fails
decides, and its name is the reason.
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
    """A declared relation between two identities on one of the callee's ports."""

    caller: Ref
    callee: Ref
    port: str
    state: EdgeState
    reason: str = ""
    message: str = ""


def peers_exist(question: Question) -> Obstacle | None:
    """Both identities are there; one that cannot be read keeps the edge as it is."""
    for ref, state in (
        (question.caller, EdgeState.AWAITING_CALLER),
        (question.callee, EdgeState.AWAITING_CALLEE),
    ):
        if ref in question.registry.invalid_identities:
            message = f"ServiceIdentity {ref} cannot be read; correct it"
            return Obstacle(EdgeState.SUSPENDED, "PeerInvalid", message)
        if ref in question.registry.terminating_identities:
            message = f"ServiceIdentity {ref} is being deleted; remove the entry"
            return Obstacle(state, "PeerTerminating", message)
        if ref not in question.registry.identities:
            message = f"ServiceIdentity {ref} does not exist; create it or remove the entry"
            return Obstacle(state, "PeerMissing", message)
    return None


def callee_accepts(question: Question) -> Obstacle | None:
    """The callee declares the port and accepts the caller on it."""
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
    """The caller declares the call, unless both domains take the callee's word alone.

    What a gateway hands on is not its own: its side is always declared, if only by an endpoint.
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
    """Say whether the domain of a namespace takes the callee's word alone, or of several that claim
    it, or cannot be read, one might.
    """
    if not governance.settled and registry.invalid_domains:
        return True
    return any(claim.spec.consent is Consent.CALLEE for claim in governance.claims)


def both_governed(question: Question) -> Obstacle | None:
    """Both namespaces belong to exactly one trust domain."""
    for governance in question.governances:
        if governance.domain is None:
            state = EdgeState.REFUSED if governance.settled else EdgeState.SUSPENDED
            return Obstacle(state, governance.reason, governance.message)
    return None


def domains_federate(question: Question) -> Obstacle | None:
    """Peers of two trust domains are let together by both domains."""
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
                "edges between environments need allowEnvironments in both TrustDomains"
            )
            return Obstacle(EdgeState.REFUSED, "EnvironmentNotAllowed", message)
        if all(reference.name != theirs for reference in here.spec.federates_with):
            message = f"TrustDomain {mine} does not list {theirs} under federatesWith; add it there"
            return Obstacle(EdgeState.REFUSED, "NotFederated", message)
    return _roots_confined(question.registry, first, second)


def _roots_confined(registry: Registry, first: TrustDomain, second: TrustDomain) -> Obstacle | None:
    """Both roots are confined, for each side's workloads must trust the other's."""
    for here, there in ((first, second), (second, first)):
        if there.metadata.name in registry.unconfined_domains:
            message = unconfined_message(there, f"by TrustDomain {here.metadata.name}")
            return Obstacle(EdgeState.REFUSED, UNCONFINED, message)
    return None


def kept_apart(question: Question) -> Obstacle | None:
    """Return why no call between the two can be live, whatever they and others declare of it."""
    return both_governed(question) or domains_federate(question)


def caller_has_certificate(question: Question) -> Obstacle | None:
    """The caller has an identity to present."""
    identity = question.caller_identity
    assert identity is not None
    if identity.spec.authentication.gateway_only is None:
        return None
    message = (
        f"{question.caller} is gatewayOnly and has no identity to present; use mtls or token there"
    )
    return Obstacle(EdgeState.REFUSED, "CallerHasNoCertificate", message)


def gateway_trust_holds(question: Question) -> Obstacle | None:
    """Gateway-only trust has an end date, which is near enough and not past."""
    identity = question.callee_identity
    assert identity is not None
    trust = identity.spec.authentication.gateway_only
    return None if trust is None else gateway_trust_fault(trust, question.now)


def gateway_trust_fault(trust: GatewayOnly, now: datetime) -> Obstacle | None:
    """Return why gateway-only trust opens nothing, if it does not."""
    if trust.expires_at <= now:
        message = (
            "gateway-only trust has expired; use mtls or token, or agree on a new expiresAt with "
            "its owner"
        )
        return Obstacle(EdgeState.REFUSED, "GatewayTrustExpired", message)
    if now < trust.counts_from:
        message = (
            f"expiresAt is more than {GATEWAY_TRUST_LIMIT.days} days ahead; write an earlier time"
        )
        return Obstacle(EdgeState.REFUSED, "GatewayTrustTooLong", message)
    return None


def tokens_are_issued(question: Question) -> Obstacle | None:
    """A callee that asks for tokens gets them: its own trust domain issues tokens, and so does the
    caller's, which is the one that would issue this caller's.
    """
    identity = question.callee_identity
    assert identity is not None
    if identity.spec.authentication.token is None:
        return None
    for domain in question.domains:
        assert domain is not None
        if domain.spec.tokens is None:
            message = (
                f"{question.callee} requires tokens, but TrustDomain {domain.metadata.name} "
                "issues none; add tokens: {} to it"
            )
            return Obstacle(EdgeState.REFUSED, "TokensNotEnabled", message)
    return None


def audience_is_its_own(question: Question) -> Obstacle | None:
    """No other identity that callers of the callee may call asks for tokens of its audience."""
    identity, (_, domain) = question.callee_identity, question.domains
    assert identity is not None
    assert domain is not None
    other = shared_audience(identity, domain, question.registry)
    if other is None:
        return None
    return Obstacle(EdgeState.REFUSED, "AudienceShared", audience_fault(identity, other))


def nobody_shares(question: Question) -> Obstacle | None:
    """Neither side shares its ServiceAccount or its pods with another identity."""
    for ref in (question.caller, question.callee):
        shared = question.registry.shared_identity(ref)
        if shared is not None:
            return Obstacle(EdgeState.SUSPENDED, "SharedIdentity", shared.message)
    return None


CALLEE_NOT_NARROWED, CALLER_NOT_NARROWED = "CalleeNotNarrowed", "CallerNotNarrowed"
"""Reasons for which an edge is closed though both sides declare it."""


def documents_narrowed(question: Question) -> Obstacle | None:
    """Neither side's `identity.json` grants more than is declared while it cannot be written."""
    for ref, peer, reason in (
        (question.callee, question.caller, CALLEE_NOT_NARROWED),
        (question.caller, question.callee, CALLER_NOT_NARROWED),
    ):
        inbound = reason == CALLEE_NOT_NARROWED
        narrowing = question.registry.unapplied.get(ref)
        if narrowing is not None and narrowing.closes(peer, inbound=inbound):
            message = (
                f"the identity.json of ServiceIdentity {ref} still grants more than is declared "
                "and cannot be written, so the edge is closed; see its Ready condition"
            )
            return Obstacle(EdgeState.REFUSED, reason, message)
    return None


# Refusals come before suspensions: what is refused closes, whatever else is unsettled.
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
            if obstacle.state is EdgeState.SUSPENDED:  # which would keep open what is open
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
    """Return the edge with its state; `Refused` where judging it raises."""
    try:
        return judge(question)
    except Exception as error:  # noqa: BLE001 - an error opens nothing, whatever it is
        message = (
            f"judging this edge failed with {type(error).__name__}, which is a bug in Troth; "
            "report it with the operator's log"
        )
        edge = question.caller, question.callee, question.port
        return Edge(*edge, EdgeState.REFUSED, "InternalError", message)


def edges_of(
    registry: Registry, ref: Ref, now: datetime, judging: Judge = judge
) -> tuple[Edge, ...]:
    """Return every edge that touches an identity, inbound before outbound, sorted.

    An edge is listed when either side declares it, so that both can say which side is missing.
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
    """Return every edge on which an identity calls one `among` others, whichever side declares it,
    sorted.
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
    """Return every edge that anybody declares, once, sorted."""
    edges = {
        (edge.caller, edge.callee, edge.port): edge
        for ref in registry.identities
        for edge in edges_of(registry, ref, now)
    }
    return tuple(edges[key] for key in sorted(edges))
