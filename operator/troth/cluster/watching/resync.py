"""Slow comparison of the cache with the API server, in addition to lists and watches.

Lists and watches keep the cache in step, so a lasting difference is a bug in one of them or in
Troth. Each is counted, logged and repaired. A watch that is only late does not count: the
comparison waits until it has passed the list's resource version.

A list that is older than what the watch has observed, or an object in it that is older than the
known one, is no bug: the API server's store was restored from a snapshot.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from troth.cluster.api import ApiServer
from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.cluster.watching.informer import SILENCE, Informer, Sink
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.origin import origin
from troth.world.versions import Version
from troth.world.world import Difference

INTERVAL = 3600.0
"""Average time in seconds between two comparisons of a selection."""
PATIENCE = 2 * SILENCE
"""Time in seconds for a watch to pass a list's resource version; a dead watch resumes by then."""
COMPARED_AT_ONCE = 1000
"""Number of objects that are compared before other tasks run."""
_PAUSE = 0.5

log = structlog.get_logger()

Listed = dict[Ref, Version]


class Cache(Sink, Protocol):
    """Cache that is compared."""

    def difference(
        self, selection: Selection, ref: Ref, listed: Version | None, version: int
    ) -> Difference | None:
        """Return how an object differs from a list at a resource version, None if it does not."""

    def repair(self, manifest: Manifest) -> None:
        """Take in an object as the API server has it, whatever the cache has."""


class Resync:
    """Compares one selection with the API server until the process ends."""

    def __init__(
        self,
        server: ApiServer,
        informer: Informer,
        cache: Cache,
        *,
        interval: float = INTERVAL,
        on_difference: Callable[[str, Difference], None] = lambda *_: None,
        on_restored: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_difference` gets the kind of each object that differs, and the difference.

        `on_restored` is called if the API server's store went back in time.
        """
        self._server = server
        self._informer = informer
        self._cache = cache
        self._selection = informer.selection
        self._interval = interval
        self._on_difference = on_difference
        self._on_restored = on_restored

    async def run(self) -> None:
        """Compare once an interval until cancelled, with jitter so that selections spread out."""
        await self._informer.synced.wait()
        while True:
            await asyncio.sleep(self._interval * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            try:
                await self.compare()
            except ApiError as error:
                log.warning("resync failed", kind=self._selection.kind, **logged(error))
            except Exception as error:  # noqa: BLE001 - the operator continues without it
                log.error("resync failed", kind=self._selection.kind, error=origin(error))  # noqa: TRY400

    async def compare(self) -> None:
        """List the metadata of the selection, and repair each lasting difference.

        Raises `ApiError` if the list fails.
        """
        observed = self._informer.position
        listed, version = await self._list(self._selection)
        if version < observed:
            self._on_restored()
            return
        suspects = await self._suspects(listed, version)
        if not suspects:
            return
        if not await self._passed(version):
            log.warning("watch is late, resync skipped", kind=self._selection.kind)
            return
        for ref in suspects:
            difference = self._differs(ref, listed, version)
            if difference is Difference.NEWER:
                self._on_restored()
                return
            if difference is not None:
                self._on_difference(self._selection.kind, difference)
                log.error(
                    "cache differs from the API server; repairing it, please report this bug",
                    kind=self._selection.kind,
                    ref=str(ref),
                    difference=difference.value,
                    version=version,
                )
                await self._repair(ref, listed, version)

    async def _suspects(self, listed: Listed, version: int) -> list[Ref]:
        """Return the objects that differ now, including those for which the watch is only late."""
        found = []
        every = {*listed, *self._cache.known(self._selection)}
        for count, ref in enumerate(every, 1):
            if self._differs(ref, listed, version):
                found.append(ref)
            if count % COMPARED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    def _differs(self, ref: Ref, listed: Listed, version: int) -> Difference | None:
        return self._cache.difference(self._selection, ref, listed.get(ref), version)

    async def _list(self, selection: Selection) -> tuple[Listed, int]:
        """Return the versions of a selection's objects, and the list's resource version."""
        found, version = Listed(), 0
        async for page in self._server.pages(selection, metadata_only=True):
            version = int(page["metadata"]["resourceVersion"])
            found |= {Ref.of(item): Version.of(item) for item in page["items"]}
            await asyncio.sleep(0)
        return found, version

    async def _passed(self, version: int) -> bool:
        """Wait for the watch to pass a resource version, and return whether it has."""
        now = asyncio.get_running_loop().time
        end = now() + PATIENCE
        while self._informer.position < version:
            if now() > end:
                return False
            await asyncio.sleep(_PAUSE)
        return True

    async def _repair(self, ref: Ref, listed: Listed, version: int) -> None:
        if ref not in listed:
            self._cache.forget(self._selection.watch_class, ref, version)
            return
        fields = f"metadata.name={ref.name}"
        one = replace(self._selection, namespace=ref.namespace, fields=fields)
        async for page in self._server.pages(one):
            version = int(page["metadata"]["resourceVersion"])
            for item in page["items"]:
                item["kind"] = self._selection.kind
                now = {ref: Version.of(item)}
                if Ref.of(item) == ref and self._differs(ref, now, version):  # it still differs
                    self._cache.repair(item)
