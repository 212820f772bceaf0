"""Two certificates of one root, for verifiers of its own trust domain and for those of others.

The *confined* certificate is what a root is created with. The *plain* one has the same name, key
and validity, and constrains addresses only, which every TLS library accepts. A leaf is valid below
either. No store may hold both, because OpenSSL's verdict then depends on their order.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from troth.pki.certificates import paths
from troth.pki.certificates.constraints import exclude_addresses
from troth.pki.certificates.leaf import short
from troth.pki.encodings.pem import (
    MAX_CHAIN_BYTES,
    extension,
    fingerprint,
    read_certificates,
    write_certificates,
)
from troth.pki.errors import AuthorityError, PKIError
from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import signature_hash


def plain_certificate(confined: x509.Certificate, key: PrivateKey) -> bytes:
    """Return the plain certificate of a confined root, as PEM.

    `key` is the root's. The serial number is another: no two certificates of an issuer have the
    same one (RFC 5280, section 4.1.2.2).
    """
    builder = (
        x509.CertificateBuilder(issuer_name=confined.subject, subject_name=confined.subject)
        .serial_number(x509.random_serial_number())
        .public_key(key.public_key())
        .not_valid_before(confined.not_valid_before_utc)
        .not_valid_after(confined.not_valid_after_utc)
    )
    for each in _plain_extensions(confined):
        builder = builder.add_extension(each.value, critical=each.critical)
    return write_certificates([builder.sign(key, signature_hash(key))])


def read_plain(pem: bytes, confined: x509.Certificate) -> x509.Certificate | None:
    """Return the plain certificate of a confined root, None if `pem` is anything else."""
    try:
        (plain,) = read_certificates(pem, "plain.crt", most=MAX_CHAIN_BYTES)
        signed = paths.is_signed(plain, plain)
    except (PKIError, ValueError):
        return None
    same = _identity(plain) == _identity(confined) and _period(plain) == _period(confined)
    extensions = list(plain.extensions) == _plain_extensions(confined)
    return plain if signed and same and extensions else None


def check_constraints_agree(anchors: Iterable[x509.Certificate]) -> None:
    """Raise `AuthorityError` if two certificates of one root differ in their name constraints."""
    found: dict[tuple[bytes, bytes], list[x509.Certificate]] = defaultdict(list)
    for anchor in anchors:
        found[_identity(anchor)].append(anchor)
    for certificates in found.values():
        first, *others = certificates
        constraints = extension(first, x509.NameConstraints)
        for other in others:
            if extension(other, x509.NameConstraints) != constraints:
                raise AuthorityError(
                    "AnchorsContradict",
                    f"ca.crt holds two certificates of one root, {_short(first)} and "
                    f"{_short(other)}, that differ in their name constraints, so the order decides "
                    "what verifiers accept; keep one of them.",
                )


def root_id(certificate: x509.Certificate) -> str:
    """Return what all certificates of one root share: the SHA-256 of its name and key."""
    return sha256(b"".join(_identity(certificate))).hexdigest()


def pair_id(certificate: x509.Certificate) -> str:
    """Return what the plain and the confined certificate of a root share.

    A renewed certificate of the same root has another validity, so it is of another pair: a
    verifier that lacks it rejects every leaf once the old one expires.
    """
    begins, ends = _period(certificate)
    return f"{root_id(certificate)} {begins.isoformat()} {ends.isoformat()}"


def _identity(certificate: x509.Certificate) -> tuple[bytes, bytes]:
    """Return the name and the key of a root, DER; a key that cannot be read is its own."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return certificate.subject.public_bytes(), certificate.public_bytes(Encoding.DER)
    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return certificate.subject.public_bytes(), encoded


def _period(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def _plain_extensions(confined: x509.Certificate) -> list[x509.Extension[x509.ExtensionType]]:
    """Return the extensions of a root's plain certificate, in the order of the confined one."""
    return [
        x509.Extension(each.oid, each.critical, exclude_addresses())
        if isinstance(each.value, x509.NameConstraints)
        else each
        for each in confined.extensions
    ]


def _short(certificate: x509.Certificate) -> str:
    return short(fingerprint(certificate))
