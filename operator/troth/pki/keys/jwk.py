"""Public keys on P-256, the only ones that sign tokens, as JSON Web Keys (RFC 7517)."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from troth.pki.encodings import base64url
from troth.pki.errors import KeyMaterialError

_COORDINATE_BYTES = 32
_FINGERPRINT_DIGITS = 16


def public_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """Return a key as JWK: `kty`, `crv`, `x`, `y` (RFC 7518, section 6.2.1) and `kid`.

    Raises `KeyMaterialError` if the key is not on P-256.
    """
    members = _thumbprint_members(key)
    return {
        "kty": members["kty"],
        "crv": members["crv"],
        "x": members["x"],
        "y": members["y"],
        "kid": _thumbprint(members),
    }


def key_id(key: ec.EllipticCurvePublicKey) -> str:
    """Return a key's `kid`: its SHA-256 thumbprint (RFC 7638), 43 characters of base64url.

    Raises `KeyMaterialError` if the key is not on P-256.
    """
    return _thumbprint(_thumbprint_members(key))


def key_fingerprint(kid: str) -> str:
    """Return the first 16 hexadecimal digits of a `kid`'s SHA-256, for statuses and logs.

    Raises `KeyMaterialError` if the `kid` is not a SHA-256 thumbprint; foreign ones need not be.
    """
    try:
        digest = base64url.decode(kid)
    except ValueError:
        digest = b""
    if len(digest) != sha256().digest_size:
        raise KeyMaterialError(
            "KeyIDUnreadable", "The key ID is not an RFC 7638 thumbprint; compute it from the key."
        )
    return digest.hex()[:_FINGERPRINT_DIGITS]


def load_public_jwk(document: Mapping[str, Any]) -> ec.EllipticCurvePublicKey:
    """Return the P-256 key of a JWK. Members that are not part of the key are ignored.

    Raises `KeyMaterialError` for another type of key, and for coordinates that are not 32 bytes
    each in canonical base64url or not a point of the curve. A private key is an error too, because
    it is exposed among public keys.
    """
    if "d" in document:
        raise KeyMaterialError(
            "PrivateKeyExposed",
            "A JWK among public keys holds a private key; remove it and replace that key.",
        )
    if document.get("kty") != "EC" or document.get("crv") != "P-256":
        raise KeyMaterialError(
            "UnsupportedKey", "A JWK is not an EC key on P-256; use a key that signs with ES256."
        )
    try:
        x, y = (_coordinate(document.get(name)) for name in ("x", "y"))
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        raise KeyMaterialError(
            "PublicKeyUnreadable",
            "A JWK's x and y are not a point on P-256 in base64url, 32 bytes each; write the JWK "
            "again.",
        ) from None


def _coordinate(text: object) -> int:
    value = base64url.decode(text) if isinstance(text, str) else b""
    if len(value) != _COORDINATE_BYTES:
        raise ValueError("not a coordinate")
    return int.from_bytes(value)


def _thumbprint_members(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    # In the order of their names, as RFC 7638, section 3, hashes them.
    if not isinstance(key.curve, ec.SECP256R1):
        raise KeyMaterialError(
            "UnsupportedKey", "The key is not on P-256; use a key that signs with ES256."
        )
    numbers = key.public_numbers()
    x, y = (base64url.encode(each.to_bytes(_COORDINATE_BYTES)) for each in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _thumbprint(members: Mapping[str, str]) -> str:
    text = ",".join(f'"{name}":"{value}"' for name, value in members.items())
    return base64url.encode(sha256(f"{{{text}}}".encode()).digest())
