"""The members of a JSON object, each there once: which of two is meant, readers do not agree on."""

from typing import Any


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object's members, for `json.loads` as `object_pairs_hook`; raises `ValueError`."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is there twice")
    return members
