"""Requirement of federated trust domains: each other's roots must be confined."""

from troth.resources.trust_domain.spec import TrustDomain

UNCONFINED = "FederatedRootUnconfined"
"""Reason why a federated trust domain does not trust the workloads of another one."""


def unconfined_message(domain: TrustDomain, by_whom: str) -> str:
    """Return why a federated domain does not trust the root of `domain`, and what to do."""
    return (
        f"name constraints do not confine the root of TrustDomain {domain.metadata.name} to its "
        f"own trust domain, so it is not trusted {by_whom}; constrain it to the URI host "
        f"{domain.spec.domain}"
    )
