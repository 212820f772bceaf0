"""Versions of known objects, and tombstones of deleted ones.

Resource versions of one kind are comparable as numbers (Kubernetes 1.35, KEP-5504). An observation
counts only if it is newer than everything known about its object, including its deletion.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Collection, Mapping
from typing import NamedTuple, Protocol

from troth.resources.references import Ref
from troth.world.facts.objects import Manifest

KEPT = 600.0
"""Minimum time in seconds for which a tombstone is kept.

The answer to a write is at most 30 seconds late, which is the timeout of a request. A list is at
most about five minutes late, after which its continue token expires.
"""
MOST = 1 << 16
"""Maximum number of tombstones, about 15 MB; beyond it the oldest are dropped early."""

UNKNOWN = -1


class Version(NamedTuple):
    """Version of an object: its resource version and its UID.

    `leaving` is whether the object is being deleted and has finalizers.
    """

    number: int
    uid: str
    leaving: bool = False

    @classmethod
    def of(cls, manifest: Manifest) -> "Version":
        """Return the version of an object as the API server has it."""
        metadata = manifest["metadata"]
        number = int(metadata.get("resourceVersion") or 0)
        return cls(number, metadata.get("uid") or "", "deletionTimestamp" in metadata)

    def is_namesake(self, uid: str) -> bool:
        """Return whether this is a version of another object than the one with this UID."""
        return bool(self.uid and uid) and self.uid != uid


class Scope(Protocol):
    """Objects of one watch class that one list and one watch cover."""

    @property
    def watch_class(self) -> str:
        """Watch class of the objects."""

    def covers(self, ref: Ref) -> bool:
        """Return whether an object of the watch class belongs to the scope."""


class Versions:
    """Versions of the known objects, and tombstones."""

    def __init__(self) -> None:
        self._known: dict[str, dict[Ref, Version]] = defaultdict(dict)
        self._tombstones: OrderedDict[tuple[str, Ref] | str, tuple[int, float]] = OrderedDict()
        """By place, the version at which an object was gone; by UID, that of a deleted object."""
        self._listed: dict[Scope, int] = {}

    # Known objects

    def get(self, kind: str, ref: Ref) -> Version | None:
        """Return the version at which an object is known."""
        return self._known[kind].get(ref)

    def of(self, kind: str) -> Mapping[Ref, Version]:
        """Return every known object of a kind."""
        return self._known[kind]

    def note(self, kind: str, ref: Ref, version: Version) -> None:
        """Record that an object is known at a version."""
        self._known[kind][ref] = version

    def drop(self, kind: str, ref: Ref) -> None:
        """Record that an object is not known."""
        self._known[kind].pop(ref, None)

    def is_news(self, kind: str, ref: Ref, version: Version, beside: Collection[str] = ()) -> bool:
        """Return whether a version is newer than everything known about an object.

        `beside` are the other watch classes of its kind: an object is in one of them at a time.
        """
        if not version.number:  # a manifest from a file
            return True
        known = (self.get(each, ref) for each in (kind, *beside))
        if any(each is not None and version.number <= each.number for each in known):
            return False
        return version.number > self.gone_at(kind, ref) and version.uid not in self._tombstones

    def is_past(
        self, kind: str, ref: Ref, version: Version, at: int, beside: Collection[str] = ()
    ) -> bool:
        """Return whether an object was known at a later version, or gone, by another version."""
        known = (self.get(each, ref) for each in (kind, *beside))
        later = [each.number for each in known if each is not None] + [self.gone_at(kind, ref)]
        return any(version.number < each <= at for each in later)

    # Tombstones

    def bury(self, kind: str, ref: Ref, number: int, now: float) -> None:
        """Record that an object was gone at a resource version."""
        self._bury((kind, ref), max(number, self.gone_at(kind, ref)), now)

    def bury_uid(self, uid: str, now: float) -> None:
        """Record that the object with a UID is deleted, at whatever version."""
        if uid:
            self._bury(uid, UNKNOWN, now)

    def gone_at(self, kind: str, ref: Ref) -> int:
        """Return the version at which an object is known to have been gone, else `UNKNOWN`."""
        number, _ = self._tombstones.get((kind, ref), (UNKNOWN, 0.0))
        return number

    def is_dead(self, uid: str) -> bool:
        """Return whether the object with a UID is known to be deleted."""
        return uid in self._tombstones

    def unbury(self, kind: str, ref: Ref, uid: str) -> None:
        """Drop the tombstones of an object that the API server does have."""
        self._tombstones.pop((kind, ref), None)
        self._tombstones.pop(uid, None)

    def _bury(self, place: tuple[str, Ref] | str, number: int, now: float) -> None:
        self._tombstones[place] = number, now
        self._tombstones.move_to_end(place)
        while self._tombstones:
            _, (_, since) = next(iter(self._tombstones.items()))
            if now - since <= KEPT and len(self._tombstones) <= MOST:
                break
            self._tombstones.popitem(last=False)

    # Lists

    def note_list(self, scope: Scope, number: int) -> None:
        """Record that every object of a scope is known as in the list at a resource version."""
        self._listed[scope] = number

    def is_unlisted(self, kind: str, ref: Ref, version: Version) -> bool:
        """Return whether a list at this version or later did not have an object.

        This detects late answers even if the tombstone is dropped: such an object is deleted.
        """
        if not version.number or self.get(kind, ref) is not None:
            return False
        return any(
            scope.watch_class == kind and number >= version.number and scope.covers(ref)
            for scope, number in self._listed.items()
        )
