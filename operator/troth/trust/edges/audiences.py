"""Token audiences shared by two identities, so that a token for one would be valid at the other."""

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.registry import Registry


def shared_audience(
    identity: ServiceIdentity, domain: TrustDomain, registry: Registry
) -> Ref | None:
    """Return the first other identity with the same audience, in the domain or a federated one."""
    for other in sorted(registry.same_audience(identity)):
        for claim in registry.governance(other.namespace).claims:
            if claim.metadata.name == domain.metadata.name or _federate(claim, domain):
                return other
    return None


def audience_fault(identity: ServiceIdentity, other: Ref) -> str:
    """Return the message for two identities with the same audience."""
    return (
        f"{identity.ref} and {other} declare the same audience, so a token for one would be "
        "valid for the other; give each its own audience, or remove audience"
    )


def _federate(first: TrustDomain, second: TrustDomain) -> bool:
    return all(
        any(reference.name == there.metadata.name for reference in here.spec.federates_with)
        for here, there in ((first, second), (second, first))
    )
