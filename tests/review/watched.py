"""An API server in memory that informers list and watch."""

import asyncio
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from typing import Any, cast

from tests.builders import Manifest
from tests.review.server import Server
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.resources.references import Ref
from troth.review.objects.cache import ReviewCache


class _History:
    """What has happened to the objects, by kind."""

    def __init__(self) -> None:
        self.events: list[tuple[int, str, Manifest]] = []
        self.changed = asyncio.Event()

    def observe(self, manifest: Manifest) -> None:
        self._add(manifest["kind"], "MODIFIED", manifest)

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        metadata = {**ref._asdict(), "resourceVersion": str(version)}
        self._add(kind, "DELETED", {"kind": kind, "metadata": metadata})

    def _add(self, kind: str, change: str, manifest: Manifest) -> None:
        version = int(manifest["metadata"]["resourceVersion"])
        self.events.append((version, kind, {"type": change, "object": manifest}))
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()


class WatchedServer(Server):
    """Objects, with the reads of an informer. Lists wait until `listing` is set."""

    def __init__(self) -> None:
        self._history = _History()
        super().__init__(cast("ReviewCache", self._history))
        self.listing = asyncio.Event()
        self.listing.set()

    async def pages(self, selection: Selection) -> AsyncIterator[Manifest]:
        await self.listing.wait()
        found = [each for (kind, _), each in self.objects.items() if kind == selection.kind]
        yield {"items": deepcopy(found), "metadata": {"resourceVersion": str(self._version)}}

    async def watch(
        self, selection: Selection, version: str, _: float, on_open: Callable[[], None]
    ) -> AsyncIterator[Manifest]:
        on_open()
        seen = int(version)
        while True:
            changed = self._history.changed
            for number, kind, event in list(self._history.events):
                if number > seen and kind == selection.kind:
                    seen = number
                    yield deepcopy(event)
            await changed.wait()

    async def get(self, kind: str, ref: Ref) -> Any:
        found = self.objects.get((kind, ref))
        if found is None:
            raise ApiError(404, "NotFound", "")
        return deepcopy(found)
