"""The latest state of a few objects, as a command follows them."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.resources.manifests import Manifest
from troth.resources.references import Ref

FINAL = frozenset({401, 403, 404})
"""Status codes of the API server that retries do not change."""


@dataclass
class Latest:
    """The latest state that informers have observed of one object of each kind.

    `failure` is why the object of the kind `main` cannot be read at present. The user may not be
    allowed to read the others.
    """

    main: str
    objects: dict[str, Manifest] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    failure: ApiError | None = None

    def observe(self, manifest: Manifest) -> None:
        """Take a new state of an object."""
        self.objects[manifest["kind"]] = manifest
        self.failure = None
        self.changed.set()

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take that an object was deleted."""
        del ref, version
        self.objects.pop(kind, None)
        self.changed.set()

    def known(self, selection: Selection) -> Collection[Ref]:
        """Return the objects of a selection that are known."""
        found = self.objects.get(selection.kind)
        return () if found is None else (Ref.of(found),)

    def is_past(self, manifest: Manifest, version: int) -> bool:
        """Return False: whatever the API server has counts."""
        del manifest, version
        return False

    def listed(self, selection: Selection, version: int) -> None:
        """Take that all objects of a selection are known."""
        del selection, version

    def failed(self, selection: Selection, error: ApiError) -> None:
        """Take that a selection cannot be read at present."""
        if selection.kind == self.main:
            self.failure = error
            self.changed.set()

    async def news(self, synced: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
        """Wait for a change or the first sync. Raises the error of an informer that ended."""
        events = [self.changed] if synced.is_set() else [self.changed, synced]
        waits = {asyncio.create_task(event.wait()) for event in events}
        try:
            done, _ = await asyncio.wait({*waits, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for task in done.intersection(tasks):
            task.result()
        self.changed.clear()


def one(kind: str, ref: Ref) -> Selection:
    """Return the selection of one object."""
    return Selection(kind, ref.namespace, fields=f"metadata.name={ref.name}")
