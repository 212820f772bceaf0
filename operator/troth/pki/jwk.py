"""Public keys as JSON Web Keys (RFC 7517), of the one kind that signs tokens: ES256's P-256."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from troth.pki import base64url
from troth.pki.errors import KeyMaterialError

_COORDINATE_BYTES = 32
_FINGERPRINT_DIGITS = 16


def public_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """The key as a JWK: `kty`, `crv`, `x`, `y` (RFC 7518 section 6.2.1) and `kid`.

    Raises `KeyMaterialError` for any curve but P-256.
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
    """The key's `kid`: its SHA-256 thumbprint (RFC 7638), 43 characters of base64url.

    Raises `KeyMaterialError` for any curve but P-256.
    """
    return _thumbprint(_thumbprint_members(key))


def key_fingerprint(kid: str) -> str:
    """The first 16 hexadecimal digits of a `kid`'s SHA-256, as statuses and logs show a key.

    Raises `KeyMaterialError` for a `kid` that is no SHA-256 thumbprint, as others' may not be.
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
    """Read a P-256 key strictly; members that do not concern the key itself are left unread.

    Raises `KeyMaterialError` for another kind of key, coordinates that are not 32 bytes each in
    canonical base64url or are no point of the curve, and for a private key: whoever put one where
    public ones belong should hear of it.
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
    # In the order of their names, as RFC 7638 section 3 hashes them.
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
