"""Asymmetric keys, each pinned to one algorithm.

An RSA key can sign in several ways, and a verifier can be tricked into using a public key as a
shared secret. So the algorithm belongs to the key. The algorithm that a delivery names is compared
with it and never chosen by it.
"""

from dataclasses import dataclass, field

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from troth.pki.encodings.pem import verifies_fast
from troth.pki.keys.parsing import UnsupportedKeyError, parse_private_key
from troth.webhooks.schemes.scheme import LONGEST_KEY, KeyFormatError
from troth.webhooks.schemes.signatures.ed25519 import public_key as strong

ECDSA_P256 = "ecdsa-p256-sha256"
RSA_PSS = "rsa-pss-sha512"
RSA_PKCS1 = "rsa-v1_5-sha256"
RSA_SHA1 = "rsa-v1_5-sha1"

Public = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_PSS = padding.PSS(padding.MGF1(SHA512()), 64)  # salt length of RFC 9421, section 3.3.1
_PKCS1 = padding.PKCS1v15()
_NUMBER = 32
_BITS = range(2048, 8193)
_USABLE = f"Ed25519, ECDSA on P-256, or RSA of {_BITS[0]} to {_BITS[-1]} bits"


@dataclass(frozen=True, slots=True)
class Pair:
    """Public key, with the private key for signing. Neither is in the `repr`."""

    public: Public = field(repr=False)
    private: Private | None = field(repr=False, default=None)


def read_pair(text: bytes) -> Pair:
    """Return the only key of a PEM text, public or private; raises `KeyFormatError`."""
    pem = text.strip()
    whole = pem.startswith(b"-----BEGIN ") and pem.endswith(b"-----")
    if len(pem) > LONGEST_KEY or not whole or pem.count(b"-----BEGIN ") != 1:
        raise KeyFormatError("not one key in PEM; write one whole block, from BEGIN to END")
    try:
        if b"PRIVATE KEY-----" in pem:
            private = parse_private_key(pem, _BITS)
            return Pair(checked(private.public_key()), private)
        return Pair(checked(load_pem_public_key(pem)))
    except KeyFormatError:
        raise
    except UnsupportedKeyError:
        raise KeyFormatError(f"the key's kind or size is not supported; use {_USABLE}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        raise KeyFormatError("a key in PEM that cannot be read; write it again") from None


def checked(public: object) -> Public:
    """Return a public key if its type and size are supported, else raise `KeyFormatError`."""
    if not isinstance(public, Public):
        raise KeyFormatError("a key of an unsupported kind; use Ed25519, ECDSA on P-256, or RSA")
    if isinstance(public, ed25519.Ed25519PublicKey):
        return strong(public.public_bytes_raw())
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name != "secp256r1":
        raise KeyFormatError("a key on an unsupported curve; use P-256")
    if isinstance(public, rsa.RSAPublicKey) and public.key_size not in _BITS:
        raise KeyFormatError("an RSA key has 2048 to 8192 bits; use another")
    if not verifies_fast(public):
        raise KeyFormatError("an RSA key with a large exponent; use one with the exponent 65537")
    return public


def is_for(public: Public, algorithm: str) -> bool:
    """Return whether a key can be used with an algorithm."""
    match algorithm:
        case "ed25519":
            return isinstance(public, ed25519.Ed25519PublicKey)
        case "ecdsa-p256-sha256":
            return isinstance(public, ec.EllipticCurvePublicKey)
        case _:
            return isinstance(public, rsa.RSAPublicKey)


def is_signed(public: Public, algorithm: str, message: bytes, signature: bytes) -> bool:
    """Return whether a signature of a message was made with this key and algorithm."""
    try:
        match public:
            case ed25519.Ed25519PublicKey():
                public.verify(signature, message)
            case ec.EllipticCurvePublicKey():
                if len(signature) != 2 * _NUMBER:
                    return False
                # RFC 9421, section 3.3.4: r, then s
                r, s = (int.from_bytes(each) for each in (signature[:32], signature[32:]))
                public.verify(encode_dss_signature(r, s), message, ec.ECDSA(SHA256()))
            case rsa.RSAPublicKey() if algorithm == RSA_PSS:
                public.verify(signature, message, _PSS, SHA512())
            case rsa.RSAPublicKey():
                public.verify(signature, message, _PKCS1, _digest(algorithm))
    except InvalidSignature:
        return False
    return True


def make_signature(private: Private, algorithm: str, message: bytes) -> bytes:
    """Return the signature of a message."""
    match private:
        case ed25519.Ed25519PrivateKey():
            return private.sign(message)
        case ec.EllipticCurvePrivateKey():
            r, s = decode_dss_signature(private.sign(message, ec.ECDSA(SHA256())))
            return r.to_bytes(_NUMBER) + s.to_bytes(_NUMBER)
        case rsa.RSAPrivateKey() if algorithm == RSA_PSS:
            return private.sign(message, _PSS, SHA512())
        case rsa.RSAPrivateKey():
            return private.sign(message, _PKCS1, _digest(algorithm))


def _digest(algorithm: str) -> SHA1 | SHA256:
    return SHA1() if algorithm == RSA_SHA1 else SHA256()  # noqa: S303 - SNS signature version 1
