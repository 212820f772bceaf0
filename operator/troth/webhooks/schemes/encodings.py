"""Base64 and hexadecimal with one spelling for each value.

Decoders forgive: other alphabets, white space, padding that lacks, bits that no byte needs, capital
letters. What forgives makes many texts of one signature, and whatever is counted, cached or
compared by its text is then passed by. No sender spells its signatures in two ways.
"""

from base64 import b64encode
from binascii import Error, a2b_base64
from collections.abc import Callable
from dataclasses import dataclass

_HEX = frozenset("0123456789abcdef")


def from_base64(text: str) -> bytes:
    """Return the value of padded base64 (RFC 4648 section 4) as `to_base64` spells it.

    Anything else is a `ValueError`, which quotes nothing of it.
    """
    try:
        value = a2b_base64(text)
    except (Error, ValueError):
        raise ValueError("not base64") from None
    # What was read is spelled again, for even a strict reader takes bits that no byte needs.
    if to_base64(value) != text:
        raise ValueError("not canonical base64")
    return value


def to_base64(value: bytes) -> str:
    """Return a value in base64, padded."""
    return b64encode(value).decode("ascii")


def from_hex(text: str) -> bytes:
    """Return the value of hexadecimal in small letters; anything else is a `ValueError`."""
    # `bytes.fromhex` takes white space and capital letters
    if not _HEX.issuperset(text):
        raise ValueError("not lower-case hexadecimal")
    return bytes.fromhex(text)


def to_hex(value: bytes) -> str:
    """Return a value in hexadecimal, in small letters."""
    return value.hex()


@dataclass(frozen=True, slots=True)
class Encoding:
    """How bytes are spelled; what `decode` cannot read is a `ValueError`."""

    decode: Callable[[str], bytes]
    encode: Callable[[bytes], str]


HEX = Encoding(from_hex, to_hex)
BASE64 = Encoding(from_base64, to_base64)
