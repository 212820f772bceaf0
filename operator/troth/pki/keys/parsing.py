"""Parsing of private keys at a bounded cost: no primality test, and only supported kinds.

A primality test of an RSA-8192 key takes seconds, during which `cryptography` holds the GIL, so a
thread does not help. Decision 29 in docs/decisions says why Troth needs no such test.
"""

import base64
import binascii
import re

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from troth.pki.encodings.pem import MAX_EXPONENT

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

LONGEST = 16 * 1024
"""Maximum size of a key file in bytes. An RSA-8192 key takes 6.4 KiB."""

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.ASCII | re.DOTALL)
_LENGTH = rb"(?:[\x00-\x7f]|\x81.|\x82..)"
_PKCS8 = re.compile(
    rb"\x30%b\x02\x01[\x00\x01]\x30%b\x06([\x01-\x7f])" % (_LENGTH, _LENGTH), re.DOTALL
)
"""Beginning of a PrivateKeyInfo (RFC 5958), up to the length of its algorithm's OID."""
_SUPPORTED = frozenset(
    {
        bytes.fromhex("2a864886f70d010101"),  # rsaEncryption
        bytes.fromhex("2a864886f70d01010a"),  # id-RSASSA-PSS
        bytes.fromhex("2a8648ce3d0201"),  # id-ecPublicKey
        bytes.fromhex("2b6570"),  # id-Ed25519
    }
)
_CURVE = b"EC PARAMETERS"


class UnreadableKeyError(ValueError):
    """The text is not exactly one readable private key in PEM. The error quotes nothing of it."""


class EncryptedKeyError(ValueError):
    """The private key is encrypted with a passphrase."""


class UnsupportedKeyError(ValueError):
    """The private key is of a kind or size that is not supported."""


def parse_private_key(pem: bytes, rsa_bits: range | frozenset[int]) -> PrivateKey:
    """Return the only private key of a PEM text: PKCS#8, `EC PRIVATE KEY` or `RSA PRIVATE KEY`.

    `rsa_bits` are the accepted sizes of an RSA key. Any curve is accepted. Raises
    `EncryptedKeyError`, `UnsupportedKeyError` or `UnreadableKeyError`.
    """
    block = _only_block(pem)
    oid = _algorithm(block[2])
    # Before OpenSSL parses the key: a Diffie-Hellman key of 10,000 bits takes it 0.3 s.
    if oid is not None and oid not in _SUPPORTED:
        raise UnsupportedKeyError("the key is of an unsupported kind")
    try:
        key = load_pem_private_key(block[0], None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        raise UnreadableKeyError("the key cannot be parsed") from None
    if not isinstance(key, PrivateKey):
        raise UnsupportedKeyError("the key is of an unsupported kind")
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size not in rsa_bits:
            raise UnsupportedKeyError("the RSA key has an unsupported size")
        if not _is_consistent(key.private_numbers()):
            raise UnreadableKeyError("the numbers of the RSA key are inconsistent")
    return key


def _only_block(pem: bytes) -> re.Match[bytes]:
    """Return the only block of a PEM text, ignoring the curve that `openssl ecparam` writes."""
    found = list(_BLOCK.finditer(pem)) if len(pem) <= LONGEST else []
    blocks = [block for block in found if block[1] != _CURVE]
    if len(blocks) != 1 or b"-----" in _BLOCK.sub(b"", pem):
        raise UnreadableKeyError("the text is not exactly one PEM block")
    if blocks[0][1] == b"ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in blocks[0][2]:
        raise EncryptedKeyError("the key is encrypted")
    return blocks[0]


def _algorithm(body: bytes) -> bytes | None:
    """Return the OID of a PKCS#8 key, in DER; None for the older formats, which have none."""
    try:
        der = base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise UnreadableKeyError("the block is not base64") from None
    begin = _PKCS8.match(der)
    return None if begin is None else der[begin.end() : begin.end() + begin[1][0]]


def _is_consistent(key: rsa.RSAPrivateNumbers) -> bool:
    """Return whether the numbers of an RSA key fit together: OpenSSL's checks except primality.

    Without them a key could have the public exponent 1, and anybody could forge its signatures. A
    large exponent makes each verification slow.
    """
    n, e = key.public_numbers.n, key.public_numbers.e
    p, q, d = key.p, key.q, key.d
    return (
        e % 2 == 1
        and 3 <= e <= min(n - 1, MAX_EXPONENT)  # noqa: PLR2004 - the least exponent of RFC 8017 section 3.1
        and min(p, q) > 2  # noqa: PLR2004
        and p * q == n
        and (e * d) % (p - 1) == 1
        and (e * d) % (q - 1) == 1
        and key.dmp1 == d % (p - 1)
        and key.dmq1 == d % (q - 1)
        and (key.iqmp * q) % p == 1
    )
