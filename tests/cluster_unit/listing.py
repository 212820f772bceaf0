"""A fake API server for informers: lists and watches of one selection."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from tests.builders import Manifest
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.resources.references import Ref


@dataclass
class Listing:
    """`put` and `drop` change objects in silence; `told` what a watch delivers next."""

    version: int = 5
    objects: dict[Ref, Manifest] = field(default_factory=dict)
    told: asyncio.Queue[Manifest | ApiError] = field(default_factory=asyncio.Queue)
    lists: int = 0
    comparisons: int = 0
    """Lists of metadata alone."""

    def put(self, manifest: Manifest) -> None:
        self.objects[Ref.of(manifest)] = manifest
        self.version = int(manifest["metadata"]["resourceVersion"])

    def drop(self, ref: Ref) -> None:
        del self.objects[ref]
        self.version += 1

    def tell(self, type_: str, manifest: Manifest) -> None:
        self.told.put_nowait({"type": type_, "object": copy.deepcopy(manifest)})

    def bookmark(self) -> None:
        """Tell, as once a minute, up to where the watch has delivered everything."""
        self.tell("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def lose_history(self) -> None:
        """End the watch with 410."""
        self.told.put_nowait(ApiError(410, "Expired", "too old resource version"))

    async def pages(
        self, selection: Selection, *, metadata_only: bool = False
    ) -> AsyncIterator[Manifest]:
        self.lists += not metadata_only
        self.comparisons += metadata_only
        found = [copy.deepcopy(each) for ref, each in self.objects.items() if selection.covers(ref)]
        for each in found:
            del each["kind"]
        items = [{"metadata": each["metadata"]} for each in found] if metadata_only else found
        yield {"items": items, "metadata": {"resourceVersion": str(self.version)}}

    async def watch(
        self,
        selection: Selection,
        resource_version: str,
        silence: float,
        on_open: Callable[[], None],
    ) -> AsyncIterator[Manifest]:
        assert selection.kind
        assert resource_version
        assert silence
        on_open()
        while True:
            event = await self.told.get()
            if isinstance(event, ApiError):
                raise event
            yield event
