"""The SPIFFE IDs that an identity may have."""

from troth.pki.spiffe import spiffe_id
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry


def spiffe_ids_of(peer: Ref, registry: Registry) -> frozenset[str]:
    """Return the possible SPIFFE IDs of an identity.

    There is one for each domain that claims its namespace, and none if it has no certificate.
    """
    identity = registry.identities.get(peer)
    if identity is None or identity.spec.authentication.certificate is None:
        return frozenset()
    account = identity.spec.workload.service_account_name
    claims = registry.governance(peer.namespace).claims
    return frozenset(spiffe_id(claim.spec.domain, peer.namespace, account) for claim in claims)
