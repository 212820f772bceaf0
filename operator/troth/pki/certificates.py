"""The public facts of an issued leaf, and when it is due for renewal."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from cryptography import x509

from troth.pki.errors import CertificateError
from troth.pki.keys import algorithm_of
from troth.pki.pem import LONGEST_CHAIN, extension, fingerprint, public_key, read_certificates
from troth.pki.spiffe import SPIFFEID
from troth.resources.algorithms import KeyAlgorithm

BACKDATE = timedelta(minutes=5)
"""How far before the moment of issue a certificate begins, for clocks that are behind."""

_SHORT = 16
_MANTISSA_BITS = 53  # what a float holds exactly, so that a spread can never round up to 1.0


@dataclass(frozen=True, slots=True)
class Leaf:
    """What everybody may know of an issued X.509-SVID.

    `fingerprint` and each of `chain` (the certificates that follow the leaf, in order) are
    SHA-256 in hexadecimal; `serial`, `subject_key_id` and `authority_key_id` are hexadecimal.
    `subject` is as RFC 4514 writes it, empty where there is none.
    Times are aware UTC with whole seconds. `issued_at` is `not_before + BACKDATE`, or `not_after`
    if that is earlier; a leaf cut to its authority's beginning counts up to BACKDATE too late.
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


def parse_leaf(pem_chain: bytes) -> Leaf:
    """Read a `tls.crt` as Troth writes it: the leaf, then the chain below the anchor.

    Raises a `PKIError` for anything else: no PEM, other bytes between the certificates, a leaf
    that is a CA, or one whose URI SAN is not exactly one SPIFFE ID with a path (X509-SVID
    sections 2, 3.1 and 5.2), or a key Troth does not use. Signatures and validity are not judged.
    """
    leaf, *chain = read_certificates(pem_chain, "tls.crt", most=LONGEST_CHAIN)
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
    )


def renewal_due(leaf: Leaf, spread: float) -> datetime:
    """When the leaf is to be replaced: at two thirds of its lifetime, counted from `issued_at`.

    `spread`, from 0 to below 1, moves it earlier by up to a fifteenth of the lifetime, so that a
    fleet enrolled in one minute does not renew in one minute: the result lies in (0.6, 0.667] of
    the lifetime. Earlier, never later, for a late renewal is the one that hurts.
    """
    lifetime = leaf.not_after - leaf.issued_at
    return leaf.issued_at + lifetime * 2 / 3 - lifetime / 15 * spread


def spread_of(uid: str) -> float:
    """A number from 0 to below 1 that is always the same for an object's UID and evenly spread
    over many.
    """
    bits = int.from_bytes(sha256(uid.encode()).digest()[:8])
    return (bits >> 64 - _MANTISSA_BITS) / (1 << _MANTISSA_BITS)


def short(fingerprint: str) -> str:
    """The first 16 digits of a fingerprint, as statuses and messages show it."""
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
