"""Informers, one for each selection of objects: a list, then a watch, until the process ends.

Informers are level-triggered: the world ends up with the state of the API server. After a lost
connection the watch resumes at its resource version. After `410 Gone` the informer lists again, and
the sink forgets what the list does not have, so an object that was deleted in the meantime does
not remain. This compares the list with everything that the sink knows: it may know an object from
the answer to a write while the watch was dead.

A list that is older than what was observed before, or has an object that is, is asked for again.
The API server answers a list from its store, so if that happens several times, the store was
restored from a snapshot: a watch that resumed would wait for versions that lie in the future.

A watch that ends early without an event is followed by a list, as in client-go's reflector. The API
server ends a watch at an event that it cannot encode, as of an object that nests too deep, and a
watch that resumes before the event would end there again.

No single object ends an informer. If the sink fails to observe an object, the failure is reported
and the others are observed. A watch event without the identity of its object may be a deletion, so
the informer lists again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any, NoReturn, Protocol, TypeGuard

from troth.cluster.api import ApiServer
from troth.cluster.denials import FORBIDDEN
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.cluster.watching.backoff import Backoff
from troth.cluster.watching.pace import Pace
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.origin import origin

GONE = 410
HINDERED = 3
"""Number of failed reads in a row after which an informer counts as hindered."""
SILENCE = 150.0
"""Time in seconds without a byte after which a watch counts as dead; bookmarks come each minute."""
TIME_SLICE = 0.005
"""Time in seconds for which an informer observes objects before other tasks run."""
OLD_LISTS = 3
"""Number of old lists in a row after which the API server's store counts as restored."""
LASTING = 10.0
"""Time in seconds after which a watch counts as a success even without events."""
CATCH_UP = 5.0
"""Time in seconds after which a quiet watch has delivered what happened before it was opened.

A watch that ends earlier without an event may not have delivered it.
"""
BETWEEN_SHORT_WATCHES = 1.0, 10.0
"""First and longest delay in seconds before the list that follows a watch without an event.

A user who may write one object of the kind can end its watches again and again, with events in
between. So an event does not shorten the delay.
"""


class Sink(Protocol):
    """Receiver of what an informer reads."""

    def observe(self, manifest: Manifest) -> None:
        """Take in the current state of an object."""

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that an object did not exist at a resource version."""

    def is_past(self, manifest: Manifest, version: int) -> bool:
        """Return whether an object of a list at a resource version is older than it was by then."""

    def known(self, selection: Selection) -> Collection[Ref]:
        """Return the objects of a selection that the sink knows."""

    def listed(self, selection: Selection, version: int) -> None:
        """Take in that a whole list at a resource version was observed."""


async def _always(_: Selection) -> None:
    """Let an informer continue."""


class TimeSlice:
    """Limits the time for which an informer keeps the event loop busy.

    A page of a list or a burst of events must not delay the lease or a health probe. Each object is
    observed as a whole, and the order of objects is kept.
    """

    def __init__(self) -> None:
        self._now = asyncio.get_running_loop().time
        self._ends = self._now() + TIME_SLICE

    async def yield_if_over(self) -> None:
        """Let other tasks run if the time slice is used up."""
        if self._now() >= self._ends:
            await asyncio.sleep(0)
            self._ends = self._now() + TIME_SLICE


class Informer:
    """Keeps a sink in step with one selection of objects."""

    def __init__(
        self,
        server: ApiServer,
        selection: Selection,
        sink: Sink,
        on_failure: Callable[[Selection, ApiError], None] = lambda *_: None,
        backoff: Backoff | None = None,
        *,
        list_after: Collection[int] = (GONE,),
        may_continue: Callable[[Selection], Awaitable[None]] = _always,
        on_restored: Callable[[], None] = lambda: None,
        pace: Pace | None = None,
    ) -> None:
        """`list_after` are the statuses after which a watch does not resume and a list is made.

        `may_continue` is called before each read that follows an ended watch or an error.

        `on_restored` is called if the API server's store went back in time.

        `pace` is shared with the other informers of the process.
        """
        self.selection = selection
        self.synced = asyncio.Event()
        self.established = asyncio.Event()
        """Set once the API server has accepted a watch."""
        self._pace = pace or Pace()
        self._read_at: float | None = None
        self._opened_at: float | None = None
        """Time at which the API server accepted the current watch, None without one."""
        self._failures = 0
        self._server = server
        self._sink = sink
        self._on_failure = on_failure
        self._on_restored = on_restored
        self._version = ""
        self._newest = self._old_lists = 0
        self._backoff = backoff or Backoff()
        self._short_watches, self._pause = Backoff(*BETWEEN_SHORT_WATCHES), 0.0
        self._may_continue = may_continue
        self._list_after = list_after

    @property
    def position(self) -> int:
        """Resource version up to which everything was observed; 0 while a list is in progress."""
        return int(self._version or 0)

    @property
    def is_hindered(self) -> bool:
        """Whether the API server forbids to read the selection, or failed to several times."""
        return self._failures >= HINDERED

    @property
    def age(self) -> float:
        """Seconds since the selection was last read, or since the informer began.

        A complete list, an event and a bookmark are reads. A watch that stays open and quiet for
        `CATCH_UP` seconds proves that nothing had happened until it was opened.
        """
        if self._read_at is None:
            return 0.0
        self._note_quiet_watch()
        return asyncio.get_running_loop().time() - self._read_at

    def _was_read(self) -> None:
        self._read_at = asyncio.get_running_loop().time()
        self._failures = 0

    def _note_failure(self, status: int) -> None:
        if status != GONE:
            self._failures += HINDERED if status == FORBIDDEN else 1

    def _note_quiet_watch(self) -> None:
        if self._read_at is not None and self._opened_at is not None and self._open_for >= CATCH_UP:
            self._read_at = max(self._read_at, self._opened_at)

    @property
    def _open_for(self) -> float:
        """Seconds for which the current watch has been open, 0 without one."""
        opened = self._opened_at
        return 0.0 if opened is None else asyncio.get_running_loop().time() - opened

    @property
    def _is_young(self) -> bool:
        """Whether the current watch may not have delivered what happened before it was opened."""
        return self._opened_at is not None and self._open_for < CATCH_UP

    async def run(self) -> None:
        """List and watch until cancelled. After every error, back off and continue.

        After an error that is not the API server's it is unknown what was missed, so list again.
        Raises only what `may_continue` raises.
        """
        self._was_read()
        may_continue: Callable[[Selection], Awaitable[None]] = _always
        while True:
            await self._pace.turn()
            await may_continue(self.selection)
            may_continue = self._may_continue
            try:
                if not self._version:
                    async with self._pace.listing:
                        await self._list()
                await self._watch()
            except ApiError as error:
                self._note_failure(error.status)
                if error.status in self._list_after:
                    self._version = ""
                if error.status != GONE:
                    self._on_failure(self.selection, error)
            except Exception as error:  # noqa: BLE001 - no error ends the informer
                self._version = ""
                self._note_failure(0)
                self._on_failure(self.selection, ApiError(0, origin(error), ""))
            # also after an end without an error, in case a server ends every watch immediately
            await asyncio.sleep(max(self._backoff.next(), self._pause))
            self._pause = 0.0

    async def _list(self) -> None:
        seen: set[Ref] = set()
        version, complete = "", True
        time_slice = TimeSlice()
        async for page in self._server.pages(self.selection):
            version = page["metadata"]["resourceVersion"]
            if int(version) < self._newest:
                self._reject_list()
            for item in _taken_from(page):
                if not _is_identified(item):
                    complete = False
                    self._on_failure(self.selection, ApiError(0, "MalformedItem", ""))
                    continue
                item["kind"] = self.selection.kind  # items of a list have no kind
                if self.synced.is_set() and self._is_past(item, int(version)):
                    self._reject_list()
                seen.add(Ref.of(item))
                self._observe(item)
                await time_slice.yield_if_over()
            await asyncio.sleep(0)
        if complete:  # otherwise a missing object may be the unidentified one
            await self._forget_unlisted(seen, int(version))
        self._old_lists = 0
        self._reach(version)
        self._was_read()
        self.synced.set()

    def _reject_list(self) -> NoReturn:
        """Raise `ApiError` because a list is older than what was observed.

        If that happens repeatedly, the next list counts whatever its version.
        """
        self._old_lists += 1
        if self._old_lists >= OLD_LISTS:
            self._newest = self._old_lists = 0
            self._on_restored()
        raise ApiError(0, "OldList", "the list is older than what was observed before")

    def _reach(self, version: str) -> None:
        """Record that everything up to a resource version was observed."""
        self._version = version
        self._newest = max(self._newest, int(version))

    async def _forget_unlisted(self, listed: set[Ref], version: int) -> None:
        """Forget what the sink knows and the list does not have; the sink keeps what is newer."""
        self._sink.listed(self.selection, version)
        gone = [ref for ref in self._sink.known(self.selection) if ref not in listed]
        time_slice = TimeSlice()
        for ref in gone:
            self._forget(ref, version)
            await time_slice.yield_if_over()  # deleting a large namespace must not starve the lease

    async def _watch(self) -> None:
        time_slice, is_empty = TimeSlice(), True
        try:
            events = self._server.watch(self.selection, self._version, SILENCE, self._opened)
            async for event in events:
                is_empty = False
                self._take(event)
                self._was_read()
                self._backoff.reset()
                await time_slice.yield_if_over()
            if is_empty and self._is_young:
                raise ApiError(0, "ShortWatch", "the watch ended before its first event")
        finally:
            if is_empty and self._is_young:
                self._version = ""
                self._pause = self._short_watches.next()
            if self._open_for > LASTING:
                self._backoff.reset()
                self._short_watches.reset()
            self._note_quiet_watch()
            self._opened_at = None

    def _opened(self) -> None:
        self._opened_at = asyncio.get_running_loop().time()
        self._failures = 0
        self.established.set()

    def _take(self, event: Manifest) -> None:
        type_, manifest = event.get("type"), event.get("object")
        if type_ == "BOOKMARK" and _has_version(manifest):
            self._reach(manifest["metadata"]["resourceVersion"])
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
        self._reach(version)

    # If the sink fails on one object, the others are still observed

    def _is_past(self, manifest: Manifest, version: int) -> bool:
        try:
            return self._sink.is_past(manifest, version)
        except Exception:  # noqa: BLE001 - observing the object fails, too, and is reported
            return False

    def _observe(self, manifest: Manifest) -> None:
        try:
            self._sink.observe(manifest)
        except Exception as error:  # noqa: BLE001 - no object ends the informer
            self._on_failure(self.selection, ApiError(0, origin(error), ""))

    def _forget(self, ref: Ref, version: int) -> None:
        try:
            self._sink.forget(self.selection.watch_class, ref, version)
        except Exception as error:  # noqa: BLE001 - no object ends the informer
            self._on_failure(self.selection, ApiError(0, origin(error), ""))


def _taken_from(page: Manifest) -> Iterator[Any]:
    """Yield the items of a page in order, and remove each from it.

    So the memory of an item serves for what is kept of the next ones: a page of Secrets is as large
    as the facts of a thousand.
    """
    items = page["items"]
    items.reverse()
    while items:
        yield items.pop()


def _has_version(manifest: object) -> TypeGuard[Manifest]:
    """Return whether an object has a resource version."""
    metadata = manifest.get("metadata") if isinstance(manifest, dict) else None
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return isinstance(version, str) and version.isdecimal() and version.isascii()


def _is_identified(manifest: object) -> TypeGuard[Manifest]:
    """Return whether an object has an identity and a resource version."""
    if not _has_version(manifest):
        return False
    name, namespace = (manifest["metadata"].get(each, "") for each in ("name", "namespace"))
    return isinstance(name, str) and isinstance(namespace, str) and bool(name)
