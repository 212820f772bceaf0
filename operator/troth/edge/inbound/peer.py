"""Identifies the peer of a TLS connection by the certificate that TLS has verified.

TLS verifies against all roots at once: those of the own trust domain and those of federated ones.
The authority of one trust domain must not vouch for workloads of another. Therefore the path from
the leaf to an authority of its own trust domain is verified again.
"""

from dataclasses import dataclass

from troth.edge.identity.snapshot import Snapshot
from troth.edge.identity.svid import verify_svid
from troth.edge.inbound.refusal import RefusedError
from troth.pki.encodings.pem import MAX_CHAIN_BYTES, read_certificates
from troth.pki.errors import PKIError


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
    svid = verify_svid(
        read_certificates(pem, "the client's chain", most=MAX_CHAIN_BYTES), snapshot.bundles
    )
    return Peer(svid.spiffe_id, svid.thumbprint, svid.not_before, svid.not_after)
