"""Strict reading of certificates in PEM, as Secrets and ConfigMaps hold them."""

import re
from collections.abc import Iterable
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from troth.pki.errors import CertificateError

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

UNREADABLE = (
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""Errors that `cryptography` raises for certificates it cannot decode; they share no base class."""

MAX_CHAIN_BYTES = 64 * 1024
"""Maximum size of a chain, or of an authority's roots, from a Secret, in bytes."""

RSA_SIZES = range(1024, 8193)
"""Accepted sizes of RSA keys in certificates, in bits. Where Troth signs, fewer are accepted."""
MAX_EXPONENT = 2**31 - 1
"""Maximum public exponent of an RSA key, as in Go's crypto/rsa. The time of a verification grows
with its length: with 2000 bits it takes 68 times as long as with 65537.
"""

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s[^-]*-----END \1-----", re.ASCII)


def read_certificates(
    pem: bytes, where: str, *, comments: bool = False, most: int | None = None
) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, at least one, in the file's order.

    `where` names the file in errors. `comments` allows text around the blocks, which RFC 7468,
    section 2, asks of readers of foreign files. `most` is the maximum size in bytes. Raises
    `CertificateError` for a block that is truncated or not a certificate (such as a private key),
    for a larger file, for an RSA key that takes long to verify with, and without `comments` for any
    other text. The error quotes nothing of the input.
    """
    if most is not None and len(pem) > most:
        raise CertificateError(
            "CertificatesTooLarge",
            f"{where} is larger than {most} bytes; keep only the certificates of one chain there.",
        )
    around = _BLOCK.sub(b"", pem)
    if b"-----" in around:
        raise CertificateError(
            "PEMUnreadable",
            f"{where} holds a truncated or damaged PEM block; write each block again, whole from "
            "its BEGIN line to its END line.",
        )
    found = list(_BLOCK.finditer(pem))
    if not found:
        raise CertificateError(
            "CertificateMissing" if not pem.strip() else "NotPEM",
            f"{where} holds no certificate in PEM; put one there, beginning with "
            "'-----BEGIN CERTIFICATE-----'.",
        )
    if around.strip() and not comments:
        raise CertificateError(
            "PEMUnreadable", f"{where} holds text besides its certificates; remove it."
        )
    if any(block[1] != b"CERTIFICATE" for block in found):
        raise CertificateError(
            "NotACertificate",
            f"{where} holds a PEM block that is not a certificate; keep only certificates there, "
            "and private keys in tls.key.",
        )
    try:
        certificates = [_decoded(x509.load_pem_x509_certificate(block[0])) for block in found]
    except UNREADABLE:
        raise CertificateError(
            "CertificateUnreadable",
            f"{where} holds a certificate that cannot be read; write it again.",
        ) from None
    for certificate in certificates:
        check_cost(certificate, where)
    return certificates


def write_certificates(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return certificates as PEM, in the given order."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate's DER, as 64 lower-case hexadecimal digits."""
    return certificate.fingerprint(SHA256()).hex()


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """Return a certificate's extension of a type, None if it has none."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def verifies_fast(key: object) -> bool:
    """Return whether a signature is verified with a public key in bounded time.

    False only for an RSA key with a large modulus or exponent.
    """
    if not isinstance(key, rsa.RSAPublicKey):
        return True
    return key.key_size in RSA_SIZES and key.public_numbers().e <= MAX_EXPONENT


def check_cost(certificate: x509.Certificate, where: str) -> None:
    """Raise `CertificateError` for a key with which a verification would take long."""
    if not verifies_fast(public_key(certificate)):
        raise CertificateError(
            "UnsupportedKey",
            f"{where} holds a certificate with an RSA key that is not of {RSA_SIZES[0]} to "
            f"{RSA_SIZES[-1]} bits, or whose exponent is larger than {MAX_EXPONENT}; use a key "
            "with the exponent 65537.",
        )


def public_key(certificate: x509.Certificate) -> object:
    """Return a certificate's public key, None if `cryptography` cannot read it."""
    try:
        return certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None


def _decoded(certificate: x509.Certificate) -> x509.Certificate:
    # `cryptography` decodes these on first access; do it here, where an error becomes a message.
    _ = certificate.subject, certificate.issuer, certificate.extensions
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate
