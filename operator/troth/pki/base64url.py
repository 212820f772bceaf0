"""base64url as JOSE has it (RFC 7515 section 2): without padding, and one spelling for each value.

Decoders forgive much: padding, line breaks, letters of another alphabet, bits that no byte needs.
What forgives makes several texts of one token, and then a list of refused tokens or a cache of good
ones can be passed by. So here nothing is forgiven.
"""

from base64 import urlsafe_b64encode
from binascii import Error, a2b_base64

# The alphabet of base64url to that of base64, and whatever else there is to what neither has.
_TO_BASE64 = (
    bytes(
        {ord("-"): ord("+"), ord("_"): ord("/")}.get(
            byte, byte if chr(byte).isalnum() else ord("!")
        )
        for byte in range(128)
    )
    + b"!" * 128
)

# By the length of the last group: the padding it lacks, and the characters it can end with, whose
# bits beyond the last byte are zero.
_ENDS = {
    0: (b"", None),
    2: (b"==", frozenset("AQgw")),
    3: (b"=", frozenset("AEIMQUYcgkosw048")),
}


def encode(value: bytes) -> str:
    """The value in base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """The value of a text that is exactly what `encode` makes of it; else `ValueError`."""
    padding, ends = _ENDS.get(len(text) % 4, (b"", frozenset()))
    if ends is not None and text[-1] not in ends:
        raise ValueError("not canonical base64url")
    try:
        return a2b_base64(text.encode("ascii").translate(_TO_BASE64) + padding, strict_mode=True)
    except (Error, ValueError):
        raise ValueError("not base64url") from None
