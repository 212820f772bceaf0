"""CloudEvents in NATS messages (CloudEvents, NATS protocol binding 1.0.2, section 3.1).

An attribute is a header `ce-<name>`. A value is printable ASCII: each other character, the space,
`"` and `%` are percent-encoded in UTF-8, with upper-case digits. Only this form is accepted.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from troth.edge.events.attributes import REDRIVE
from troth.edge.events.bindings.headers import Binding, as_bytes
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import RejectedError

_PREFIX = "ce-"
REDRIVE_HEADER = _PREFIX + REDRIVE
"""Name of the header that holds a redrive."""
_PLAIN_TEXT = re.compile(r"[\x21\x23\x24\x26-\x7e]+")
_PLAIN = re.compile(_PLAIN_TEXT.pattern.encode())
_LONGEST_CACHED = 256
_SAFE = "".join(chr(each) for each in range(0x21, 0x7F) if chr(each) not in '"%')


def read(
    subject: str,
    headers: Mapping[str, Sequence[str] | str] | None,
    data: bytes,
    *,
    stored_at: float | None = None,
    sequence: int | None = None,
) -> Message:
    """Return a NATS message as a message.

    `headers` are by name, each with one value or all its values. `stored_at` is the timestamp of
    the stream in seconds since the epoch, and `sequence` the stream's sequence number; both are
    None if no stream stores the message.
    """
    pairs = _pairs(headers or {})
    try:
        attributes, kept = _BINDING.read(pairs)
    except RejectedError as error:
        return Message(
            subject, {}, data, stored_at, None, sequence, as_bytes(pairs), error.rejection
        )
    return Message(subject, attributes, data, stored_at, None, sequence, kept)


def headers(sealed: Sealed) -> dict[str, str]:
    """Return the headers of a sealed event."""
    return {_PREFIX + name: _encode(value) for name, value in sealed.attributes.items()}


def _pairs(headers: Mapping[str, Sequence[str] | str]) -> list[tuple[str, bytes | None]]:
    return [
        (name, value.encode("utf-8", "surrogateescape"))
        for name, values in headers.items()
        for value in ((values,) if isinstance(values, str) else values)
    ]


def _decode(value: bytes) -> str:
    if _PLAIN.fullmatch(value):
        return value.decode("ascii")
    text = unquote_to_bytes(value).decode()
    if _written(text).encode() != value:
        raise ValueError("not in the form that the binding writes")
    return text


def _encode(value: str) -> str:
    return value if _PLAIN_TEXT.fullmatch(value) else _written(value)


def _written(value: str) -> str:
    # Any sender chooses values, so the cache must not hold long ones.
    return _quoted(value) if len(value) <= _LONGEST_CACHED else quote(value, safe=_SAFE)


@lru_cache(maxsize=256)
def _quoted(value: str) -> str:
    return quote(value, safe=_SAFE)


_BINDING = Binding(_PREFIX, {}, _decode)
