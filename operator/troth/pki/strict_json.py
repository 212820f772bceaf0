"""JSON that can be read in one way only (RFC 8259, and RFC 7493 for what to leave out).

Readers disagree about a member that is there twice, about NaN, about 1e400: a document that two
parties read differently is how a check is passed by. So all of that is refused, and with it
fractions, which none of the documents read here has.
"""

import json
import re
from typing import Any, NoReturn

from troth.resources.json_members import distinct

DEEPEST = 8
"""Levels of objects and arrays; the documents read here have at most five."""

_SPACE = " \t\n\r"  # RFC 8259 section 2
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def parse(text: bytes | str) -> Any:  # noqa: ANN401 - JSON is anything
    """The value of a JSON text; `ValueError`, which quotes nothing of it, for what is ambiguous.

    Refused: bytes that are not UTF-8, a byte order mark, members that are there twice, fractions
    and exponents, NaN and infinities, more than `DEEPEST` levels, anything after the value.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        # A parser that descends without end is stopped before it begins.
        if decoded.count("{") + decoded.count("[") > DEEPEST and _depth(decoded) > DEEPEST:
            raise ValueError("nested too deeply")  # noqa: TRY301 - the one way out
        decoded = decoded.strip(_SPACE)
        value, end = _DECODER.raw_decode(decoded)
        if end != len(decoded):
            raise ValueError("trailing data")  # noqa: TRY301 - the one way out
    except (ValueError, RecursionError):
        raise ValueError("not unambiguous JSON") from None
    return value


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in _STRING.sub("", text):
        if character in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "}]":
            depth -= 1
    return deepest


def _refuse(_: str) -> NoReturn:
    raise ValueError("a number is not an integer")


_DECODER = json.JSONDecoder(object_pairs_hook=distinct, parse_float=_refuse, parse_constant=_refuse)
