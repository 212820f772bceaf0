"""Names that an identity may claim: audiences and DNS names that no older identity has.

A DNS name must be under a suffix that belongs to the identity's namespace. Names by which a cluster
resolves the Services of another namespace belong to nobody else, whatever suffixes allow.
"""

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import ClaimKind
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import DNSSuffix, TrustDomain
from troth.trust.declarations.claims import Claim, Reading, readings, together
from troth.trust.declarations.registry import Registry
from troth.trust.selectors import matches


def audience_holder(
    identity: ServiceIdentity, domain: TrustDomain, registry: Registry
) -> Ref | None:
    """Return the identity with an older claim to the audience, in the domain or a federated one."""
    token = identity.spec.authentication.token
    if token is None or token.audience is None:
        return None
    return registry.claims.older(
        identity.ref,
        Claim(ClaimKind.AUDIENCE, token.audience),
        lambda other: bool(together(registry.governance(other.namespace), domain)),
    )


def dns_name_holder(
    identity: ServiceIdentity, name: str, domain: TrustDomain, registry: Registry
) -> Ref | None:
    """Return the identity with an older claim to a DNS name, in the domain or a federated one.

    A claim counts only if its namespace may use the name. Otherwise a tenant could keep the owners
    of a suffix from using it.
    """
    return registry.claims.older(
        identity.ref,
        Claim(ClaimKind.DNS_NAME, name),
        lambda other: any(
            may_use(name, other.namespace, claim, registry)
            for claim in together(registry.governance(other.namespace), domain)
        ),
    )


def may_use(name: str, namespace: str, domain: TrustDomain, registry: Registry) -> bool:
    """Return whether a namespace may use a DNS name that is not the name of a Service."""
    suffix = suffix_of(name, domain)
    labels = registry.namespaces.get(namespace)
    return (
        suffix is not None
        and labels is not None
        and matches(suffix.namespace_selector, labels)
        and service_named(name, registry) is None
    )


def suffix_of(name: str, domain: TrustDomain) -> DNSSuffix | None:
    """Return the longest of the domain's suffixes that covers a DNS name, None if none does."""
    covering = (
        each
        for each in domain.spec.certificates.dns_names
        if name == each.suffix or name.endswith(f".{each.suffix}")
    )
    return max(covering, key=lambda each: len(each.suffix), default=None)


def service_named(name: str, registry: Registry) -> Reading | None:
    """Return the namespace and the Service that a cluster resolves a name to, None if none.

    Where the cluster's zone is unknown, and for short names, an existing namespace decides.
    """
    found = list(readings(name))
    certain = next((each for each in found if each.certain), None)
    if certain is not None:
        return certain
    return next((each for each in found if each.namespace in registry.namespaces), None)
