"""One informer a kind: a list, then a watch, for as long as the process lives.

Level-triggered by design: what matters is that the world ends up as the API server is. After a
lost connection the watch resumes where it was; after `410 Gone` everything is listed anew, and
what the list no longer has is forgotten, so an object deleted in the gap cannot linger.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from troth.cluster.api import ApiServer, Selection
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.world.facts import Manifest

GONE = 410
SILENCE = 150.0
"""Seconds without a byte after which a watch counts as dead; bookmarks come once a minute."""
LONGEST_TURN = 0.005
"""Seconds of observing objects after which an informer lets everything else run."""
LASTING = 10.0
"""Seconds after which a watch counts as a success, though nothing happened in it."""


class Sink(Protocol):
    """Takes in what an informer sees."""

    def observe(self, manifest: Manifest) -> None:
        """Take in an object as it is now."""

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that an object was gone at a resource version."""


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


class Turn:
    """Limits how long an informer keeps the event loop busy without a pause.

    A page of a list, or a burst of a watch, must not keep the lease or a health probe waiting. One
    object is never observed in two parts, and objects stay in their order.
    """

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._ends = self._now() + LONGEST_TURN

    async def give_way(self) -> None:
        """Let everything else run that is ready, if the turn has lasted long enough."""
        if self._now() >= self._ends:
            await asyncio.sleep(0)
            self._ends = self._now() + LONGEST_TURN


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
        self._known: set[Ref] = set()
        self._known_as = selection.known_as or selection.kind
        self._version = ""
        self._backoff = backoff or Backoff()

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
        turn = Turn()
        async for page in self._server.pages(self.selection):
            version = page["metadata"]["resourceVersion"]
            for item in page["items"]:
                item["kind"] = self.selection.kind  # a list's items do not say
                seen.add(Ref.of(item))
                self._known.add(Ref.of(item))  # at once: the list may break off after this page
                self._sink.observe(item)
                await turn.give_way()
            await asyncio.sleep(0)
        for ref in self._known - seen:
            self._sink.forget(self._known_as, ref, int(version))
        self._known = seen
        self._version = version
        self.synced.set()

    async def _watch(self) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        turn = Turn()
        try:
            async for event in self._server.watch(self.selection, self._version, SILENCE):
                self._take(event["type"], event["object"])
                self._backoff.reset()
                await turn.give_way()
        finally:
            if now() - began > LASTING:
                self._backoff.reset()

    def _take(self, type_: str, manifest: Manifest) -> None:
        version = manifest["metadata"]["resourceVersion"]
        if type_ in ("ADDED", "MODIFIED"):
            self._known.add(Ref.of(manifest))
            self._sink.observe(manifest)
        elif type_ == "DELETED":
            self._known.discard(Ref.of(manifest))
            self._sink.forget(self._known_as, Ref.of(manifest), int(version))
        self._version = version  # a BOOKMARK moves this alone
