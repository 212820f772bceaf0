"""A token taken apart for a person: everything it says, nothing believed, oddities included.

`pki.token_checks` refuses what is odd; whoever looks for a fault must see it instead. So here
everything that can be read is read, and what a strict reader would stumble over is noted.
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

LIMIT = 1 << 20
"""More bytes than this are not looked at: it is something else."""
DEEPEST = 64
"""Levels of objects and arrays; tokens of Troth have two, and what shows them goes down each."""

_PARTS = 3
_URL_TO_STANDARD = str.maketrans("-_", "+/")
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_SCHEME = "bearer "
_TRANSACTION_TYPE = "txntoken+jwt"


class NotAToken(ValueError):  # noqa: N818 - named for what is wrong, as readers meet it
    """A text that cannot be taken apart at all; the sentence quotes nothing of it."""


class Sort(StrEnum):
    """What a token seems to be, by its header and claims."""

    ACCESS = "access token"
    TRANSACTION = "transaction token"
    OTHER = "token of another kind"


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What a token says. Of its signature only the length is kept, and of its text nothing."""

    header: dict[str, Any] = field(repr=False)
    claims: dict[str, Any] = field(repr=False)
    size: int
    signature_bytes: int | None
    """None where the signature is not base64url."""
    oddities: tuple[str, ...] = ()
    """What is wrong with the form of it, as sentences."""

    @property
    def sort(self) -> Sort:
        """What it seems to be."""
        if self.header.get("typ") == _TRANSACTION_TYPE:
            return Sort.TRANSACTION
        if "sub" in self.claims and "aud" in self.claims and "txn" not in self.claims:
            return Sort.ACCESS
        return Sort.OTHER


def bare(text: str) -> str:
    """Return a token without what it is often copied with: white space, and the word Bearer."""
    token = text.strip()
    return token[len(_SCHEME) :].strip() if token[: len(_SCHEME)].lower() == _SCHEME else token


def take_apart(text: str) -> Anatomy:
    """Return what a token says; raises `NotAToken` where header or claims cannot be read."""
    token = bare(text)
    oddities = []
    if token != text.strip():
        oddities.append("it came with the word Bearer, which is of the HTTP header")
    if not token:
        raise NotAToken("there is nothing; give a token on standard input, or as @file")
    parts = token.split(".")
    if len(parts) != _PARTS:
        raise NotAToken(f"this is no signed token: it has {_counted(parts)} instead of 3")
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
    """Return a JSON object that is part of a token, and what is odd about it."""
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
        raise NotAToken(f"its {name} is no JSON object")
    if _levels(document) > DEEPEST:
        raise NotAToken(f"its {name} has more than {DEEPEST} levels, which no token has")
    twice = (f"its {name} has the member {quoted(each)} twice" for each in members_twice)
    return document, (*_base64_oddities(encoded, name), *twice)


def _levels(document: dict[str, Any]) -> int:
    """Return how deep objects and arrays are within each other."""
    levels = 0
    level: list[Any] = [document]
    while level:
        levels += 1
        members = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for several in members for each in several if isinstance(each, (dict, list))]
    return levels


def _number(text: str) -> float | str:
    """Return a number with a fraction, or its text where it is too large for one."""
    number = float(text)
    return number if math.isfinite(number) else text


def _bytes(encoded: str) -> bytes:
    """Return what is encoded, in whichever base64; raises `ValueError` where that is nothing."""
    standard = encoded.rstrip("=").translate(_URL_TO_STANDARD)
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)


def _signature_bytes(encoded: str) -> int | None:
    try:
        return len(_bytes(encoded))
    except ValueError:
        return None


def _base64_oddities(encoded: str, name: str) -> Iterator[str]:
    """Yield how a part differs from the one way to write it (RFC 7515, section 2)."""
    if "=" in encoded:
        yield f"its {name} is padded with =, which base64url in a token never is"
    elif not _ALPHABET.issuperset(encoded):
        yield f"its {name} has characters that are not of base64url"
    elif len(encoded) % 4 == 1:
        yield f"its {name} is cut short: base64url never has that many characters"
    elif base64.urlsafe_b64encode(_bytes(encoded)).rstrip(b"=").decode() != encoded:
        yield f"its {name} is not written in the one canonical way: spare bits are set"
