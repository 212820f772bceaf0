"""Decodes a token for display, without trusting it.

`pki.token_checks` rejects malformed tokens. To debug one, a person must see it, so this module
decodes as much as possible and notes what a strict parser would reject.
"""

import base64
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from troth.cli.quoting import quoted
from troth.pki.tokens.signing import TRANSACTION_TYPE

LIMIT = 1 << 20
"""Maximum size of the input in bytes."""
DEEPEST = 64
"""Maximum nesting of objects and arrays; the renderer is recursive. Troth's tokens have two."""

_PARTS = 3
_URL_TO_STANDARD = str.maketrans("-_", "+/")
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_SCHEME = "bearer "


class NotAToken(ValueError):  # noqa: N818 - reads better where it is raised
    """A text that cannot be decoded at all; the message quotes nothing of it."""


class Sort(StrEnum):
    """Kind of token, judged by its header and claims."""

    ACCESS = "access token"
    TRANSACTION = "transaction token"
    OTHER = "token of another kind"


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A decoded token. Of its signature only the length is kept, of its text nothing."""

    header: dict[str, Any] = field(repr=False)
    claims: dict[str, Any] = field(repr=False)
    size: int
    signature_bytes: int | None
    """None if the signature is not base64url."""
    oddities: tuple[str, ...] = ()
    """Faults in its encoding, as sentences."""

    @property
    def sort(self) -> Sort:
        """The kind that its header and claims suggest."""
        if self.header.get("typ") == TRANSACTION_TYPE:
            return Sort.TRANSACTION
        if "sub" in self.claims and "aud" in self.claims and "txn" not in self.claims:
            return Sort.ACCESS
        return Sort.OTHER


def bare(text: str) -> str:
    """Return a token without surrounding white space and the word Bearer."""
    token = text.strip()
    return token[len(_SCHEME) :].strip() if token[: len(_SCHEME)].lower() == _SCHEME else token


def take_apart(text: str) -> Anatomy:
    """Decode a token; raises `NotAToken` if its header or claims cannot be read."""
    token = bare(text)
    oddities = []
    if token != text.strip():
        oddities.append("it starts with the word Bearer, which belongs to the HTTP header")
    if not token:
        raise NotAToken("no input; give a token on standard input, or as @FILE")
    parts = token.split(".")
    if len(parts) != _PARTS:
        raise NotAToken(f"not a signed token: it has {_counted(parts)} instead of 3")
    read = [_part(part, name) for part, name in zip(parts, ("header", "claims"), strict=False)]
    return Anatomy(
        header=read[0][0],
        claims=read[1][0],
        size=len(token),
        signature_bytes=_signature_bytes(parts[2]),
        oddities=(*oddities, *read[0][1], *read[1][1], *_base64_oddities(parts[2], "signature")),
    )


def _counted(parts: list[str]) -> str:
    return f"{len(parts)} part" + ("s" if len(parts) > 1 else "")


def _part(encoded: str, name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return a part of a token as JSON object, and the faults in its encoding."""
    members_twice: list[str] = []

    def gathered(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        times = Counter(name for name, _ in pairs)
        members_twice.extend(sorted(name for name, often in times.items() if often > 1))
        return dict(pairs)

    try:
        document = json.loads(
            _bytes(encoded).decode(),
            object_pairs_hook=gathered,
            parse_constant=str,
            parse_float=_number,
        )
    except (ValueError, RecursionError):
        raise NotAToken(f"its {name} cannot be read: not JSON in base64url") from None
    if not isinstance(document, dict):
        raise NotAToken(f"its {name} is not a JSON object")
    if _levels(document) > DEEPEST:
        raise NotAToken(f"its {name} is nested more than {DEEPEST} levels deep")
    twice = (f"its {name} has the member {quoted(each)} twice" for each in members_twice)
    return document, (*_base64_oddities(encoded, name), *twice)


def _levels(document: dict[str, Any]) -> int:
    """Return the nesting depth of objects and arrays."""
    levels = 0
    level: list[Any] = [document]
    while level:
        levels += 1
        members = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for several in members for each in several if isinstance(each, (dict, list))]
    return levels


def _number(text: str) -> float | str:
    """Return a number with a fraction, or its text if it is too large for a float."""
    number = float(text)
    return number if math.isfinite(number) else text


def _bytes(encoded: str) -> bytes:
    """Decode either base64 alphabet, padded or not; raises `ValueError`."""
    standard = encoded.rstrip("=").translate(_URL_TO_STANDARD)
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)


def _signature_bytes(encoded: str) -> int | None:
    try:
        return len(_bytes(encoded))
    except ValueError:
        return None


def _base64_oddities(encoded: str, name: str) -> Iterator[str]:
    """Yield how a part differs from canonical base64url (RFC 7515, section 2)."""
    if "=" in encoded:
        yield f"its {name} is padded with =, which a token never has"
    elif not _ALPHABET.issuperset(encoded):
        yield f"its {name} has characters that base64url does not have"
    elif len(encoded) % 4 == 1:
        yield f"its {name} is truncated: base64url never has that length"
    elif base64.urlsafe_b64encode(_bytes(encoded)).rstrip(b"=").decode() != encoded:
        yield f"its {name} is not canonical base64url: unused bits are set"
