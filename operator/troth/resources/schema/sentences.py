"""Says in Troth's words what is wrong with a field, for each type of error that pydantic has."""

from difflib import get_close_matches
from typing import Any, get_args

from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

_KNOWN = frozenset(get_args(ErrorType))
"""Types of pydantic's own errors. Every other type is of a rule, whose message is a sentence."""

REQUIRED = "required; add it"
TEXT = "write text; put it in quotes if it looks like a number or a boolean"
_BY_TYPE = {
    "missing": REQUIRED,
    "extra_forbidden": "unknown field; remove it or correct its spelling",
    "bool": "write true or false",
    "int": "write a whole number",
    "float": "write a number",
    "finite": "write a number",
    "string": TEXT,
    "model": "write fields with their values, such as {name: payments}",
    "dict": "write fields with their values, such as {app: payments}",
    "mapping": "write fields with their values, such as {app: payments}",
    "list": "write a list",
    "tuple": "write a list",
    "datetime": "write an RFC 3339 time, such as 2026-11-24T12:00:00Z",
    "timezone": "write an RFC 3339 time with its time zone, such as 2026-11-24T12:00:00Z",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}


def sentence(error: ErrorDetails) -> str:
    """Return what to write instead. It never quotes the value, which may be a misplaced secret.

    `error` needs its context and no input.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind not in _KNOWN:
        return _lowered(error["msg"])
    if kind in _BOUNDS:
        word, bound = _BOUNDS[kind]
        return f"write a number of {word} {context[bound]}"
    match kind:
        case "too_short":
            return f"list at least {counted(context['min_length'], 'item')}"
        case "too_long":
            return f"list at most {counted(context['max_length'], 'item')}"
        case "string_too_short":
            return f"write at least {counted(context['min_length'], 'character')}"
        case "string_too_long":
            return f"write at most {counted(context['max_length'], 'character')}"
        case "enum" | "literal_error":
            return f"write one of {context['expected']}"
        case "value_error":
            return _lowered(error["msg"].removeprefix("Value error, "))
    return _BY_TYPE.get(kind) or _BY_TYPE.get(kind.partition("_")[0]) or "write a valid value"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural unless the count is 1."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def nearest(word: str, known: "list[str] | dict[str, Any]") -> str:
    """Return the known word that a misspelled one most resembles, empty if none does.

    Upper and lower case make no difference: `podselector` is `podSelector`.
    """
    by_lower = {each.lower(): each for each in sorted(known, reverse=True)}
    found = get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return by_lower[found[0]] if found else ""
