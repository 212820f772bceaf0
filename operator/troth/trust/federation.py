"""What two federated trust domains need of each other's roots."""

from troth.resources.trust_domain.spec import TrustDomain

UNCONFINED = "FederatedRootUnconfined"
"""Why nobody of a trust domain is trusted by one that it federates with."""


def unconfined_message(domain: TrustDomain, by_whom: str) -> str:
    """Return why the root of a trust domain is not trusted elsewhere, and what to do about it."""
    return (
        f"name constraints do not confine the root of TrustDomain {domain.metadata.name} to its "
        f"own trust domain, so it is not trusted {by_whom}; constrain it to the URI host "
        f"{domain.spec.domain}"
    )
