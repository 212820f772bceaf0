"""Bounded parsing of untrusted JSON."""

from typing import Any

from pydantic_core import from_json

LONGEST = 4 * 1024 * 1024
"""Maximum length of a text in characters. A Kubernetes object has less than half of it."""


def read_json(text: str | bytes, longest: int = LONGEST) -> Any:  # noqa: ANN401 - JSON is anything
    """Return the value of a JSON text.

    Raises only `ValueError`: if the text is not JSON, is longer than `longest`, nests deeper than
    200 levels, or has a number that is NaN or infinite.
    """
    if len(text) > longest:
        raise ValueError("the JSON text is too long")
    # an unpaired surrogate fails to encode with a `ValueError`, like every other fault
    encoded = text.encode() if isinstance(text, str) else text
    return from_json(encoded, allow_inf_nan=False)


def objects_in(part: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - JSON is anything
    """Return the objects in a list, without its other items; empty if `part` is no list."""
    return [each for each in part if isinstance(each, dict)] if isinstance(part, list) else []


def texts_in(part: object) -> list[str]:
    """Return the strings in a list, without its other items; empty if `part` is no list."""
    return [each for each in part if isinstance(each, str)] if isinstance(part, list) else []
