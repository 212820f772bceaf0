"""Trust anchors of a trust domain's workloads."""

from collections.abc import Iterator
from functools import lru_cache

from troth.pki.bundles.trust_bundle import bundle_pem, parse_bundle
from troth.pki.certificates.authorities import Authority
from troth.pki.errors import PKIError
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.governance import federate
from troth.world.index.authorities import is_confined
from troth.world.world import World


def trusted_anchors(domain: TrustDomain, world: World) -> tuple[bytes, ...]:
    """Return the domain's own anchors and those of the domains it federates with, as PEM.

    The result is empty while the domain has no usable authority, because a bundle without the
    domain's own root would break its workloads. A federated root is included only if its name
    constraints confine it to its trust domain. Any other root could issue identities of this one.
    """
    known = world.authorities.of(domain)
    if known is None or known.authority is None:
        return ()
    return (
        *known.anchors,
        *(anchor for other in federated(domain, world) for anchor in confined(other, world)),
    )


@lru_cache(maxsize=256)
def bundle_text(anchors: tuple[bytes, ...]) -> str:
    """Return anchors as a PEM bundle. Cached, because all identities of a domain share it."""
    return bundle_pem(anchors)


@lru_cache(maxsize=256)
def roots_in(bundle: str) -> frozenset[str]:
    """Return the fingerprints of a bundle's roots, none if the bundle cannot be read."""
    try:
        return frozenset(parse_bundle(bundle))
    except PKIError:
        return frozenset()


def federated(domain: TrustDomain, world: World) -> Iterator[TrustDomain]:
    """Yield the trust domains that federate with this one and are not being deleted."""
    for reference in domain.spec.federates_with:
        other = world.registry.domains.get(reference.name)
        if other is None or other.metadata.deletion_timestamp is not None:
            continue
        if federate(domain, other):
            yield other


def confined(domain: TrustDomain, world: World) -> tuple[bytes, ...]:
    """Return the anchors that other domains may trust: those confined to this domain, as PEM."""
    known = world.authorities.of(domain)
    if known is None or known.authority is None:
        return ()
    return tuple(
        anchor for slot in known.slots if is_confined(slot, domain) for anchor in slot.anchors
    )


def trusting(root: Authority, domain: TrustDomain, world: World) -> Iterator[TrustDomain]:
    """Yield the trust domains whose workloads verify leaves that this root of `domain` issues."""
    yield domain
    if is_confined(root, domain):
        yield from federated(domain, world)
