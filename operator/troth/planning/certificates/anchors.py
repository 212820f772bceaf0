"""Trust anchors of a trust domain's workloads.

The domain's own verifiers trust its plain roots, and those of federated domains its confined ones.
Most verifiers have one flat store, so no store has two certificates of one root. See
docs/decisions/0110-two-certificates-of-each-root.md.
"""

from collections.abc import Iterator
from functools import lru_cache

from troth.pki.bundles.trust_bundle import bundle_pem, parse_bundle, parse_pairs, without_roots
from troth.pki.certificates.authorities import Authority
from troth.pki.errors import PKIError
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.governance import federate
from troth.trust.declarations.registry import Registry
from troth.world.facts.objects import KnownAuthority


@lru_cache(maxsize=256)
def joined(own: tuple[bytes, ...], foreign: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return a domain's own anchors, and the others that are not one of its roots, as PEM."""
    return (*own, *without_roots(foreign, own))


@lru_cache(maxsize=256)
def bundle_text(anchors: tuple[bytes, ...]) -> str:
    """Return anchors as a PEM bundle. Cached, because all identities of a domain share it."""
    return bundle_pem(anchors)


@lru_cache(maxsize=256)
def fingerprints_in(bundle: str) -> frozenset[str]:
    """Return the fingerprints of a bundle's certificates, none if the bundle cannot be read."""
    try:
        return frozenset(parse_bundle(bundle))
    except PKIError:
        return frozenset()


@lru_cache(maxsize=256)
def roots_in(bundle: str) -> frozenset[str]:
    """Return the roots in a bundle, none if the bundle cannot be read.

    The two certificates of a root are one root, because a leaf is valid below either.
    """
    try:
        return parse_pairs(bundle)
    except PKIError:
        return frozenset()


def federated(domain: TrustDomain, registry: Registry) -> Iterator[TrustDomain]:
    """Yield the trust domains that federate with this one and are not being deleted."""
    for reference in domain.spec.federates_with:
        other = registry.domains.get(reference.name)
        if other is None or other.metadata.deletion_timestamp is not None:
            continue
        if federate(domain, other):
            yield other


def confined(known: KnownAuthority | None) -> tuple[bytes, ...]:
    """Return the anchors that other domains may trust: those confined to their domain, as PEM."""
    if known is None or known.authority is None:
        return ()
    return tuple(anchor for slot in known.slots for anchor in slot.confined)


def trusting(root: Authority, domain: TrustDomain, registry: Registry) -> Iterator[TrustDomain]:
    """Yield the trust domains whose workloads verify leaves that this root of `domain` issues."""
    yield domain
    if root.confined:
        yield from federated(domain, registry)
