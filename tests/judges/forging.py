"""Tokens built by hand, without a library, so that everything in one can be wrong."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.hashes import SHA256

Sign = Callable[[bytes], bytes]
Part = bytes | Mapping[str, Any] | Sequence[Any]
"""Bytes to use unchanged, or a value to encode as JSON."""

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of P-256's group (SEC 2, section 2.4.2)."""


def encoded(value: bytes) -> str:
    """Return the value in base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def written(part: Part) -> bytes:
    return part if isinstance(part, bytes) else json.dumps(part, separators=(",", ":")).encode()


def compact(header: Part, claims: Part, sign: Sign) -> str:
    """Return a JWS in compact form (RFC 7515 section 7.1)."""
    signed = f"{encoded(written(header))}.{encoded(written(claims))}"
    return f"{signed}.{encoded(sign(signed.encode()))}"


def numbers(r: int, s: int) -> bytes:
    """Return an ECDSA signature in JOSE's form: two numbers of 32 bytes."""
    return r.to_bytes(32) + s.to_bytes(32)


def es256(key: ec.EllipticCurvePrivateKey) -> Sign:
    return lambda signed: numbers(*decode_dss_signature(es256_der(key)(signed)))


def es256_der(key: ec.EllipticCurvePrivateKey) -> Sign:
    """Return a signer in X.509's form instead of JOSE's."""
    return lambda signed: key.sign(signed, ec.ECDSA(SHA256()))


def es256_twin(key: ec.EllipticCurvePrivateKey) -> Sign:
    """Return a signer of the other valid signature: ECDSA has two, and anyone can compute both."""

    def sign(signed: bytes) -> bytes:
        r, s = decode_dss_signature(es256_der(key)(signed))
        key.public_key().verify(encode_dss_signature(r, ORDER - s), signed, ec.ECDSA(SHA256()))
        return numbers(r, ORDER - s)

    return sign


def es256_with(key: ec.EllipticCurvePrivateKey, letters: str) -> Sign:
    """Return a signer whose signatures have all these letters in base64url."""

    def sign(signed: bytes) -> bytes:
        while not set(letters) <= set(encoded(signature := es256(key)(signed))):
            pass
        return signature

    return sign


def hs256(secret: bytes) -> Sign:
    return lambda signed: hmac.digest(secret, signed, sha256)


def rs256(key: rsa.RSAPrivateKey) -> Sign:
    return lambda signed: key.sign(signed, padding.PKCS1v15(), SHA256())


def always(signature: bytes) -> Sign:
    return lambda _: signature
