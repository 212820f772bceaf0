"""Fields that the API server stored otherwise than Troth sent them.

A mutating admission policy or webhook has changed them in Troth's own write, or the CRD does not
know them.
"""

from collections.abc import Iterator
from typing import Any

from troth.planning.steps.step import Target
from troth.world.facts.objects import Manifest

NAMED = 3
"""Maximum number of fields that a message names."""
_MAPS = ("labels", "annotations")
_LISTS = ("ownerReferences", "finalizers")
_EMPTY: tuple[Any, ...] = (None, "", [], {})


class ServerMutations:
    """The altered fields of the last write of each object, until they are taken."""

    def __init__(self) -> None:
        self._fields: dict[Target, tuple[str, ...]] = {}

    def note(self, target: Target, sent: Manifest, stored: Manifest) -> None:
        """Record how the answer to a write differs from what was sent.

        `sent` is the applied manifest or a merge patch, `stored` the object in the answer.
        """
        self._fields.pop(target, None)
        if fields := tuple(altered_fields(sent, stored)):
            self._fields[target] = fields

    def of(self, target: Target) -> tuple[str, ...]:
        """Return the altered fields of the last write of an object."""
        return self._fields.get(target, ())

    def take(self, target: Target) -> tuple[str, ...]:
        """Return the altered fields of the last write of an object, and forget them."""
        return self._fields.pop(target, ())


def altered_fields(sent: Manifest, stored: Manifest) -> Iterator[str]:
    """Yield the paths of the fields that are not stored as they were sent, without values.

    An absent field equals an empty one. Other fields of the stored object are ignored, except for
    those of a NetworkPolicy's spec, which Troth owns completely.
    """
    for part in _MAPS:
        yield from _altered(f"metadata.{part}", sent, stored, "metadata", part)
    metadata, kept = sent.get("metadata") or {}, stored.get("metadata") or {}
    yield from (
        f"metadata.{part}"
        for part in _LISTS
        for each in metadata.get(part) or ()
        if not any(_holds(each, one) for one in kept.get(part) or ())
    )
    yield from _altered("data", sent, stored, "data")
    for part in ("spec", "status"):
        wanted, found = sent.get(part) or {}, stored.get(part) or {}
        exact = part == "spec" and bool(wanted) and stored.get("kind") == "NetworkPolicy"
        yield from (
            f"{part}.{name}"
            for name in sorted(wanted.keys() | (found.keys() if exact else set()))
            if not _holds(wanted.get(name), found.get(name), exact=exact)
        )


def _altered(path: str, sent: Manifest, stored: Manifest, *parts: str) -> Iterator[str]:
    """Yield the keys of a map of texts that are not stored as they were sent."""
    for part in parts:
        sent, stored = sent.get(part) or {}, stored.get(part) or {}
    yield from (f"{path}[{key}]" for key in sorted(sent) if not _holds(sent[key], stored.get(key)))


def _holds(sent: Any, stored: Any, *, exact: bool = False) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether a stored value has everything of the sent one, and with `exact` no more."""
    if sent == stored:  # the usual case, compared without a call for each value
        return True
    if sent in _EMPTY or stored in _EMPTY:
        return sent in _EMPTY and stored in _EMPTY
    if isinstance(sent, dict) and isinstance(stored, dict):
        names = sent.keys() | (stored.keys() if exact else set())
        return all(_holds(sent.get(name), stored.get(name), exact=exact) for name in names)
    if isinstance(sent, list) and isinstance(stored, list):
        return len(sent) == len(stored) and all(
            _holds(one, other, exact=exact) for one, other in zip(sent, stored, strict=True)
        )
    return False
