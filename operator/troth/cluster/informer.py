"""One informer a kind: a list, then a watch, for as long as the process lives.

Level-triggered by design: what matters is that the world ends up as the API server is. After a
lost connection the watch resumes where it was; after `410 Gone` everything is listed anew, and
what the list no longer has is forgotten, so an object deleted in the gap cannot linger. The list is
compared with what the sink knows, whoever told it: an answer to a write may have, while the watch
was dead.

No single object ends an informer. An object that the sink fails to observe is reported, and the
others go on. A watch event that does not say which object it is about may have been a deletion:
then everything is listed again.
"""

import asyncio
import random
from collections.abc import Callable, Collection
from typing import Protocol, TypeGuard

from troth.cluster.api import ApiServer, Selection
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.origin import origin

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
        self._version = ""
        self._backoff = backoff or Backoff()

    @property
    def position(self) -> int:
        """The resource version up to which everything was seen; 0 while a list is under way."""
        return int(self._version or 0)

    async def run(self) -> None:
        """List and watch until cancelled. Only cancellation ends it; every error backs off.

        After an error that is not the API server's nobody knows what was missed, so that
        everything is listed again.
        """
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
            except Exception as error:  # noqa: BLE001 - the informer's edge
                self._version = ""
                self._on_failure(self.selection, ApiError(0, origin(error), ""))
            # also after an end without an error: a server that ends every watch at once is not well
            await asyncio.sleep(self._backoff.next())

    async def _list(self) -> None:
        seen: set[Ref] = set()
        version, complete = "", True
        turn = Turn()
        async for page in self._server.pages(self.selection):
            version = page["metadata"]["resourceVersion"]
            for item in page["items"]:
                if not _is_identified(item):
                    complete = False
                    self._on_failure(self.selection, ApiError(0, "MalformedItem", ""))
                    continue
                item["kind"] = self.selection.kind  # a list's items do not say
                seen.add(Ref.of(item))
                self._observe(item)
                await turn.give_way()
            await asyncio.sleep(0)
        if complete:  # else any object not seen may be the one that does not say which it is
            await self._forget_unlisted(seen, int(version))
        self._version = version
        self.synced.set()

    async def _forget_unlisted(self, listed: set[Ref], version: int) -> None:
        """Forget what the sink knows and the list does not have; what is newer, the sink keeps."""
        self._sink.listed(self.selection, version)
        gone = [ref for ref in self._sink.known(self.selection) if ref not in listed]
        turn = Turn()
        for ref in gone:
            self._forget(ref, version)
            await turn.give_way()  # the end of a large namespace must not starve the lease

    async def _watch(self) -> None:
        now = asyncio.get_running_loop().time
        began = now()
        turn = Turn()
        try:
            async for event in self._server.watch(self.selection, self._version, SILENCE):
                self._take(event)
                self._backoff.reset()
                await turn.give_way()
        finally:
            if now() - began > LASTING:
                self._backoff.reset()

    def _take(self, event: Manifest) -> None:
        type_, manifest = event.get("type"), event.get("object")
        if type_ == "BOOKMARK" and _has_version(manifest):
            self._version = manifest["metadata"]["resourceVersion"]
            return
        if type_ not in ("ADDED", "MODIFIED", "DELETED") or not _is_identified(manifest):
            self._version = ""
            raise ApiError(0, "MalformedEvent", "a watch event has an unknown type or no object")
        version = manifest["metadata"]["resourceVersion"]
        if type_ == "DELETED":
            self._forget(Ref.of(manifest), int(version))
        else:
            manifest["kind"] = self.selection.kind
            self._observe(manifest)
        self._version = version

    # What a sink fails at is one object's, and no reason not to see the others

    def _observe(self, manifest: Manifest) -> None:
        try:
            self._sink.observe(manifest)
        except Exception as error:  # noqa: BLE001 - the sink's edge
            self._on_failure(self.selection, ApiError(0, origin(error), ""))

    def _forget(self, ref: Ref, version: int) -> None:
        try:
            self._sink.forget(self.selection.watch_class, ref, version)
        except Exception as error:  # noqa: BLE001 - the sink's edge
            self._on_failure(self.selection, ApiError(0, origin(error), ""))


def _has_version(manifest: object) -> TypeGuard[Manifest]:
    """Say whether an object says at which version it is."""
    metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return isinstance(version, str) and version.isdecimal() and version.isascii()


def _is_identified(manifest: object) -> TypeGuard[Manifest]:
    """Say whether an object says which one it is, and at which version."""
    if not _has_version(manifest):
        return False
    name, namespace = (manifest["metadata"].get(each, "") for each in ("name", "namespace"))
    return isinstance(name, str) and isinstance(namespace, str) and bool(name)
