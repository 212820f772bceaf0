"""Trust bundles: the anchors of a domain, as readers get them in `ca.crt` and in ConfigMaps."""

from collections.abc import Iterable

from cryptography import x509

from troth.pki.pem import fingerprint, read_certificates, write_certificates


def bundle_pem(anchors: Iterable[bytes]) -> str:
    """The anchors (PEM, one or more certificates each) as one bundle.

    Each once, in the order of their fingerprints: the same set is always the same text, so a
    bundle is written only when the set changes and not when another anchor becomes the active
    one. No anchors give an empty text. Raises `CertificateError` for an anchor that is unreadable.
    """
    return write_certificates(distinct(anchors)).decode("ascii")


def parse_bundle(text: str) -> tuple[str, ...]:
    """The fingerprints of a bundle's certificates, in its order.

    Raises `CertificateError` where it holds none, or anything besides.
    """
    found = read_certificates(text.encode(), "the bundle")
    return tuple(fingerprint(certificate) for certificate in found)


def distinct(anchors: Iterable[bytes]) -> list[x509.Certificate]:
    """The certificates of the anchors, each once, sorted by fingerprint."""
    found = {
        fingerprint(certificate): certificate
        for anchor in anchors
        for certificate in read_certificates(anchor, "an anchor")
    }
    return [found[key] for key in sorted(found)]
