"""`X-Forwarded-Client-Cert`: whose certificate a gateway has seen, in Envoy's words.

The source is Envoy's documentation of the header: elements with commas between, one for each
proxy, each of pairs `key=value` with semicolons between, values quoted where they need it. The last
element is the one that the gateway at the other end has written itself. Pure, and strict: what
could be read in two ways is not read.
"""

import re
from dataclasses import dataclass

from troth.pki import base64url
from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import SPIFFEID

LONGEST = 64 * 1024
"""Characters; a header can carry a whole chain."""

# In a quoted value a quote is \", and a backslash before anything else could mean two things.
_PAIR = re.compile(
    r'([A-Za-z]+)=(?:"((?:[^"\\\x00-\x1f\x7f]|\\")*+)"|([^",;=\\\x00-\x20\x7f]*+))(?:([;,])|\Z)',
    re.ASCII,
)
_HASH = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A client by its certificate: SPIFFE ID, `x5t#S256`, and who says so where it is said."""

    spiffe_id: str
    thumbprint: str
    by: tuple[str, ...]


def parse_forwarded(value: bytes) -> Forwarded:
    """The client that the last element names; raises `ValueError`, which quotes nothing.

    Refused: anything outside the grammar in any element, and a last one that has not exactly one
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
    """The values of the last element by key, in lower case: keys are in any case."""
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
