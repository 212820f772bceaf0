"""The objects of the simulated API server, in memory, with lists in pages and watches.

Each object has `managedFields` of about the size that the API server's have.
"""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from benchmarks.simulation.selectors import Filter
from troth.cluster.errors import ApiError
from troth.reconcile.rehearsal import Place, Rehearsal
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest

HISTORY = 20_000
"""Number of the last changes from which a watch can resume."""
GONE = 410


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the store: the object before and after, each None if there was or is none."""

    version: int
    kind: str
    before: Manifest | None
    after: Manifest | None

    def event(self, selected: Filter) -> bytes | None:
        """Return the line of a watch for this change, None if the watch does not select it."""
        if self.kind != selected.kind:
            return None
        was, is_ = (each and selected.matches(each) for each in (self.before, self.after))
        if not (was or is_):
            return None
        type_ = ("MODIFIED" if was else "ADDED") if is_ else "DELETED"
        shown = dict((self.after if is_ else self.before) or {})
        metadata = {**shown["metadata"], "resourceVersion": str(self.version)}
        return encoded({"type": type_, "object": {**shown, "metadata": metadata}}) + b"\n"


class Store(Rehearsal):
    """Objects in memory that can be listed and watched."""

    def __init__(self) -> None:
        self._by_kind: defaultdict[str, dict[Ref, Manifest]] = defaultdict(dict)
        self._changes: deque[Change] = deque(maxlen=HISTORY)
        self._watches: list[tuple[Filter, asyncio.Queue[bytes]]] = []
        super().__init__()

    @property
    def version(self) -> int:
        """Resource version of the last change."""
        return self._version

    def selected(self, selected: Filter) -> list[Manifest]:
        """Return the selected objects."""
        return [each for each in self._by_kind[selected.kind].values() if selected.matches(each)]

    def watch(self, selected: Filter, version: int) -> asyncio.Queue[bytes]:
        """Return a queue of events after a resource version; raises `ApiError` 410 if too old."""
        if self._changes and version < self._changes[0].version - 1:
            raise ApiError(GONE, "Expired", "too old resource version")
        events: asyncio.Queue[bytes] = asyncio.Queue()
        for change in self._changes:
            if change.version > version and (event := change.event(selected)):
                events.put_nowait(event)
        self._watches.append((selected, events))
        return events

    def unwatch(self, events: asyncio.Queue[bytes]) -> None:
        """End a watch."""
        self._watches = [each for each in self._watches if each[1] is not events]

    async def replace(self, place: Place, manifest: Manifest) -> Manifest:
        """Replace an object that still has the given version, or create it if it has none."""
        version = manifest["metadata"].get("resourceVersion")
        if version is not None and self._get(*place)["metadata"]["resourceVersion"] != version:
            raise ApiError(409, "Conflict", "the object has been modified")
        return self.put(manifest)

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        """Delete the object with this uid."""
        before = self._get(kind, ref)
        answer = await super().delete(kind, ref, uid)
        self._version += 1
        self._tell(Change(self._version, kind, before, None))
        return answer

    def _store(self, place: Place, stored: Manifest) -> Manifest:
        before = self.objects.get(place)
        stored["metadata"]["managedFields"] = managed_fields(stored)
        answer = super()._store(place, stored)
        after = self.objects.get(place)
        self._tell(Change(self._version, place[0], before, after))
        return answer

    def _tell(self, change: Change) -> None:
        shown = change.after or change.before
        assert shown is not None
        if change.after is None:
            self._by_kind[change.kind].pop(Ref.of(shown), None)
        else:
            self._by_kind[change.kind][Ref.of(shown)] = change.after
        self._changes.append(change)
        for selected, events in self._watches:
            if event := change.event(selected):
                events.put_nowait(event)


def page(objects: Sequence[Manifest], start: int, limit: int) -> Iterator[Manifest]:
    """Yield the objects of one page."""
    return islice(objects, start, start + limit if limit else None)


def encoded(value: object) -> bytes:
    """Return JSON as the API server writes it, without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def managed_fields(manifest: Manifest) -> list[Manifest]:
    """Return the record of one manager that owns every field of an object."""
    fields = {key: value for key, value in manifest.items() if key in ("spec", "status", "data")}
    metadata = {
        key: value
        for key, value in manifest["metadata"].items()
        if key in ("labels", "annotations", "ownerReferences")
    }
    return [
        {
            "manager": "troth",
            "operation": "Apply",
            "apiVersion": manifest["apiVersion"],
            "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": _owned({**fields, "metadata": metadata}),
        }
    ]


def _owned(value: Manifest) -> Manifest:
    return {
        f"f:{key}": _owned(each) if isinstance(each, dict) else {} for key, each in value.items()
    }
