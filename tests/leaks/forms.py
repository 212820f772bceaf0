"""Encodings in which a secret may appear in a text, and the fragments that identify it."""

import base64
from collections.abc import Iterator
from functools import cache

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import generate_key
from troth.resources.algorithms import KeyAlgorithm

WINDOW = 16
"""Length of a fragment in characters: shorter than any truncated or wrapped line, and 64 bits in
hex.
"""
_SORTS = set(KeyAlgorithm) - {KeyAlgorithm.RSA_4096}  # begins as RSA-2048 does
_FORMATS = (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)


def pieces(value: bytes) -> set[str]:
    """Return the fragments of bytes in every encoding; none in one shorter than WINDOW."""
    return {piece for form in forms(value) for piece in _windows(form)}


def in_base64(value: bytes) -> set[str]:
    """Return the fragments of bytes in base64, for every alignment."""
    return {
        piece for shift in range(3) for form in _base64(value, shift) for piece in _windows(form)
    }


def forms(value: bytes) -> Iterator[str]:
    """Yield bytes as text, base64, hexadecimal, escapes and numbers, each line by itself."""
    escaped = repr(value)[2:-1]
    for text in (value.decode("utf-8", "ignore"), escaped, escaped.replace("\\", r"\\")):
        yield from (line for line in text.splitlines() if not line.startswith("-----"))
    for shift in range(3):
        yield from _base64(value, shift)
    for text in (value.hex(), value.hex(":"), value.hex(" ")):
        yield text
        yield text.upper()
    yield ", ".join(map(str, value))


def of_key(key: PrivateKey) -> set[str]:
    """Return the fragments that identify a private key and are not in its public key."""
    return _all_of_key(key) - _public(key) - _of_another(key)


@cache
def framing() -> set[str]:
    """Return the fragments that all keys of an algorithm share; used for parts of broken keys."""
    return {piece for algorithm in _SORTS for piece in _common(algorithm)}


def _common(algorithm: KeyAlgorithm) -> set[str]:
    one = generate_key(algorithm)
    other = _like(one)
    return (_all_of_key(one) & _all_of_key(other)) | (_public(one) & _public(other))


def _all_of_key(key: PrivateKey) -> set[str]:
    found: set[str] = set()
    for encoding in (Encoding.PEM, Encoding.DER):
        for form in _FORMATS:
            if isinstance(key, ed25519.Ed25519PrivateKey) and form is not PrivateFormat.PKCS8:
                continue
            found |= pieces(key.private_bytes(encoding, form, NoEncryption()))
    for number in numbers(key):
        found |= pieces(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        found |= set(_windows(str(number))) | set(_windows(f"{number:x}"))
    return found


def numbers(key: PrivateKey) -> tuple[int, ...]:
    """Return the private numbers of a key."""
    match key:
        case ec.EllipticCurvePrivateKey():
            return (key.private_numbers().private_value,)
        case rsa.RSAPrivateKey():
            own = key.private_numbers()
            return own.d, own.p, own.q, own.dmp1, own.dmq1, own.iqmp
        case _:
            return (int.from_bytes(key.private_bytes_raw(), "big"),)


def _public(key: PrivateKey) -> set[str]:
    """Return the fragments that certificates of the key contain too."""
    return pieces(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


_others: dict[tuple[type[PrivateKey], str], set[str]] = {}


def _of_another(key: PrivateKey) -> set[str]:
    """Return the fragments of another key of the same kind: those that both have are not secret."""
    size = key.curve.name if isinstance(key, ec.EllipticCurvePrivateKey) else ""
    if isinstance(key, rsa.RSAPrivateKey):
        size = str(key.key_size)
    kind = type(key), size
    if kind not in _others:
        _others[kind] = _all_of_key(_like(key))
    return _others[kind]


def _like(key: PrivateKey) -> PrivateKey:
    """Return another key of the same kind."""
    match key:
        case ec.EllipticCurvePrivateKey():
            return ec.generate_private_key(key.curve)
        case rsa.RSAPrivateKey():
            return _other_rsa(key.key_size)
        case _:
            return ed25519.Ed25519PrivateKey.generate()


@cache
def _other_rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def _base64(value: bytes, shift: int) -> Iterator[str]:
    """Yield bytes in both base64 alphabets, as encoded after `shift` other bytes.

    Characters at either end that depend on adjacent bytes are left out.
    """
    padded = bytes(shift) + value
    begin, end = -(-shift * 8 // 6), len(padded) * 8 // 6
    yield base64.b64encode(padded).decode()[begin:end]
    yield base64.urlsafe_b64encode(padded).decode()[begin:end]


def _windows(text: str) -> Iterator[str]:
    yield from (text[at : at + WINDOW] for at in range(len(text) - WINDOW + 1))
