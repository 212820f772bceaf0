"""JSON from outside, read within bounds: somebody else may have written it."""

from typing import Any

from pydantic_core import from_json

LONGEST = 4 * 1024 * 1024
"""Most characters of a text; a Kubernetes object holds less than half of that."""


def read_json(text: str | bytes, longest: int = LONGEST) -> Any:  # noqa: ANN401 - JSON is anything
    """Return the value of a JSON text.

    Raises `ValueError`, and nothing else, for what is not JSON, is longer than `longest`, nests
    deeper than 200 levels, or has a number that is NaN or infinite.
    """
    if len(text) > longest:
        raise ValueError("the JSON text is too long")
    # half of a surrogate pair fails to encode, with a `ValueError` as everything else
    encoded = text.encode() if isinstance(text, str) else text
    return from_json(encoded, allow_inf_nan=False)
