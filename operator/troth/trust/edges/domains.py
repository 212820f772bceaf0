"""Checks of an edge against the trust domains of caller and callee.

While it is not settled which domain governs a namespace, each that may is tried: an edge that none
of them permits closes, because no outcome of the conflict would open it.
"""

from collections.abc import Callable

from troth.resources.identity.status import EdgeState
from troth.resources.trust_domain.spec import Consent, TrustDomain
from troth.trust.declarations.governance import Governance, lists
from troth.trust.declarations.registry import Registry
from troth.trust.edges.candidate import Domains, EdgeCandidate, EdgeObstacle, deciding_obstacle
from troth.trust.edges.federation import UNCONFINED, unconfined_message
from troth.trust.edges.names import audience_holder

DomainCheck = Callable[[EdgeCandidate, Domains], EdgeObstacle | None]


def both_governed(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that each namespace belongs to exactly one trust domain.

    A namespace without one closes the edge, even if the other namespace is in conflict.
    """
    unsettled: EdgeObstacle | None = None
    for governance in candidate.governances:
        if governance.domain is None and governance.settled:
            return EdgeObstacle(EdgeState.REFUSED, governance.reason, governance.message)
        if governance.domain is None and unsettled is None:
            unsettled = EdgeObstacle(EdgeState.SUSPENDED, governance.reason, governance.message)
    return unsettled


def callee_may_decide(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that the caller declares the call, if no domain does without its consent."""
    if all(map(_does_without, candidate.governances)):
        return None
    return _caller_consents(candidate)


def _does_without(governance: Governance) -> bool:
    """Return whether a domain that claims the namespace requires only the callee's consent.

    An unreadable domain counts, because it may be one.
    """
    return governance.unread or any(
        claim.spec.consent is Consent.CALLEE for claim in governance.claims
    )


def _caller_consents(candidate: EdgeCandidate) -> EdgeObstacle | None:
    caller = candidate.caller_identity
    if caller is None or caller.spec.serves_webhooks is not None or candidate.is_called:
        return None
    message = (
        f"{candidate.caller} does not call {candidate.callee} on {candidate.port}; add it to its "
        "calls"
    )
    return EdgeObstacle(EdgeState.AWAITING_CALLER, "NotCalled", message)


def domains_permit(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that the trust domains of both sides permit the edge."""
    return _permitted(
        candidate,
        (_domains_consent, _domains_federate, _tokens_are_issued, _audience_is_its_own),
    )


def kept_apart(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Return why no call between the two can be live, whatever anybody declares about it."""
    return deciding_obstacle(candidate, (both_governed, _domains_meet))


def _domains_meet(candidate: EdgeCandidate) -> EdgeObstacle | None:
    return _permitted(candidate, (_domains_federate,))


def _permitted(candidate: EdgeCandidate, checks: tuple[DomainCheck, ...]) -> EdgeObstacle | None:
    """Return the obstacle of the first possible domains, None if any possible ones have none."""
    first: EdgeObstacle | None = None
    for domains in candidate.possible_domains or ():
        found = (check(candidate, domains) for check in checks)
        obstacle = next(filter(None, found), None)
        if obstacle is None:
            return None
        first = first or obstacle
    return first


def _domains_consent(candidate: EdgeCandidate, domains: Domains) -> EdgeObstacle | None:
    """Check that the caller declares the call, unless both domains need only the callee's consent.

    The caller's side of a gateway's delivery is always required: an endpoint declares it.
    """
    if all(domain.spec.consent is Consent.CALLEE for domain in domains):
        return None
    return _caller_consents(candidate)


def _domains_federate(candidate: EdgeCandidate, domains: Domains) -> EdgeObstacle | None:
    """Check that peers of two trust domains are in domains that federate with each other."""
    first, second = domains
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


def _tokens_are_issued(candidate: EdgeCandidate, domains: Domains) -> EdgeObstacle | None:
    """Check that the caller can get tokens if the callee requires them.

    The callee's trust domain must issue tokens, and so must the caller's, which issues them to the
    caller.
    """
    callee = candidate.callee_identity
    if callee is None or callee.spec.authentication.token is None:
        return None
    for domain in domains:
        if domain.spec.tokens is None:
            message = (
                f"{candidate.callee} requires tokens, but TrustDomain {domain.metadata.name} "
                "issues none; add tokens: {} to it"
            )
            return EdgeObstacle(EdgeState.REFUSED, "TokensNotEnabled", message)
    return None


def _audience_is_its_own(candidate: EdgeCandidate, domains: Domains) -> EdgeObstacle | None:
    """Check that no other callee of the callee's possible callers has its audience before it."""
    callee, (_, domain) = candidate.callee_identity, domains
    if callee is None or audience_holder(callee, domain, candidate.registry) is None:
        return None
    message = (
        f"the audience of {candidate.callee} belongs to an identity that claimed it first; see "
        f"TokensAccepted of ServiceIdentity {candidate.callee}"
    )
    return EdgeObstacle(EdgeState.REFUSED, "Conflict", message)
