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
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse(text: bytes | str, *, most: int | None = None) -> Any:  # noqa: ANN401 - JSON is anything
    """Return the value of a JSON text.

    `most` is the maximum number of values in it, for texts that are parsed before their sender is
    known: the parser takes far longer for many values than for as many bytes in one.

    Raises `ValueError`, which quotes nothing of the text, for bytes that are not UTF-8, a byte
    order mark, repeated members, fractions and exponents, NaN and infinities, more than `DEEPEST`
    levels, more than `most` values, and text after the value.
    """
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        # Before the parser starts, because it recurses for each level.
        if most is not None and _has_more_strings(decoded, 2 * most):
            raise ValueError("too many values")  # noqa: TRY301 - the one way out
        containers = decoded.count("{") + decoded.count("[")
        if containers > DEEPEST or most is not None:
            around = _STRING.sub("", decoded)
            if most is not None and _values(around) > most:
                raise ValueError("too many values")  # noqa: TRY301 - the one way out
            if _is_deeper(around):
                raise ValueError("nested too deeply")  # noqa: TRY301 - the one way out
        decoded = decoded.strip(_SPACE)
        value, end = _DECODER.raw_decode(decoded)
        if end != len(decoded):
            raise ValueError("trailing data")  # noqa: TRY301 - the one way out
    except (ValueError, RecursionError):
        raise ValueError("invalid or ambiguous JSON") from None
    return value


def _has_more_strings(text: str, most: int) -> bool:
    """Return whether a valid text certainly has more strings than `most`.

    No string begins after a backslash, so only ends of strings may go uncounted.
    """
    return text.count('"') - text.count('\\"') > 2 * most


def _values(around: str) -> int:
    """Return the number of values at most, given the text without its strings."""
    return 1 + around.count(",") + around.count("[") + around.count("{")


def _is_deeper(around: str) -> bool:
    """Return whether a text, without its strings, is nested deeper than `DEEPEST`.

    Each round removes the innermost level. A text whose brackets do not match counts as deeper.
    """
    levels = around.encode(errors="replace").translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(DEEPEST):
        levels = levels.replace(b"[]", b"")
    return bool(levels)


def _refuse(_: str) -> NoReturn:
    raise ValueError("a number is not an integer")


_DECODER = json.JSONDecoder(object_pairs_hook=distinct, parse_float=_refuse, parse_constant=_refuse)
