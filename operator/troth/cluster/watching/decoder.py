"""Decoding of the API server's JSON, so that no single object makes an answer unreadable.

The API server stores up to 10,000 levels of nesting, and in `managedFields` bytes that are not
UTF-8. `pydantic_core.from_json` is fast and rejects such bytes and more than 200 levels. If it
rejects an answer, each object is decoded separately, without the levels that Troth does not read.
Nothing here recurses, and no returned object nests too deep to be compared, copied or written.
"""

import asyncio
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable

from pydantic_core import from_json

from troth.cluster.errors import ApiError
from troth.world.facts.objects import UNREADABLE, Manifest

DEEPEST = 128
"""Maximum levels of an object; `null` replaces what nests deeper."""
QUICK = 4 * 1024 * 1024
"""Maximum size in bytes of an answer that is decoded on the event loop, at about 70 MB/s."""

UNREAD = (
    # Troth reads only the first levels
    (b"metadata", b"managedFields"),
    # still rejected for its depth: `json_bounds.DEEPEST` and `avro.DEEPEST` are less than the
    # levels kept
    (b"spec", b"schema", b"jsonSchema"),
    (b"spec", b"schema", b"avro"),
)
"""Members whose deeper levels Troth does not read. An object without them stays readable."""

_NAMED = 3
_LONGEST_PATH = 120
_QUOTE, _OPENING = ord('"'), b"[{"
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"(\s*+:)?|[\[\]{}]', re.DOTALL)
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)

Path = tuple[bytes, ...]
_Span = tuple[int, int, Path]
_Wanted = Callable[[int, list[bytes]], bool]


async def decode(text: bytes, apart: Callable[[bytes], Manifest]) -> Manifest:
    """Return a JSON object of the API server; raises `ValueError` for anything else.

    `apart` decodes a large answer, and one that the fast decoder rejects, in a thread, so that the
    event loop continues.
    """
    if len(text) <= QUICK:
        try:
            return _object(text)
        except ValueError:
            pass
    return await asyncio.to_thread(apart, text)


async def lines(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, of any length."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        *whole, rest = pending.split(b"\n")
        for line in whole:
            if line:
                yield bytes(line)
        pending = bytearray(rest)


def read_page(text: bytes) -> Manifest:
    """Return a list, each of whose `items` is decoded separately; an unreadable one is None."""
    page, objects = _taken_apart(text, lambda depth, keys: depth == 2 and keys[1] == b"items")  # noqa: PLR2004
    items = page.get("items") or []
    if not isinstance(items, list) or len(items) != len(objects):
        raise ValueError("not every item is an object")
    return {**page, "items": objects}


def read_event(text: bytes) -> Manifest:
    """Return a watch event, with its `object` decoded separately."""
    event, objects = _taken_apart(text, lambda depth, keys: depth == 1 and keys[1] == b"object")
    return {**event, "object": objects[0] if objects else None}


def read_object(text: bytes) -> Manifest:
    """Return an object without the levels that Troth does not read.

    If they are in a member other than those of `UNREAD`, the object has the member `UNREADABLE`
    with a message that names the member. Raises `ValueError` if the text is not a JSON object.
    """
    try:
        return _object(text)
    except ValueError:
        text = _repaired(text)
    cuts = _spans(text, lambda depth, _: depth == DEEPEST)
    text = _without(text, cuts)
    try:
        found = _object(text)
    except ValueError:
        return _identity_of(text)
    for _, _, path in cuts:
        if not any(path[: len(unread)] == unread for unread in UNREAD):
            found[UNREADABLE] = (
                f"{_shown(path)}: nested deeper than {DEEPEST} levels; remove levels from it"
            )
    return found


def _taken_apart(text: bytes, wanted: _Wanted) -> tuple[Manifest, list[Manifest | None]]:
    """Return an answer with null in place of its objects, and the objects."""
    spans = _spans(text, wanted)
    return _object(_without(text, spans)), [_read(text[start:end]) for start, end, _ in spans]


def _read(text: bytes) -> Manifest | None:
    try:
        return read_object(text)
    except ValueError:
        return None


def _identity_of(text: bytes) -> Manifest:
    """Return the identity of an object that contains something that is not valid JSON."""
    beside = _spans(
        text,
        lambda depth, keys: (
            (depth == 1 and keys[1] not in (b"metadata", b"status"))
            or (depth == 2 and keys[1:3] == [b"metadata", b"managedFields"])  # noqa: PLR2004
        ),
    )
    because = (
        "contains a string or a number that is not valid JSON; apply the object again without it"
    )
    return {**_object(_without(text, beside)), UNREADABLE: because}


def _object(text: bytes) -> Manifest:
    found = from_json(text)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - like every other invalid answer
    return found


def _spans(text: bytes, wanted: _Wanted) -> list[_Span]:
    """Return the positions and paths of the outermost objects and arrays that are `wanted`.

    `wanted` gets the number of levels around one, and the names of the members that lead to it, one
    for each of the first levels from index 1, empty in an array.
    """
    keys = [b""] * (_NAMED + 1)
    found: list[_Span] = []
    depth, start, within = 0, -1, 0
    for token in _TOKEN.finditer(text):
        first = text[token.start()]
        if first == _QUOTE:
            if token.lastindex and start < 0 and depth <= _NAMED:
                keys[depth] = text[token.start() + 1 : token.start(1) - 1]
        elif first in _OPENING:
            if start < 0 and wanted(depth, keys):
                start, within = token.start(), depth
            depth += 1
            if start < 0 and depth <= _NAMED:
                keys[depth:] = [b""] * (_NAMED + 1 - depth)
        else:
            depth -= 1
            if start >= 0 and depth == within:
                found.append((start, token.end(), tuple(filter(None, keys))))
                start = -1
    if depth:
        raise ValueError("unbalanced objects or arrays")
    return found


def _without(text: bytes, spans: list[_Span]) -> bytes:
    """Return a text with null in place of these spans."""
    kept, end = [], 0
    for start, after, _ in spans:
        kept.append(text[end:start])
        end = after
    return b"null".join([*kept, text[end:]])


def _repaired(text: bytes) -> bytes:
    """Return a text as Go's decoder reads it: U+FFFD replaces invalid characters."""
    decoded = text.decode("utf-8", "replace")
    if _HALF.search(decoded):
        decoded = _ESCAPE.sub(lambda each: "\\ufffd" if each[1] else each[0], decoded)
    return decoded.encode()


def _shown(path: Path) -> str:
    return b".".join(path).decode("utf-8", "replace")[:_LONGEST_PATH] or "the object"


def checked_page(page: Manifest) -> Manifest:
    """Return a page of a list that has `items`; raises `ApiError` otherwise."""
    metadata, items = page.get("metadata"), page.get("items") or []
    if not isinstance(metadata, dict) or not isinstance(items, list):
        raise ApiError(0, "MalformedList", "the answer is not a list of objects")
    page["items"] = items
    return page
