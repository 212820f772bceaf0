"""Private keys: made, written and read."""

import re
from typing import assert_never

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from troth.pki.errors import KeyMaterialError
from troth.pki.pem import public_key
from troth.resources.algorithms import KeyAlgorithm

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_PUBLIC_EXPONENT = 65537
_CURVES = {"secp256r1": KeyAlgorithm.ECDSA_P256, "secp384r1": KeyAlgorithm.ECDSA_P384}
_RSA_BITS = {2048: KeyAlgorithm.RSA_2048, 4096: KeyAlgorithm.RSA_4096}
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.ASCII | re.DOTALL)
_LONGEST = 16 * 1024
"""Bytes of a key file. Checking an RSA key of absurd size would take minutes, and so would looking
for the ends of blocks that have none.
"""


def generate_key(algorithm: KeyAlgorithm) -> PrivateKey:
    """Make a new private key."""
    match algorithm:
        case KeyAlgorithm.ECDSA_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyAlgorithm.ECDSA_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyAlgorithm.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyAlgorithm.RSA_2048:
            return rsa.generate_private_key(_PUBLIC_EXPONENT, 2048)
        case KeyAlgorithm.RSA_4096:
            return rsa.generate_private_key(_PUBLIC_EXPONENT, 4096)
        case _:
            assert_never(algorithm)


def private_key_pem(key: PrivateKey) -> bytes:
    """The key as one unencrypted PKCS#8 block (RFC 7468 section 10), for `tls.key`."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_private_key(pem: bytes) -> PrivateKey:
    """Read the one unencrypted private key of a `tls.key`.

    PKCS#8 and the older `EC` and `RSA PRIVATE KEY` blocks are read, because certificate
    controllers write either. Raises `KeyMaterialError`, which never quotes the input: it may be
    a key that was merely pasted wrongly.
    """
    # `openssl ecparam -genkey` puts the curve in a block of its own; the key names it again.
    found = _BLOCK.findall(pem) if len(pem) <= _LONGEST else []
    labels = [label for label in found if label != b"EC PARAMETERS"]
    if len(labels) != 1 or b"-----" in _BLOCK.sub(b"", pem):
        raise KeyMaterialError(
            "PrivateKeyUnreadable",
            "tls.key must hold exactly one private key in PEM; put the whole block there, from "
            "its BEGIN line to its END line, and nothing else.",
        )
    if labels[0] == b"ENCRYPTED PRIVATE KEY" or b"Proc-Type: 4,ENCRYPTED" in pem:
        raise KeyMaterialError(
            "PrivateKeyEncrypted",
            "tls.key is protected by a passphrase; store it decrypted (openssl pkey), as the "
            "kubernetes.io/tls type expects.",
        )
    try:
        key = load_pem_private_key(pem, None)
    # a key of X448 or Ed448 that is too short is an InternalError
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        raise KeyMaterialError(
            "PrivateKeyUnreadable",
            "tls.key is not a private key that can be read; write it anew, in PKCS#8 PEM.",
        ) from None
    if not isinstance(key, PrivateKey):
        raise _unsupported()
    algorithm_of(key.public_key())
    return key


def algorithm_of(key: object) -> KeyAlgorithm:
    """The algorithm of a public key; raises `KeyMaterialError` for one Troth does not use."""
    match key:
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            return _CURVES[key.curve.name]
        case ed25519.Ed25519PublicKey():
            return KeyAlgorithm.ED25519
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS:
            return _RSA_BITS[key.key_size]
        case _:
            raise _unsupported()


def signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """The hash to sign with: as strong as the signing key, and none for Ed25519 (RFC 8410)."""
    match algorithm_of(key.public_key()):
        case KeyAlgorithm.ED25519:
            return None
        case KeyAlgorithm.ECDSA_P384:
            return hashes.SHA384()
        case _:
            return hashes.SHA256()


def same_key(certificate: x509.Certificate, key: PrivateKey) -> bool:
    """Whether the certificate speaks for this private key."""
    return public_key(certificate) == key.public_key()


def _unsupported() -> KeyMaterialError:
    allowed = ", ".join(KeyAlgorithm)
    return KeyMaterialError(
        "UnsupportedKey", f"The key's algorithm or size is not supported; use one of {allowed}."
    )
