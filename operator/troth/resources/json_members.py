"""JSON objects without repeated members, because readers disagree on which one counts."""

from typing import Any


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object, as `object_pairs_hook` of `json.loads`.

    Raises `ValueError` if a member is repeated.
    """
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return members
