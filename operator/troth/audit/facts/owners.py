"""Owners of objects, as metadata name them."""

from collections.abc import Mapping

from troth.audit.facts.members import mapping, text

_NAMES = ("troth.dev/team", "team", "owner", "app.kubernetes.io/part-of")
"""Annotations and labels that name an owner; the first one found counts."""
_LONGEST = 64


def named_owner(*sources: Mapping[str, str]) -> str:
    """Return the owner that the first of several annotations or labels name, shortened.

    It is empty if none does.
    """
    found = (text(source, name) for source in sources for name in _NAMES)
    owner = next((each for each in found if each), "")
    return owner if len(owner) <= _LONGEST else f"{owner[: _LONGEST - 3]}..."


def owner_in(manifest: object) -> str:
    """Return the owner that an object's own metadata name, empty if they name none."""
    metadata = mapping(manifest, "metadata")
    return named_owner(mapping(metadata, "annotations"), mapping(metadata, "labels"))
