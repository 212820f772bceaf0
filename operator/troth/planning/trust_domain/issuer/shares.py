"""Divides a view that is too large among the namespaces of its callers.

A namespace that uses more than its share loses its newest callers, until all of them fit. Each
namespace is compressed for itself, so that its size depends on nothing else.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from troth.trust.shares import level_of
from troth.world.facts.objects import Cutoff

OVERHEAD = 4096
"""Bytes of a view that belong to no namespace, at most."""

_LEVEL = 6
_HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))  # RFC 1952, without a time


@dataclass(frozen=True, slots=True)
class CallerEntry:
    """Entry of a caller in the view, as JSON, and the age by which callers are ordered."""

    namespace: str
    created: datetime
    name: str
    text: bytes = field(repr=False)

    @property
    def cutoff(self) -> Cutoff:
        """The place of the caller among those of its namespace."""
        return Cutoff(self.created, self.name)


@dataclass(frozen=True, slots=True)
class Shared:
    """A compressed view, and for each namespace that was cut its oldest caller without an entry."""

    view: bytes = field(repr=False)
    cutoffs: Mapping[str, Cutoff]


def share_view(
    before: bytes, entries: Iterable[CallerEntry], after: bytes, *, most: int, longest: int
) -> Shared:
    """Return the view with the callers that have room, oldest first in each namespace.

    The view is `before`, the entries joined by commas, and `after`. It has at most `most` bytes
    compressed and `longest` uncompressed.
    """
    namespaces: dict[str, list[CallerEntry]] = {}
    for entry in sorted(entries, key=lambda each: (each.namespace, each.created, each.name)):
        namespaces.setdefault(entry.namespace, []).append(entry)
    lengths = (sum(len(each.text) + 1 for each in parts) for parts in namespaces.values())
    length = level_of(lengths, longest - OVERHEAD)
    room = most - OVERHEAD
    blocks = {
        name: _blocks(list(_within(parts, length)), room) for name, parts in namespaces.items()
    }
    size = level_of((each.size for each in blocks.values()), room)
    kept = {
        name: each if each.size <= size else _prefix(each.parts, size)
        for name, each in blocks.items()
    }
    cutoffs = {
        name: parts[len(kept[name].parts)].cutoff
        for name, parts in namespaces.items()
        if len(kept[name].parts) < len(parts)
    }
    return Shared(_gzip(before, [each for each in kept.values() if each.parts], after), cutoffs)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Callers of one namespace as deflate blocks (RFC 1951) that depend on no others."""

    parts: list[CallerEntry] = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def size(self) -> int:
        """Number of bytes in the view, with the comma before."""
        return len(_COMMA) + len(self.data)


def _within(parts: list[CallerEntry], most: int) -> Iterator[CallerEntry]:
    """Yield the oldest callers that have at most `most` bytes together, uncompressed."""
    for each in parts:
        most -= len(each.text) + 1
        if most < 0:
            return
        yield each


def _texts(parts: list[CallerEntry]) -> Iterator[bytes]:
    """Yield the texts that are joined to those of callers."""
    for number, each in enumerate(parts):
        yield b"," + each.text if number else each.text


def _blocks(parts: list[CallerEntry], most: int) -> _Blocks:
    """Return callers as blocks, not to their end once these have more than `most` bytes."""
    deflate, data = _deflate(), bytearray()
    for text in _texts(parts):
        data += deflate.compress(text)
        if len(data) > most:
            break
    return _Blocks(parts, bytes(data + deflate.flush(zlib.Z_FULL_FLUSH)))


def _prefix(parts: list[CallerEntry], most: int) -> _Blocks:
    """Return the oldest callers that need at most `most` bytes together."""
    deflate, data, kept = _deflate(), bytearray(), 0
    for text in _texts(parts):
        block = deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)
        if len(_COMMA) + len(data) + len(block) > most:
            break
        data += block
        kept += 1
    return _Blocks(parts[:kept], bytes(data))


def _gzip(before: bytes, found: list[_Blocks], after: bytes) -> bytes:
    """Return one gzip member (RFC 1952) with the blocks of each namespace."""
    data, checksum, length = [_HEADER, _block(before)], zlib.crc32(before), len(before)
    for number, each in enumerate(found):
        data += [_COMMA, each.data] if number else [each.data]
        for text in ([b","] if number else []) + list(_texts(each.parts)):
            checksum, length = zlib.crc32(text, checksum), length + len(text)
    last = _deflate()
    data.append(last.compress(after) + last.flush())
    checksum, length = zlib.crc32(after, checksum), length + len(after)
    data.append(checksum.to_bytes(4, "little") + length.to_bytes(4, "little"))
    return b"".join(data)


def _deflate() -> "zlib._Compress":
    return zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


def _block(text: bytes) -> bytes:
    deflate = _deflate()
    return deflate.compress(text) + deflate.flush(zlib.Z_FULL_FLUSH)


_COMMA = _block(b",")
