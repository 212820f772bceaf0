"""Strict base64 and hexadecimal, in which each value has exactly one encoding.

Most decoders also accept other alphabets, white space, missing padding, non-zero bits after the
last byte, and capital letters. One signature could then have many texts, which would bypass a check
that counts, caches or compares texts. No sender varies its encoding.
"""

from base64 import b64encode
from binascii import Error, a2b_base64
from collections.abc import Callable
from dataclasses import dataclass

_HEX = frozenset("0123456789abcdef")


def from_base64(text: str) -> bytes:
    """Return the value of padded base64 (RFC 4648, section 4) exactly as `to_base64` writes it.

    Raises `ValueError`, which quotes nothing of the text, for anything else.
    """
    try:
        value = a2b_base64(text)
    except (Error, ValueError):
        raise ValueError("not base64") from None
    # Encoded again, because even a strict decoder accepts non-zero bits after the last byte.
    if to_base64(value) != text:
        raise ValueError("not canonical base64")
    return value


def to_base64(value: bytes) -> str:
    """Return a value in padded base64."""
    return b64encode(value).decode("ascii")


def from_hex(text: str) -> bytes:
    """Return the value of lower-case hexadecimal; raises `ValueError` for anything else."""
    # `bytes.fromhex` accepts white space and capital letters
    if not _HEX.issuperset(text):
        raise ValueError("not lower-case hexadecimal")
    return bytes.fromhex(text)


def to_hex(value: bytes) -> str:
    """Return a value in lower-case hexadecimal."""
    return value.hex()


@dataclass(frozen=True, slots=True)
class Encoding:
    """Encoding of bytes as text; `decode` raises `ValueError` for an invalid text."""

    decode: Callable[[str], bytes]
    encode: Callable[[bytes], str]


HEX = Encoding(from_hex, to_hex)
BASE64 = Encoding(from_base64, to_base64)
