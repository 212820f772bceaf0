"""base64url without padding (RFC 7515, section 2), in which each value has exactly one encoding.

Most decoders also accept padding, line breaks, other alphabets, and non-zero bits after the last
byte. One token could then have several texts, which would bypass a list of revoked tokens or a
cache of valid ones. This decoder rejects all of that.
"""

from base64 import urlsafe_b64encode
from binascii import Error, a2b_base64

# Maps the alphabet of base64url to that of base64, and base64's own `+` and `/` to neither.
_TO_BASE64 = (
    bytes(
        {ord("-"): ord("+"), ord("_"): ord("/")}.get(
            byte, byte if chr(byte).isalnum() else ord("!")
        )
        for byte in range(128)
    )
    + b"!" * 128
)

# By the length of the last group: the missing padding, and the last characters whose bits beyond
# the last byte are zero.
_ENDS = {
    0: (b"", None),
    2: (b"==", frozenset("AQgw")),
    3: (b"=", frozenset("AEIMQUYcgkosw048")),
}
_NO_ENDS: tuple[bytes, frozenset[str]] = (b"", frozenset())


def encode(value: bytes) -> str:
    """Return a value in base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Return the value that `encode` encodes as `text`; raises `ValueError` if there is none."""
    padding, ends = _ENDS.get(len(text) % 4, _NO_ENDS)
    if ends is not None and text[-1] not in ends:
        raise ValueError("not canonical base64url")
    try:
        return a2b_base64(text.encode("ascii").translate(_TO_BASE64) + padding, strict_mode=True)
    except (Error, ValueError):
        raise ValueError("not base64url") from None
