"""Strict JSON (RFC 8259), restricted to texts that all parsers read alike (RFC 7493).

Parsers differ on repeated members, NaN and 1e400. If two parties read a document differently, a
check can be bypassed. Fractions are rejected too, because no document that is read here has any.
"""

import json
import re
from typing import Any, NoReturn

from troth.resources.json_members import distinct

DEEPEST = 8
"""Maximum nesting of objects and arrays; the documents read here have at most five levels."""

_SPACE = " \t\n\r"  # RFC 8259 section 2
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)


def parse(text: bytes | str) -> Any:  # noqa: ANN401 - JSON is anything
    """Return the value of a JSON text.

    Raises `ValueError`, which quotes nothing of the text, for bytes that are not UTF-8, a byte
    order mark, repeated members, fractions and exponents, NaN and infinities, more than `DEEPEST`
    levels, and text after the value.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        # Before the parser starts, because it recurses for each level.
        if decoded.count("{") + decoded.count("[") > DEEPEST and _depth(decoded) > DEEPEST:
            raise ValueError("nested too deeply")  # noqa: TRY301 - the one way out
        decoded = decoded.strip(_SPACE)
        value, end = _DECODER.raw_decode(decoded)
        if end != len(decoded):
            raise ValueError("trailing data")  # noqa: TRY301 - the one way out
    except (ValueError, RecursionError):
        raise ValueError("invalid or ambiguous JSON") from None
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
