"""Matching of MACs: every signature is compared with every key in constant time.

There is no early exit. The time depends on the number of keys and signatures, not on which of them
match or how far.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.scheme import Key

HMAC_SHA256 = "hmac-sha256"

MAC_BYTES = 32


@dataclass(frozen=True, slots=True)
class Match:
    """Key that signed, and its MAC."""

    key_id: str
    mac: bytes = field(repr=False)


def secret_of(key: Key) -> bytes:
    """Return the bytes of a shared secret."""
    assert isinstance(key.material, bytes)
    return key.material


def match_mac(
    keys: Sequence[Key],
    signed: bytes,
    signatures: Sequence[bytes],
    algorithm: str = HMAC_SHA256,
) -> Match:
    """Return the first of the keys that made any of the signatures; raises `RefusedError`.

    Keys for another algorithm are ignored. If the sender signs with the old and the new key, the
    result is the first of them in `keys`.
    """
    found = None
    for key in keys:
        if key.algorithm == algorithm:
            mac = fitting_mac(key, signed, signatures)
            if mac is not None and found is None:
                found = Match(key.id, mac)
    if found is None:
        raise RefusedError(Reason.SIGNATURE_WRONG, "no key of the endpoint made the signature")
    return found


def fitting_mac(key: Key, signed: bytes, signatures: Sequence[bytes]) -> bytes | None:
    """Return the MAC of a key if any of the signatures is equal to it, else None."""
    mac = make_mac(key, signed)
    fits = False
    for signature in signatures:
        fits |= hmac.compare_digest(mac, signature)
    return mac if fits else None


def make_mac(key: Key, signed: bytes) -> bytes:
    """Return the MAC of a key, with the key's algorithm."""
    return hmac.digest(secret_of(key), signed, key.algorithm.removeprefix("hmac-"))


def read_signature(
    delivery: Delivery,
    header: bytes,
    prefix: str,
    decode: Callable[[str], bytes],
    size: int = MAC_BYTES,
) -> bytes:
    """Return the only signature of a header, of `size` bytes; raises `RefusedError`."""
    text = delivery.header(header, Reason.SIGNATURE_MISSING)
    if not text:
        raise RefusedError(Reason.SIGNATURE_MISSING, f"the header {header.decode()} is empty")
    if not text.startswith(prefix):
        raise RefusedError(
            Reason.SIGNATURE_MALFORMED,
            f"the header {header.decode()} does not begin with the expected prefix",
        )
    return decode_signature(text[len(prefix) :], decode, size)


def decode_signature(text: str, decode: Callable[[str], bytes], size: int = MAC_BYTES) -> bytes:
    """Return a signature of exactly `size` bytes; raises `RefusedError`."""
    try:
        value = decode(text)
    except ValueError:
        value = b""
    if len(value) != size:
        raise RefusedError(
            Reason.SIGNATURE_MALFORMED, f"a signature is not a valid encoding of {size} bytes"
        )
    return value
