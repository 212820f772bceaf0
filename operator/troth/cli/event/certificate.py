"""Facts about the certificates that a message carries, verified or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography.x509 import Certificate

from troth.edge.events.rejection import RejectedError
from troth.edge.events.seal.producers import parse_chain
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle
from troth.pki.certificates import paths
from troth.pki.certificates.leaf import parse_leaf, short
from troth.pki.encodings.pem import fingerprint, read_certificates, write_certificates
from troth.pki.errors import PKIError
from troth.pki.spiffe import SPIFFEID


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """Content of a leaf.

    `issuer` is the fingerprint of the authority that vouches for it, None if none of the bundle
    does. `authorities` are the fingerprints of the bundle of its trust domain, None if there is no
    bundle.
    """

    spiffe_id: str
    trust_domain: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    issuer: str | None
    authorities: tuple[str, ...] | None


def certificate_facts(
    text: str | None, bundles: Mapping[str, SPIFFEBundle]
) -> CertificateFacts | None:
    """Return the facts about the attribute `trothchain`, None if it cannot be read."""
    if text is None:
        return None
    try:
        chain = parse_chain(text)
        leaf = parse_leaf(write_certificates(chain))
        trust_domain = SPIFFEID.parse(leaf.spiffe_id).trust_domain
        anchors = _anchors(bundles.get(trust_domain))
    except (RejectedError, PKIError):
        return None
    return CertificateFacts(
        leaf.spiffe_id,
        trust_domain,
        short(leaf.fingerprint),
        leaf.not_before,
        leaf.not_after,
        _issuer(chain, anchors or []),
        None if anchors is None else tuple(short(fingerprint(each)) for each in anchors),
    )


def _anchors(bundle: SPIFFEBundle | None) -> list[Certificate] | None:
    if bundle is None:
        return None
    return read_certificates(b"".join(bundle.x509_authorities), "the bundle")


def _issuer(chain: list[Certificate], anchors: list[Certificate]) -> str | None:
    served = [chain[0], *(each for each in chain[1:] if each not in anchors)]
    try:
        path = paths.to_anchor(served, anchors)
        paths.check(path[1:])
    except PKIError:
        return None
    return short(fingerprint(path[-1]))
