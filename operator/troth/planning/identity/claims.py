"""Names that an identity claims, its audience and its DNS names, and why it may not have one."""

from collections.abc import Iterator

from troth.planning.identity.facts import View
from troth.planning.parts import Part, fails_closed, unplanned
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import ClaimKind, ClaimStatus
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.claims import Claim, claimed_by, conflict_message
from troth.trust.declarations.registry import Registry
from troth.trust.edges.names import (
    audience_holder,
    dns_name_holder,
    may_use,
    service_named,
    suffix_of,
)
from troth.world.facts.objects import Fault

NOT_ALLOWED, CONFLICT = "DNSNameNotAllowed", "Conflict"


@fails_closed(unplanned())
def plan_claims(view: View) -> Part:
    """Return the part that keeps the accepted claims in the status."""
    return Part(status={"claims": accepted_claims(view)})


def accepted_claims(view: View) -> tuple[ClaimStatus, ...]:
    """Return the claims for the status, each with the time at which it was first accepted.

    While the identity is unsettled, nothing is accepted and nothing that it claims is lost.
    """
    identity, domain, registry = view.identity, view.domain, view.registry
    since = {Claim(each.kind, each.name): each.since for each in identity.status.claims}

    def accepted(claim: Claim) -> bool:
        if domain is None or view.shared is not None:
            return claim in since
        return _is_accepted(claim, identity, domain, registry)

    return tuple(
        ClaimStatus(kind=claim.kind, name=claim.name, since=since.get(claim, view.moment.now))
        for claim in filter(accepted, claimed_by(identity))
    )


def _is_accepted(
    claim: Claim, identity: ServiceIdentity, domain: TrustDomain, registry: Registry
) -> bool:
    if claim.kind is ClaimKind.AUDIENCE:
        return audience_holder(identity, domain, registry) is None
    return (
        may_use(claim.name, identity.ref.namespace, domain, registry)
        and dns_name_holder(identity, claim.name, domain, registry) is None
    )


def audience_fault(
    identity: ServiceIdentity, domain: TrustDomain, registry: Registry
) -> Fault | None:
    """Return the conflict over the identity's audience, None if it may have it."""
    other, token = audience_holder(identity, domain, registry), identity.spec.authentication.token
    if other is None or token is None or token.audience is None:
        return None
    remedy = "declare another audience, or remove it to use the SPIFFE ID"
    claim = Claim(ClaimKind.AUDIENCE, token.audience)
    return Fault(CONFLICT, conflict_message(identity.ref, claim, other, remedy))


def dns_name_fault(view: View) -> Fault | None:
    """Return why the identity may not have the first of its DNS names that it may not have."""
    if view.certificate is None or view.domain is None:
        return None
    for name in view.certificate.dns_names:
        for fault in _faults(name, view, view.domain):
            return fault
    return None


def _faults(name: str, view: View, domain: TrustDomain) -> Iterator[Fault]:
    here, registry = view.identity.ref.namespace, view.registry
    meant = service_named(name, registry)
    if meant is not None and meant.namespace != here:
        message = (
            f"the DNS name {name} is that of a Service in the namespace {meant.namespace}; remove "
            "the name"
        )
        yield Fault(NOT_ALLOWED, message)
    elif meant is not None and meant.service is None:
        message = (
            f"the DNS name {name} is that of a namespace or of a pod's address, and not of a "
            "Service; remove the name"
        )
        yield Fault(NOT_ALLOWED, message)
    elif meant is not None:
        if meant.service not in view.services:
            message = (
                f"the DNS name {name} is that of a Service that does not exist or does not select "
                "only this workload's pods; correct the Service's selector, or remove the name"
            )
            yield Fault(NOT_ALLOWED, message)
    elif not may_use(name, here, domain, registry):
        yield Fault(NOT_ALLOWED, _not_allowed(name, here, domain))
    elif other := dns_name_holder(view.identity, name, domain, registry):
        claim = Claim(ClaimKind.DNS_NAME, name)
        message = conflict_message(view.identity.ref, claim, other, "remove the name")
        yield Fault(CONFLICT, message)
    known = view.known_authority.authority if view.known_authority else None
    if known is not None and not all(each.allow_dns_name(name) for each in known.name_constraints):
        message = f"the authority's name constraints forbid the DNS name {name}; remove the name"
        yield Fault(NOT_ALLOWED, message)


def _not_allowed(name: str, namespace: str, domain: TrustDomain) -> str:
    suffix = suffix_of(name, domain)
    if suffix is None:
        return (
            f"TrustDomain {domain.metadata.name} does not allow the DNS name {name}; add a suffix "
            "of it to certificates.dnsNames there, or remove the name"
        )
    return (
        f"TrustDomain {domain.metadata.name} does not give the DNS suffix {suffix.suffix} to the "
        f"namespace {namespace}; let its namespaceSelector in certificates.dnsNames select the "
        f"namespace, or remove the name {name}"
    )
