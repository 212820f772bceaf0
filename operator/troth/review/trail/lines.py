"""Finds entries in the lines of a log, among lines of others and in what collectors make of them.

A line may have a prefix, as `kubectl logs --timestamps` and container runtimes write one. It may be
JSON that has the entry as a member, or that has the original line as text.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from troth.pki.encodings import strict_json
from troth.review.trail.entry import LONGEST_LINE, MARK, Entry, parse, read

_BEGIN = re.compile(rf'\{{\s*"{re.escape(MARK)}"\s*:')
_MOST_ENTRIES = 64
"""Maximum number of entries in one line."""
_MOST_VALUES = 8192
_DEEPEST = 12
_DECODER = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Damaged:
    """Text that begins as an entry and is none. A crash may have cut it."""

    text: str
    fault: str


def entries_in(line: str) -> Iterator[Entry | Damaged]:
    """Yield the entries of a line in their order."""
    if MARK not in line:
        return
    begins = [each.start() for each in _BEGIN.finditer(line)]
    if not begins:
        yield from _wrapped(line)
        return
    if len(begins) > _MOST_ENTRIES:
        yield Damaged(line, "the line has too many entries")
        return
    ended = 0
    for begin, following in zip(begins, [*begins[1:], len(line)], strict=True):
        if begin < ended:
            continue
        end = _end(line, begin)
        if end is None:
            yield Damaged(line[begin:following].rstrip("\r\n"), "the text ends too early")
            continue
        ended = end
        try:
            yield read(line[begin:end])
        except ValueError as error:
            yield Damaged(line[begin:end], str(error))


def _end(line: str, begin: int) -> int | None:
    """Return where the JSON that begins at a place ends, None if it does not."""
    if len(line) - begin > 4 * LONGEST_LINE:
        line = line[: begin + 4 * LONGEST_LINE]
    try:
        return _DECODER.raw_decode(line, begin)[1]
    except (ValueError, RecursionError):
        return None


def _wrapped(line: str) -> Iterator[Entry | Damaged]:
    """Yield the entries in a line of a collector, whose own members may be anything."""
    if len(line) > 4 * LONGEST_LINE:
        return
    try:
        value = strict_json.parse_payload(
            line.strip().encode("utf-8", "replace"), most=_MOST_VALUES, deepest=_DEEPEST
        )
    except ValueError:
        return
    if not isinstance(value, dict):
        return
    if MARK in value:
        try:
            yield parse(value[MARK])
        except ValueError as error:
            yield Damaged(line, str(error))
    for each in value.values():
        if isinstance(each, str) and _BEGIN.search(each):
            yield from entries_in(each)
