"""Parts of a dead letter in the form of its attributes: the original message, headers, digests."""

import hashlib
import json
import re
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import Iterable
from dataclasses import replace

from troth.edge.events.attributes import LONGEST_HEADERS
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.message import Message
from troth.pki.encodings import base64url
from troth.resources.messaging.broker_type import BrokerType

_PLACE = re.compile(r"(.+?)(?:/(\d{1,10}))?(?:@(\d{1,20}))?", re.ASCII | re.DOTALL)
_COUNT = re.compile(r"\d{1,20}", re.ASCII)


def restored(
    broker: BrokerType,
    origin: str,
    headers: list[tuple[str, bytes]],
    data: bytes | None,
    stored_at: float | None,
) -> Message:
    """Restore a message as its binding read it."""
    place = _PLACE.fullmatch(origin)
    if place is None:
        raise ValueError("the origin is empty")
    topic, partition, offset = place.groups()
    at = None if offset is None else int(offset)
    if broker is BrokerType.KAFKA:
        return kafka.read(
            topic,
            headers,
            data,
            stored_at=stored_at,
            partition=None if partition is None else int(partition),
            offset=at,
        )
    if partition is not None:  # a subject of NATS may contain a slash
        topic = f"{topic}/{partition}"
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value.decode("utf-8", "surrogateescape"))
    return replace(
        nats.read(topic, values, data or b"", stored_at=stored_at, sequence=at), data=data
    )


def written_headers(headers: Iterable[tuple[str, bytes]]) -> str | None:
    """Return headers as base64url of canonical JSON, None if they are too large."""
    pairs = list(headers)
    # base64 twice makes four bytes of three, and each pair needs brackets, quotes and commas
    if sum(len(name) + len(value) + 6 for name, value in pairs) > LONGEST_HEADERS:
        return None
    written = json.dumps(
        [[name, b64encode(value).decode()] for name, value in pairs], separators=(",", ":")
    )
    text = base64url.encode(written.encode())
    return text if len(text) <= LONGEST_HEADERS else None


def read_headers(text: str | None) -> list[tuple[str, bytes]]:
    """Return what `written_headers` wrote; raises `ValueError`."""
    if text is None:
        return []
    try:
        pairs = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return [(_text(name), b64decode(_text(value), validate=True)) for name, value in pairs]
    except (ValueError, TypeError, RecursionError):
        raise ValueError("not a list of headers") from None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def digest(data: bytes) -> str:
    """Return the SHA-256 of data in base64url."""
    return base64url.encode(hashlib.sha256(data).digest())


def count_of(text: str) -> int:
    """Return a count; raises `ValueError`."""
    if _COUNT.fullmatch(text) is None:
        raise ValueError("not a count")
    return int(text)
