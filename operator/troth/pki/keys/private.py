"""Private keys: generation, PEM, and supported algorithms."""

from typing import assert_never

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from troth.pki.encodings.pem import public_key
from troth.pki.errors import KeyMaterialError
from troth.pki.keys.parsing import (
    LONGEST,
    EncryptedKeyError,
    PrivateKey,
    UnreadableKeyError,
    UnsupportedKeyError,
    parse_private_key,
)
from troth.resources.algorithms import KeyAlgorithm

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_PUBLIC_EXPONENT = 65537
_CURVES = {"secp256r1": KeyAlgorithm.ECDSA_P256, "secp384r1": KeyAlgorithm.ECDSA_P384}
_RSA_BITS = {2048: KeyAlgorithm.RSA_2048, 4096: KeyAlgorithm.RSA_4096}
_RSA_SIZES = frozenset(_RSA_BITS)
_ALLOWED = ", ".join(KeyAlgorithm)


def generate_key(algorithm: KeyAlgorithm) -> PrivateKey:
    """Return a new private key."""
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
    """Return a key as one unencrypted PKCS#8 block (RFC 7468, section 10), for `tls.key`."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_private_key(pem: bytes) -> PrivateKey:
    """Return the only private key of a `tls.key`, which must not be encrypted.

    Certificate controllers write PKCS#8, `EC PRIVATE KEY` or `RSA PRIVATE KEY` blocks. Raises
    `KeyMaterialError`, which never quotes the input: it may be a key that was pasted wrongly. RSA
    primes are not tested (see `troth.pki.keys.parsing`).
    """
    if len(pem) > LONGEST:
        raise KeyMaterialError(
            "PrivateKeyTooLarge",
            f"tls.key is larger than {LONGEST} bytes; put one private key in PEM there, of "
            f"{_ALLOWED}, and nothing else.",
        )
    try:
        key = parse_private_key(pem, _RSA_SIZES)
    except UnreadableKeyError:
        raise KeyMaterialError(
            "PrivateKeyUnreadable",
            "tls.key must hold exactly one readable private key; put one whole PKCS#8 PEM block "
            "there, from its BEGIN line to its END line, and nothing else.",
        ) from None
    except EncryptedKeyError:
        raise KeyMaterialError(
            "PrivateKeyEncrypted",
            "tls.key is encrypted with a passphrase; store it decrypted (openssl pkey), as the "
            "type kubernetes.io/tls requires.",
        ) from None
    except UnsupportedKeyError:
        raise _unsupported() from None
    algorithm_of(key.public_key())
    return key


def algorithm_of(key: object) -> KeyAlgorithm:
    """Return the algorithm of a public key; raises `KeyMaterialError` if it is not supported."""
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
    """Return the hash to sign with, as strong as the key; None for Ed25519 (RFC 8410)."""
    match algorithm_of(key.public_key()):
        case KeyAlgorithm.ED25519:
            return None
        case KeyAlgorithm.ECDSA_P384:
            return hashes.SHA384()
        case _:
            return hashes.SHA256()


def same_key(certificate: x509.Certificate, key: PrivateKey) -> bool:
    """Return whether the private key is that of the certificate."""
    return public_key(certificate) == key.public_key()


def _unsupported() -> KeyMaterialError:
    return KeyMaterialError(
        "UnsupportedKey", f"The key's algorithm or size is not supported; use one of {_ALLOWED}."
    )
