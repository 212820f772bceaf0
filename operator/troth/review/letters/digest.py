"""Digests that name messages without showing them."""

import hashlib
from collections.abc import Iterable

from troth.edge.events.message import Message
from troth.pki.encodings import base64url


def digest_of(message: Message) -> str:
    """Return the SHA-256 in base64url of a message: its origin, headers and data.

    Each part is preceded by its length in eight bytes, so that no two messages have one digest.
    """
    parts = [message.origin.encode()]
    for name, value in message.headers:
        parts += [name.encode("utf-8", "surrogateescape"), value]
    parts.append(message.data or b"")
    return _digest(parts)


def digest_of_selection(letters: Iterable[tuple[str, str]]) -> str:
    """Return the SHA-256 in base64url of the IDs and digests of letters, in their order."""
    return _digest(text.encode() for letter in letters for text in letter)


def _digest(parts: Iterable[bytes]) -> str:
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big"))
        hashed.update(part)
    return base64url.encode(hashed.digest())
