"""A trust domain without a cluster: certificates and tokens for isolated measurements."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.harness.servers import write_secretly
from troth.pki.bundles.spiffe_bundle import bundle_document
from troth.pki.certificates.authorities import SigningAuthority, load_signing_authority
from troth.pki.certificates.issuing import LeafProfile, create_root, issue
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.jwk import public_jwk
from troth.pki.keys.private import generate_key, private_key_pem
from troth.pki.spiffe import spiffe_id
from troth.resources.algorithms import KeyAlgorithm

NAME = "bench.example"
ISSUER = "https://bench-issuer.troth-system.svc:8443"
NAMESPACE = "bench"
LIFETIME = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class SVID:
    """A workload's SPIFFE ID, its certificate (PEM) and its key."""

    spiffe_id: str
    certificate: bytes
    key: bytes = field(repr=False)

    @property
    def der(self) -> bytes:
        """Certificate in DER, as sent in TLS."""
        (certificate,) = read_certificates(self.certificate, "the SVID")
        return certificate.public_bytes(Encoding.DER)


@dataclass(frozen=True, slots=True)
class Domain:
    """A trust domain's root, and the key that signs its tokens."""

    root: SigningAuthority
    token_key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def make(cls) -> Self:
        """Create a trust domain."""
        key = generate_key(KeyAlgorithm.ECDSA_P256)
        certificate = create_root(NAME, key, LIFETIME, datetime.now(UTC))
        root = load_signing_authority(certificate, private_key_pem(key), None, NAME)
        return cls(root, ec.generate_private_key(ec.SECP256R1()))

    @property
    def anchors(self) -> bytes:
        """Roots in the format of `ca.crt`."""
        return b"".join(self.root.authority.anchors)

    def svid(self, workload: str) -> SVID:
        """Issue a certificate for a workload that is also valid for `localhost`."""
        key = generate_key(KeyAlgorithm.ECDSA_P256)
        profile = LeafProfile(identity(workload), ("localhost",), LIFETIME)
        leaf = issue(profile, key, self.root, datetime.now(UTC))
        return SVID(profile.spiffe_id, leaf, private_key_pem(key))

    def bundle(self) -> dict[str, Any]:
        """Return the SPIFFE bundle of the domain as JSON."""
        anchors, key = self.root.authority.anchors, self.token_key.public_key()
        return bundle_document(anchors, [public_jwk(key)])


def identity(workload: str) -> str:
    """Return the SPIFFE ID of a workload."""
    return spiffe_id(NAME, NAMESPACE, workload)


def write_tls(directory: Path, own: SVID, anchors: bytes) -> None:
    """Write `tls.crt`, `tls.key` and `ca.crt`, like a mounted Secret of an identity."""
    files = {"tls.crt": own.certificate, "tls.key": own.key, "ca.crt": anchors}
    for name, content in files.items():
        write_secretly(directory / name, content)
