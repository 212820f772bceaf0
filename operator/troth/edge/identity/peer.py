"""Identifies the peer of a TLS connection by the certificate that TLS has verified.

TLS verifies against all roots at once: those of the own trust domain and those of federated ones.
The authority of one trust domain must not vouch for workloads of another. Therefore the path from
the leaf to an authority of its own trust domain is verified again.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding

from troth.edge.identity.snapshot import Snapshot
from troth.edge.inbound.refusal import RefusedError
from troth.pki.certificates import paths
from troth.pki.certificates.leaf import parse_leaf
from troth.pki.encodings.pem import read_certificates
from troth.pki.errors import PKIError
from troth.pki.spiffe import SPIFFEID
from troth.pki.tokens.signing import certificate_thumbprint


@dataclass(frozen=True, slots=True)
class Peer:
    """Workload identified by its certificate; times are in seconds since the epoch."""

    spiffe_id: str
    thumbprint: str
    not_before: float
    not_after: float


def read_peer(chain: tuple[str, ...], snapshot: Snapshot) -> Peer:
    """Return the workload of a chain as the client sent it: one PEM certificate each, leaf first.

    Raises `RefusedError` with `caller-unknown` for anything but an X.509-SVID that an authority of
    its own trust domain issued. The validity period is not checked.
    """
    try:
        return _peer(chain, snapshot)
    except (PKIError, UnicodeEncodeError):
        raise RefusedError("caller-unknown") from None


def _peer(chain: tuple[str, ...], snapshot: Snapshot) -> Peer:
    pem = "\n".join(chain).encode("ascii")
    leaf = parse_leaf(pem)
    bundle = snapshot.bundles.get(SPIFFEID.parse(leaf.spiffe_id).trust_domain)
    if bundle is None:
        raise RefusedError("caller-unknown")
    anchors = read_certificates(b"".join(bundle.x509_authorities), "the bundle")
    certificates = read_certificates(pem, "the client's chain")
    served = certificates[:1] + [each for each in certificates[1:] if each not in anchors]
    path = paths.to_anchor(served, anchors)
    paths.check(path[1:])
    return Peer(
        leaf.spiffe_id,
        certificate_thumbprint(served[0].public_bytes(Encoding.DER)),
        leaf.not_before.timestamp(),
        leaf.not_after.timestamp(),
    )
