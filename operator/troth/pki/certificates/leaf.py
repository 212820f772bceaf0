"""Public facts of an issued leaf, and the time of its renewal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from troth.pki.encodings.pem import (
    MAX_CHAIN_BYTES,
    extension,
    fingerprint,
    public_key,
    read_certificates,
)
from troth.pki.errors import CertificateError
from troth.pki.keys.private import algorithm_of
from troth.pki.spiffe import SPIFFEID
from troth.resources.algorithms import KeyAlgorithm

BACKDATE = timedelta(minutes=5)
"""Time by which `notBefore` precedes the time of issue, for verifiers whose clocks are behind."""

_SHORT = 16
_MANTISSA_BITS = 53  # bits that a float holds exactly, so no spread rounds to 1


@dataclass(frozen=True, slots=True)
class Leaf:
    """Public facts of an issued X.509-SVID.

    `fingerprint` and each item of `chain` (the certificates after the leaf, in order) are SHA-256
    in hexadecimal. `serial`, `subject_key_id` and `authority_key_id` are hexadecimal. `subject` is
    in the form of RFC 4514, empty if there is none. Times are aware UTC in whole seconds.
    `issued_at` is `not_before + BACKDATE`, or `not_after` if that is earlier. It is up to
    `BACKDATE` too late for a leaf whose `not_before` is that of its authority. `certificate` is the
    leaf in DER, from which `Authority.signed` verifies who signed it.
    """

    fingerprint: str
    serial: str
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    spiffe_id: str
    dns_names: tuple[str, ...]
    subject: str
    algorithm: KeyAlgorithm
    subject_key_id: str
    authority_key_id: str
    chain: tuple[str, ...]
    certificate: bytes = field(repr=False, compare=False)


def parse_leaf(pem_chain: bytes) -> Leaf:
    """Return the leaf of a `tls.crt` that Troth wrote: the leaf, then the chain without the anchor.

    Raises a `PKIError` for any other content: no PEM, bytes between the certificates, or what
    `leaf_of` rejects.
    """
    return leaf_of(read_certificates(pem_chain, "tls.crt", most=MAX_CHAIN_BYTES))


def leaf_of(certificates: Sequence[x509.Certificate]) -> Leaf:
    """Return the first certificate of a `tls.crt` as a leaf.

    Raises a `PKIError` for a leaf that is a CA, one whose URI SAN is not exactly one SPIFFE ID with
    a path (X509-SVID, sections 2, 3.1 and 5.2), or an unsupported key. It checks neither signatures
    nor validity.
    """
    leaf, *chain = certificates
    constraints = extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise CertificateError(
            "NotALeaf",
            "The first certificate of tls.crt is a CA certificate, not a leaf; reissue it.",
        )
    names = extension(leaf, x509.SubjectAlternativeName)
    subject_key = extension(leaf, x509.SubjectKeyIdentifier)
    authority_key = extension(leaf, x509.AuthorityKeyIdentifier)
    authority_key_id = authority_key.key_identifier if authority_key else None
    if names is None or subject_key is None or authority_key_id is None:
        raise CertificateError(
            "NotAnSVID",
            "The first certificate of tls.crt lacks names or key identifiers; reissue it.",
        )
    return Leaf(
        fingerprint=fingerprint(leaf),
        serial=f"{leaf.serial_number:x}",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        issued_at=min(leaf.not_valid_before_utc + BACKDATE, leaf.not_valid_after_utc),
        spiffe_id=_one_spiffe_id(names),
        dns_names=tuple(names.get_values_for_type(x509.DNSName)),
        subject=leaf.subject.rfc4514_string(),
        algorithm=algorithm_of(public_key(leaf)),
        subject_key_id=subject_key.digest.hex(),
        authority_key_id=authority_key_id.hex(),
        chain=tuple(fingerprint(certificate) for certificate in chain),
        certificate=leaf.public_bytes(Encoding.DER),
    )


def renewal_due(leaf: Leaf, spread: float) -> datetime:
    """Return the renewal time: two thirds of the lifetime, counted from `issued_at`.

    `spread`, from 0 to below 1, moves it earlier by up to a fifteenth of the lifetime, into
    (0.6, 0.667] of it. So leaves that were issued in the same minute are not renewed in the same
    minute. It never moves later, because only a late renewal causes an outage.
    """
    lifetime = leaf.not_after - leaf.issued_at
    return leaf.issued_at + lifetime * 2 / 3 - lifetime / 15 * spread


def renewal_spread(uid: str) -> float:
    """Return a number from 0 to below 1, constant for a UID and evenly distributed over UIDs."""
    bits = int.from_bytes(sha256(uid.encode()).digest()[:8])
    return (bits >> 64 - _MANTISSA_BITS) / (1 << _MANTISSA_BITS)


def short(fingerprint: str) -> str:
    """Return the first 16 digits of a fingerprint, for statuses and messages."""
    return fingerprint[:_SHORT]


def _one_spiffe_id(names: x509.SubjectAlternativeName) -> str:
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise CertificateError(
            "NotAnSVID",
            f"The first certificate of tls.crt has {len(uris)} URI names instead of one SPIFFE "
            "ID; reissue it.",
        )
    if not SPIFFEID.parse(uris[0]).path:
        raise CertificateError(
            "NotAnSVID",
            "The first certificate of tls.crt names a trust domain but no workload in it; "
            "reissue it.",
        )
    return uris[0]
