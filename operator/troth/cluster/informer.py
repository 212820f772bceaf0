"""One informer a kind: a list, then a watch, for as long as the process lives.

Level-triggered by design: what matters is that the world ends up as the API server is. After a
lost connection the watch resumes where it was; after `410 Gone` everything is listed anew, and
what the list no longer has is forgotten, so an object deleted in the gap cannot linger. The list is
compared with what the sink knows, whoever told it: an answer to a write may have, while the watch
was dead.
"""

import asyncio
import random
from collections.abc import Callable, Collection
from typing import Protocol

from troth.cluster.api import ApiServer, Selection
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.world.facts import Manifest

GONE = 410
SILENCE = 150.0
"""Seconds without a byte after which a watch counts as dead; bookmarks come once a minute."""
FORGOTTEN_AT_ONCE = 100
"""Objects that are forgotten after a list before others have their turn on the loop."""
LASTING = 10.0
"""Seconds after which a watch counts as a success, though nothing happened in it."""


class Sink(Protocol):
    """Takes in what an informer sees."""

    def observe(self, manifest: Manifest) -> None:
        """Take in an object as it is now."""

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that an object was gone at a resource version."""

    def known(self, selection: Selection) -> Collection[Ref]:
        """Return the objects of a selection that the sink knows."""

    def listed(self, selection: Selection, version: int) -> None:
        """Take in that a list at a resource version was observed as a whole."""


class Backoff:
    """Delays that double with every failure, with full jitter so that a fleet spreads out."""

    def __init__(self, first: float = 0.2, most: float = 30.0) -> None:
        self.first, self.most, self.failures = first, most, 0

    def next(self) -> float:
        """Return the next delay in seconds."""
        bound = min(self.most, self.first * 2**self.failures)
        self.failures = min(self.failures + 1, 16)
        return float(bound * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret

    def reset(self) -> None:
        """Start over after a success."""
        self.failures = 0


class Informer:
    """Keeps a sink in step with one selection of objects."""

    def __init__(
        self,
        server: ApiServer,
        selection: Selection,
        sink: Sink,
        on_failure: Callable[[Selection, ApiError], None] = lambda *_: None,
        backoff: Backoff | None = None,
    ) -> None:
        self.selection = selection
        self.synced = asyncio.Event()
        self._server = server
        self._sink = sink
        self._on_failure = on_failure
        self._version = ""
        self._backoff = backoff or Backoff()

    @property
    def position(self) -> int:
        """The resource version up to which everything was seen; 0 while a list is under way."""
        return int(self._version or 0)

    async def run(self) -> None:
        """List and watch until cancelled. Only cancellation ends it; every error backs off."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except ApiError as error:
                if error.status == GONE:
                    self._version = ""
                else:
                    self._on_failure(self.selection, error)
            # also after an end without an error: a server that ends every watch at once is not well
            await asyncio.sleep(self._backoff.next())

    async def _list(self) -> None:
        seen: set[Ref] = set()
        version = ""
        async for page in self._server.pages(self.selection):
            version = page["metadata"]["resourceVersion"]
            for item in page["items"]:
                item["kind"] = self.selection.kind  # a list's items do not say
                seen.add(Ref.of(item))
                self._sink.observe(item)
            await asyncio.sleep(0)  # a long list must not starve the lease
        await self._forget_unlisted(seen, int(version))
        self._version = version
        self.synced.set()

    async def _forget_unlisted(self, listed: set[Ref], version: int) -> None:
        """Forget what the sink knows and the list does not have; what is newer, the sink keeps."""
        self._sink.listed(self.selection, version)
        gone = [ref for ref in self._sink.known(self.selection) if ref not in listed]
        for count, ref in enumerate(gone, 1):
            self._sink.forget(self.selection.watch_class, ref, version)
            if count % FORGOTTEN_AT_ONCE == 0:
                await asyncio.sleep(0)  # nor must the end of a large namespace

    async def _watch(self) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        try:
            async for event in self._server.watch(self.selection, self._version, SILENCE):
                self._take(event["type"], event["object"])
                self._backoff.reset()
        finally:
            if now() - began > LASTING:
                self._backoff.reset()

    def _take(self, type_: str, manifest: Manifest) -> None:
        version = manifest["metadata"]["resourceVersion"]
        if type_ in ("ADDED", "MODIFIED"):
            self._sink.observe(manifest)
        elif type_ == "DELETED":
            self._sink.forget(self.selection.watch_class, Ref.of(manifest), int(version))
        self._version = version  # a BOOKMARK moves this alone
