"""Parser of `X-Forwarded-Client-Cert`: the client certificate that a gateway has verified.

The format is from Envoy's documentation of the header: elements separated by commas, one for each
proxy. Each element consists of pairs `key=value` separated by semicolons, with quoted values if
needed. The peer itself has written the last element. Pure and strict: ambiguous input is rejected.
"""

import re
from dataclasses import dataclass

from troth.pki.encodings import base64url
from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import SPIFFEID

LONGEST = 64 * 1024
"""Maximum length in characters; a header can carry a whole chain."""

# In a quoted value, a quote is \"; a backslash before anything else is ambiguous.
_PAIR = re.compile(
    r'([A-Za-z]+)=(?:"((?:[^"\\\x00-\x1f\x7f]|\\")*+)"|([^",;=\\\x00-\x20\x7f]*+))(?:([;,])|\Z)',
    re.ASCII,
)
_HASH = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Client by its certificate: SPIFFE ID, `x5t#S256`, and the asserting proxy, if named."""

    spiffe_id: str
    thumbprint: str
    by: tuple[str, ...]


def parse_forwarded(value: bytes) -> Forwarded:
    """Return the client that the last element names; raises `ValueError`, which quotes nothing.

    Rejects anything outside the grammar in any element. The last element must have exactly one
    `Hash` (SHA-256 in hexadecimal) and one `URI`, a workload's SPIFFE ID.
    """
    if len(value) > LONGEST:
        raise ValueError("the header is too long")
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("the header is not ASCII") from None
    element = _last_element(text)
    hashes, uris = element.get("hash", []), element.get("uri", [])
    if len(hashes) != 1 or not _HASH.fullmatch(hashes[0]) or len(uris) != 1:
        raise ValueError("the last element has not exactly one Hash and one URI")
    try:
        identity = SPIFFEID.parse(uris[0])
    except SPIFFEIDError:
        raise ValueError("the last element's URI is not a SPIFFE ID") from None
    if not identity.path:
        raise ValueError("the last element's URI is not a workload's")
    return Forwarded(
        uris[0], base64url.encode(bytes.fromhex(hashes[0])), tuple(element.get("by", ()))
    )


def _last_element(text: str) -> dict[str, list[str]]:
    """Return the values of the last element, by key in lower case; keys are case-insensitive."""
    element: dict[str, list[str]] = {}
    place, separator = 0, ","
    while separator:
        pair = _PAIR.match(text, place)
        if pair is None:
            raise ValueError("the header is not a list of elements with pairs")
        if separator == ",":
            element = {}
        key, quoted, plain, separator = pair.groups()
        element.setdefault(key.lower(), []).append(plain if quoted is None else quoted)
        place = pair.end()
    return element
