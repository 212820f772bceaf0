"""Reads manifests of others, whose members may be of any type."""

from collections.abc import Mapping
from typing import Any

LONGEST_TEXT = 256 * 1024
"""Characters of a text that rules read. The API server accepts no more in all annotations of an
object together, so only a file can have more."""


def member(value: object, *names: str) -> object:
    """Return the member at a path, None if there is none."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def mapping(value: object, *names: str) -> Mapping[str, Any]:
    """Return the object at a path, an empty one if it is none."""
    found = member(value, *names)
    return found if isinstance(found, dict) else {}


def items(value: object, *names: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the members of the list at a path that are objects, with their positions."""
    found = member(value, *names)
    if not isinstance(found, list):
        return []
    return [(number, each) for number, each in enumerate(found) if isinstance(each, dict)]


def text(value: object, *names: str) -> str:
    """Return the text at a path, empty if it is none."""
    found = member(value, *names)
    return found[:LONGEST_TEXT] if isinstance(found, str) else ""


def texts(value: object, *names: str) -> list[str]:
    """Return the members of the list at a path that are texts."""
    found = member(value, *names)
    if not isinstance(found, list):
        return []
    return [each[:LONGEST_TEXT] for each in found if isinstance(each, str)]


def annotations(manifest: object) -> Mapping[str, str]:
    """Return the annotations of an object that are texts."""
    found = mapping(manifest, "metadata", "annotations")
    return {name: text(found, name) for name in found if isinstance(found[name], str)}
