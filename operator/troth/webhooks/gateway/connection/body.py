"""Head and body of a request: an unambiguous head, and a body of limited size.

The server has parsed the request already. What it should have rejected is rejected here too,
because two parsers that read a request differently allow request smuggling.
"""

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from typing import Any

from troth.edge.inbound.connections.heads import MAX_HEAD, MAX_HEADERS
from troth.webhooks.gateway.answers import GoneError, RefusalError
from troth.webhooks.schemes.delivery import Delivery

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Headers = tuple[tuple[bytes, bytes], ...]

_LONGEST_PASSED_ON = 256
_LENGTH = re.compile(rb"[0-9]{1,15}")  # RFC 9110, section 8.6, of bounded length
_ONCE = frozenset(
    {
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"transfer-encoding",
    }
)


def read_head(scope: Mapping[str, Any], most: int) -> Headers:
    """Return a copy of the headers; raises `RefusalError`.

    `most` is the maximum size of the body in bytes. A copy, because a server may append trailers to
    its own list.
    """
    headers: Headers = tuple(scope["headers"])
    if len(headers) > MAX_HEADERS:
        raise RefusalError(431, "too-many-headers")
    once: dict[bytes, bytes] = {}
    size, repeated = 0, False
    for name, value in headers:
        size += len(name) + len(value)
        if name in _ONCE:
            repeated |= name in once
            once[name] = value
    if size > MAX_HEAD:
        raise RefusalError(431, "headers-too-long")
    if repeated:
        raise RefusalError(400, "header-repeated")
    if not once.get(b"host"):
        raise RefusalError(400, "host-missing")  # RFC 9112, section 3.2
    _check_framing(once, most)
    if once.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        # The signature covers the bytes as sent, and the gateway must not unpack compression bombs.
        raise RefusalError(415, "content-encoding")
    return headers


def _check_framing(once: Mapping[bytes, bytes], most: int) -> None:
    length = once.get(b"content-length")
    coding = once.get(b"transfer-encoding")
    if length is not None and coding is not None:
        raise RefusalError(400, "two-lengths")  # RFC 9112, section 6.1: request smuggling
    if coding is not None and coding.strip().lower() != b"chunked":
        raise RefusalError(400, "transfer-encoding")
    if length is not None:
        if not _LENGTH.fullmatch(length):
            raise RefusalError(400, "length-malformed")
        if int(length) > most:
            raise RefusalError(413, "too-long")


async def read_body(receive: Receive, most: int) -> bytes:
    """Return the body; raises `RefusalError` if it is too long, and `GoneError`."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise GoneError
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > most:
            raise RefusalError(413, "too-long")
        if part:
            parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def as_delivery(scope: Mapping[str, Any], headers: Headers, body: bytes) -> Delivery:
    """Return a request in the form that the schemes need."""
    query: bytes = scope["query_string"]
    target: bytes = scope["raw_path"]
    return Delivery(scope["method"], target + b"?" + query if query else target, headers, body)


def forwarded_headers(delivery: Delivery, names: frozenset[bytes]) -> dict[str, str]:
    """Return the sender's headers that the gateway forwards: the content type, and `names`.

    Headers that are repeated, long or not printable are omitted. Because of the list of names, no
    header that a target might trust is forwarded, such as headers of identities, proxies or
    transactions.
    """
    found: dict[str, str] = {}
    for name in (b"content-type", *names):
        values = [value for each, value in delivery.headers if each == name]
        if len(values) == 1 and len(values[0]) <= _LONGEST_PASSED_ON and values[0].isascii():
            text = values[0].decode("ascii").strip()
            if text.isprintable() and text:
                found[_spelled(name)] = text
    return found


@cache
def _spelled(name: bytes) -> str:
    """Return a header's name in its usual spelling."""
    return name.decode("ascii").title()
