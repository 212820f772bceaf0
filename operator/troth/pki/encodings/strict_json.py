"""Strict JSON (RFC 8259), restricted to texts that all parsers read alike (RFC 7493).

Parsers differ on repeated members, NaN and 1e400. If two parties read a document differently, a
check can be bypassed. Documents of Troth have no fractions, so `parse` rejects those too;
`parse_payload` reads the data of others, which has them.
"""

import json
import math
import re
from typing import Any, NoReturn

from troth.resources.json_members import distinct

DEEPEST = 8
"""Maximum nesting of objects and arrays; the documents read here have at most five levels."""

_SPACE = " \t\n\r"  # RFC 8259 section 2
_SAFE_DIGITS = 300  # an integer of so many digits is less than the largest float
# The end of the text ends a string too: otherwise each quote in it would be tried as a beginning.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
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
    return _parsed(text, most, DEEPEST, _DECODER)


def parse_payload(data: bytes, *, most: int, deepest: int) -> Any:  # noqa: ANN401 - JSON is anything
    """Return the value of a JSON text that may have fractions.

    Raises `ValueError` as `parse` does, and also for halves of surrogate pairs and for numbers that
    are too large for a float.
    """
    value = _parsed(data, most, deepest, _DECODER_OF_FRACTIONS)
    if b"\\u" in data:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("invalid or ambiguous JSON") from None
    return value


def _parsed(text: bytes | str, most: int | None, deepest: int, decoder: json.JSONDecoder) -> Any:  # noqa: ANN401 - JSON is anything
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        if most is not None and len(decoded) <= most:
            most = None  # each value has a character at least
        # Before the parser starts, because it recurses for each level.
        if most is not None and _has_more_strings(decoded, 2 * most):
            raise ValueError("too many values")  # noqa: TRY301 - the one way out
        containers = decoded.count("{") + decoded.count("[")
        many = most is not None and 1 + containers + decoded.count(",") > most
        if containers > deepest or many:
            around = _STRING.sub("", decoded)
            if many and most is not None and _values(around) > most:
                raise ValueError("too many values")  # noqa: TRY301 - the one way out
            if _is_deeper(around, deepest):
                raise ValueError("nested too deeply")  # noqa: TRY301 - the one way out
        decoded = decoded.strip(_SPACE)
        value, end = decoder.raw_decode(decoded)
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


def _is_deeper(around: str, deepest: int) -> bool:
    """Return whether a text, without its strings, is nested deeper than `deepest` levels.

    Each round removes the innermost level. A text whose brackets do not match counts as deeper.
    """
    levels = around.encode(errors="replace").translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(deepest):
        levels = levels.replace(b"[]", b"")
    return bool(levels)


def _refuse(_: str) -> NoReturn:
    raise ValueError("a number is not an integer")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > _SAFE_DIGITS:
        _finite(text)
    return int(text)


_DECODER_OF_FRACTIONS = json.JSONDecoder(
    object_pairs_hook=distinct, parse_float=_finite, parse_int=_integer, parse_constant=_refuse
)
_DECODER = json.JSONDecoder(object_pairs_hook=distinct, parse_float=_refuse, parse_constant=_refuse)
