"""Comparison of the keywords of JSON Schema that bound numbers, lengths and counts."""

import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from troth.resources.messaging.schemas.compatibility.json_subschemas import Subschema

LEAST = {"minLength": "string", "minItems": "array", "minProperties": "object"}
"""Keywords with a least count, and the type that each applies to."""
MOST = {"maxLength": "string", "maxItems": "array", "maxProperties": "object"}
"""Keywords with a greatest count, and the type that each applies to."""
NUMERIC = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")

_Bound = tuple[Fraction, int]
"""A bound, and 1 or -1 if the value itself is excluded."""


def least_count(narrow: Sequence[Subschema], keyword: str) -> float:
    """Return the least count that several schemas allow together."""
    found = max((each.get(keyword, 0) for each in narrow), default=0)
    if keyword == "minProperties":
        found = max(found, len({name for each in narrow for name in each.get("required", ())}))
    return float(found)


def most_count(narrow: Sequence[Subschema], keyword: str) -> float:
    """Return the greatest count that several schemas allow together."""
    return float(min((each.get(keyword, math.inf) for each in narrow), default=math.inf))


def exceeded(narrow: Sequence[Subschema], wide: Subschema, *, whole: bool) -> Iterator[str]:
    """Yield the keywords whose bounds of numbers are narrower in `wide`; `whole` for integers."""
    lower, upper = _bound(narrow, "inimum", max, whole), _bound(narrow, "aximum", min, whole)
    for keyword in NUMERIC:
        if keyword not in wide:
            continue
        only = [{keyword: wide[keyword]}]
        if keyword.endswith("inimum"):
            needed = _bound(only, "inimum", max, whole)
            if needed is not None and (lower is None or lower < needed):
                yield keyword
        else:
            needed = _bound(only, "aximum", min, whole)
            if needed is not None and (upper is None or _opposite(upper) < _opposite(needed)):
                yield keyword


def divides(narrow: Sequence[Subschema], divisor: Any, *, whole: bool) -> bool | None:  # noqa: ANN401 - any number
    """Return whether `multipleOf: divisor` is implied; None if that depends on rounding."""
    divisors = [each["multipleOf"] for each in narrow if "multipleOf" in each]
    if divisor in divisors:
        return True
    if not isinstance(divisor, int) or not all(isinstance(each, int) for each in divisors):
        return None
    return (whole and divisor == 1) or any(each % divisor == 0 for each in divisors)


def _bound(
    schemas: Sequence[Subschema],
    name: str,
    choose: Callable[[list[_Bound]], _Bound],
    whole: bool,  # noqa: FBT001 - of this module
) -> _Bound | None:
    """Return the strictest bound of several schemas, None without one."""
    excluded = 1 if name == "inimum" else -1
    bounds: list[_Bound] = []
    for each in schemas:
        if f"m{name}" in each:
            bounds.append((Fraction(each[f"m{name}"]), 0))
        if f"exclusiveM{name}" in each:
            bounds.append((Fraction(each[f"exclusiveM{name}"]), excluded))
    if whole:
        bounds = [_whole(bound, excluded) for bound in bounds]
    return choose(bounds) if bounds else None


def _whole(bound: _Bound, direction: int) -> _Bound:
    """Return a bound as the first integer within it."""
    value, excluded = bound
    near = Fraction(math.ceil(value) if direction > 0 else math.floor(value))
    return (near + direction if excluded and near == value else near), 0


def _opposite(bound: _Bound) -> _Bound:
    return -bound[0], -bound[1]
