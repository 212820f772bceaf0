"""Deletion of a resource, as its metadata reports it."""

from dataclasses import dataclass
from datetime import datetime

from troth.world.facts.objects import Manifest


@dataclass(frozen=True, slots=True)
class Deletion:
    """Resource that is being deleted: its identity, its version, and what still holds it.

    `at` is its deletionTimestamp, from which on it exists only because of its finalizers.
    """

    uid: str
    resource_version: str
    finalizers: tuple[str, ...]
    at: datetime

    @classmethod
    def of(cls, metadata: Manifest) -> "Deletion | None":
        """Return the deletion in an object's metadata, None if the object is not being deleted."""
        at = metadata.get("deletionTimestamp")
        if not at:
            return None
        finalizers = tuple(metadata.get("finalizers") or ())
        uid, version = metadata["uid"], metadata["resourceVersion"]
        return cls(uid, version, finalizers, datetime.fromisoformat(at))
