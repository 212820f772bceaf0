"""Trust bundles: the anchors of a trust domain as PEM, for `ca.crt` and ConfigMaps."""

from collections.abc import Iterable

from cryptography import x509

from troth.pki.certificates.pairs import pair_id, root_id
from troth.pki.encodings.pem import fingerprint, read_certificates, write_certificates


def bundle_pem(anchors: Iterable[bytes]) -> str:
    """Return the anchors (PEM, one or more certificates each) as one bundle.

    Each certificate is there once, sorted by fingerprint. The same set is always the same text, so
    Troth writes a bundle only when the set changes, not when another anchor becomes active. The
    text is empty without anchors. Raises `CertificateError` for an unreadable anchor.
    """
    return write_certificates(distinct(anchors)).decode("ascii")


def parse_bundle(text: str) -> tuple[str, ...]:
    """Return the fingerprints of a bundle's certificates, in order.

    Raises `CertificateError` if it has no certificates or anything else.
    """
    found = read_certificates(text.encode(), "the bundle")
    return tuple(fingerprint(certificate) for certificate in found)


def parse_pairs(text: str) -> frozenset[str]:
    """Return the `pair_id` of each certificate in a bundle: the two of a root have the same one.

    Raises `CertificateError` as `parse_bundle` does.
    """
    return frozenset(map(pair_id, read_certificates(text.encode(), "the bundle")))


def without_roots(anchors: Iterable[bytes], own: Iterable[bytes]) -> tuple[bytes, ...]:
    """Return the anchors (PEM, one certificate each) that are of other roots than `own`."""
    known = set(map(root_id, distinct(own)))
    return tuple(each for each in anchors if root_id(*distinct([each])) not in known)


def distinct(anchors: Iterable[bytes]) -> list[x509.Certificate]:
    """Return the certificates of the anchors, each once, sorted by fingerprint."""
    found = {
        fingerprint(certificate): certificate
        for anchor in anchors
        for certificate in read_certificates(anchor, "an anchor")
    }
    return [found[key] for key in sorted(found)]
