"""Writes of statuses: by server-side apply, and rarely while much happens.

Progress of an object is written at most once in ten seconds, the newest alone. A change of phase is
written at once, and its writer waits until the API server has it: what follows depends on it.
"""

import asyncio
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.cluster.watching.backoff import Backoff
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest

INTERVAL = 10.0
"""Minimum time in seconds between two writes of an object's progress."""
NOT_FOUND, CONFLICT = 404, 409

log = structlog.get_logger()


class StatusServer(Protocol):
    """The part of the API server's client that writes statuses."""

    async def apply_status(self, manifest: Manifest) -> Manifest:
        """Apply the members of a status; raises `ApiError`."""


@dataclass(frozen=True, slots=True)
class Object:
    """Object whose status is written."""

    kind: str
    ref: Ref
    uid: str


@dataclass(slots=True)
class _Written:
    """What was last written of an object, and what is to be written."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    at: float = float("-inf")
    members: Mapping[str, Any] | None = field(default=None, repr=False)
    waiting: Mapping[str, Any] | None = field(default=None, repr=False)


class StatusWriter:
    """Writes statuses. `run` writes what `offer` was given."""

    def __init__(
        self,
        server: StatusServer,
        *,
        interval: float = INTERVAL,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._interval = interval
        self._monotonic = monotonic
        self._known: dict[Object, _Written] = {}
        self._offered = asyncio.Event()
        self._tasks: dict[Object, asyncio.Task[None]] = {}

    def offer(self, place: Object, members: Mapping[str, Any]) -> None:
        """Take members of a status, to be written within the interval unless newer ones come."""
        self._entry(place).waiting = members
        self._offered.set()

    async def put(
        self, place: Object, members: Mapping[str, Any], *, version: str | None = None
    ) -> bool:
        """Write members of a status, and return once the API server has them.

        It tries again while the API server fails. Returns False if the object no longer exists, or
        does not have the resource version, if one is given.
        """
        entry = self._entry(place)
        backoff = Backoff(first=0.5, most=30.0)
        while True:
            try:
                async with entry.lock:
                    entry.waiting = None
                    return await self._write(place, entry, members, version)
            except ApiError as error:
                _warn(place, error)
            await asyncio.sleep(backoff.next())

    def keep(self, uids: Container[str]) -> None:
        """Forget all objects but those with some UIDs: the others no longer exist."""
        for place in [each for each in self._known if each.uid not in uids]:
            self._forget(place)

    def clear(self) -> None:
        """Forget what was written and offered: from now on another process may write."""
        self.keep(())

    async def run(self) -> None:
        """Write what was offered until cancelled, and forget what was not written by then."""
        try:
            while True:
                await self._offered.wait()
                self._offered.clear()
                for place, entry in self._known.items():
                    if entry.waiting is not None and place not in self._tasks:
                        task = asyncio.create_task(self._write_later(place, entry))
                        self._tasks[place] = task
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self.clear()

    def _forget(self, place: Object) -> None:
        self._known.pop(place, None)
        task = self._tasks.pop(place, None)
        if task is not None:
            task.cancel()

    def _entry(self, place: Object) -> _Written:
        return self._known.setdefault(place, _Written())

    async def _write_later(self, place: Object, entry: _Written) -> None:
        backoff = Backoff(first=self._interval, most=max(self._interval, 30.0))
        try:
            while entry.waiting is not None:
                await asyncio.sleep(max(0.0, entry.at + self._interval - self._monotonic()))
                try:
                    async with entry.lock:
                        members, entry.waiting = entry.waiting, None
                        if members is not None:
                            await self._write(place, entry, members)
                except ApiError as error:
                    _warn(place, error)
                    if entry.waiting is None:
                        entry.waiting = members
                    await asyncio.sleep(backoff.next())
        finally:
            if self._tasks.get(place) is asyncio.current_task():
                del self._tasks[place]

    async def _write(
        self,
        place: Object,
        entry: _Written,
        members: Mapping[str, Any],
        version: str | None = None,
    ) -> bool:
        if members == entry.members and version is None:
            return True
        entry.at = self._monotonic()
        metadata = {"name": place.ref.name, "namespace": place.ref.namespace, "uid": place.uid}
        if version is not None:
            metadata["resourceVersion"] = version
        manifest = {
            "apiVersion": API_VERSION,
            "kind": place.kind,
            "metadata": metadata,
            "status": dict(members),
        }
        try:
            await self._server.apply_status(manifest)
        except ApiError as error:
            if error.status in (NOT_FOUND, CONFLICT):  # deleted meanwhile, or made again
                self._known.pop(place, None)
                return False
            raise
        entry.members = members
        return True


def _warn(place: Object, error: ApiError) -> None:
    log.warning("status not written", kind=place.kind, object=str(place.ref), **logged(error))
