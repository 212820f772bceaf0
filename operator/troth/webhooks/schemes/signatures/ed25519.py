"""Ed25519 keys and signatures (RFC 8032)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from troth.webhooks.schemes.scheme import Key, KeyFormatError

ED25519 = "ed25519"

KEY_BYTES = 32
SIGNATURE_BYTES = 64

MOST_SIGNATURES = 4
"""Maximum number of signatures of one delivery; one takes as long to verify as fifty MACs."""

_PRIME = 2**255 - 19
_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826

# The points of small order, by their y; two of them have a second encoding. For such a key anybody
# can make signatures. The first is 32 zeros, which a template may contain.
_WEAK = frozenset(
    y.to_bytes(KEY_BYTES, "little")
    for y in (0, 1, _ORDER_8, _PRIME - _ORDER_8, _PRIME - 1, _PRIME, _PRIME + 1)
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Ed25519 key of an endpoint: the public key, and the private key if it is known."""

    public: Ed25519PublicKey
    private: Ed25519PrivateKey | None = field(default=None, repr=False)


def public_key(raw: bytes) -> Ed25519PublicKey:
    """Return the public key of 32 bytes; raises `KeyFormatError`, also if it is weak."""
    if len(raw) != KEY_BYTES:
        raise KeyFormatError(f"an Ed25519 public key has {KEY_BYTES} bytes")
    if raw[:-1] + bytes((raw[-1] & 0x7F,)) in _WEAK:
        raise KeyFormatError("anyone can sign for this public key; write the sender's own")
    return Ed25519PublicKey.from_public_bytes(raw)


def fits(key: Key, signed: bytes, signatures: Sequence[bytes]) -> bool:
    """Return whether a key made any of the signatures. Nothing is secret, so time may vary."""
    assert isinstance(key.material, KeyPair)
    return any(_verifies(key.material.public, signature, signed) for signature in signatures)


def make_signature(key: Key, signed: bytes) -> bytes:
    """Return the signature of a key; raises `KeyFormatError` if only its public key is known."""
    assert isinstance(key.material, KeyPair)
    if key.material.private is None:
        raise KeyFormatError("a public key cannot sign; use the sender's private key")
    return key.material.private.sign(signed)


def _verifies(key: Ed25519PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True
