"""Informers for the kinds that the API server serves; kinds come and go with their CRDs.

A kind that it does not serve has no objects, so rules see all of them. A kind that the auditor may
not list, whose list keeps failing, or that is served in another version alone is hidden: rules
report that they could not see it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from troth.auditor.cache import SceneCache
from troth.auditor.kinds import is_served, other_version
from troth.cluster.api import ApiServer
from troth.cluster.denials import FORBIDDEN, logged
from troth.cluster.discovery import Served, served
from troth.cluster.errors import ApiError
from troth.cluster.resources import resource_of
from troth.cluster.selection import Selection
from troth.cluster.watching.backoff import Backoff
from troth.cluster.watching.informer import Informer
from troth.world.origin import origin

LOOK_EVERY = 30.0
"""Seconds between two looks at what the API server serves."""
PATIENCE = 60.0
"""Seconds of failures after which a kind is hidden."""
_LIST_APART, _WATCH_APART = 300.0, 45.0
"""Seconds without a failure after which a list or a watch has worked. They are more than an
informer's backoff; a list may besides take long until it fails."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Failing:
    """Failures of an informer without any progress in between."""

    since: float
    last: float
    position: int


class Watches:
    """Runs one informer for each selection whose kind is served."""

    def __init__(
        self,
        server: ApiServer,
        cache: SceneCache,
        selections: Mapping[str, Selection],
        *,
        on_served: Callable[[Served], None] = lambda _: None,
        on_restored: Callable[[], None] = lambda: None,
        look_every: float = LOOK_EVERY,
        patience: float = PATIENCE,
    ) -> None:
        """`on_served` gets what the API server serves, at each look.

        `on_restored` is called if the API server's store went back in time.
        """
        self._server = server
        self._cache = cache
        self._selections = selections
        self._on_served = on_served
        self._on_restored = on_restored
        self._look_every = look_every
        self._patience = patience
        self._failing: dict[str, _Failing] = {}
        self._looked = False
        self._informers: dict[str, Informer] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def settled(self) -> bool:
        """Whether every kind that is served was listed, or is hidden."""
        return self._looked and all(
            informer.synced.is_set() or self._cache.denies(kind)
            for kind, informer in self._informers.items()
        )

    async def run(self) -> None:
        """Start and stop informers until cancelled."""
        backoff = Backoff(first=1.0, most=self._look_every)
        try:
            while True:
                try:
                    await self.look()
                    backoff.reset()
                except ApiError as error:
                    log.warning("discovery failed", **logged(error))
                except Exception as error:  # noqa: BLE001 - the next look may succeed
                    log.error("discovery failed", error=origin(error))  # noqa: TRY400
                await asyncio.sleep(self._look_every if self._looked else backoff.next())
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def look(self) -> None:
        """Start informers of kinds that are served now, and stop the others.

        Raises `ApiError`.
        """
        api = await served(self._server)
        for kind in self._selections:
            if is_served(kind, api) and kind not in self._tasks:
                self._start(kind)
            elif not is_served(kind, api) and kind in self._tasks:
                log.info("kind is no longer served", kind=kind)
                self._stop(kind)
                self._cache.forget_kind(kind)
            if kind not in self._tasks:
                self._hide(kind, other_version(kind, api))
        self._looked = True
        self._on_served(api)

    def _start(self, kind: str) -> None:
        informer = Informer(
            self._server,
            self._selections[kind],
            self._cache,
            self._failed,
            on_restored=self._on_restored,
        )
        self._informers[kind] = informer
        self._tasks[kind] = asyncio.create_task(informer.run(), name=f"informer {kind}")

    def _stop(self, kind: str) -> None:
        del self._informers[kind]
        self._failing.pop(kind, None)
        self._tasks.pop(kind).cancel()

    def _failed(self, selection: Selection, error: ApiError) -> None:
        kind = selection.kind
        name = resource_of(kind).name
        informer = self._informers.get(kind)
        if error.status == FORBIDDEN:
            why = f"the auditor has no right to list and watch {name}"
        else:
            log.warning("watch failed", kind=kind, **logged(error))
            if self._cache.denies(kind) or informer is None or not self._lasts(kind, informer):
                return
            cause = f"{error.status or ''} {error.reason}".strip()
            why = f"the API server fails to list and watch {name} ({cause})"
        if not self._cache.denies(kind):
            log.warning("kind cannot be listed; its rules see nothing", kind=kind, **logged(error))
        self._cache.hide(kind, why)
        if informer is not None and informer.synced.is_set():
            # It would resume its watch; only a list shows that the right has come back.
            self._stop(kind)
            self._start(kind)

    def _lasts(self, kind: str, informer: Informer) -> bool:
        """Note a failure; return whether there have been only failures for some time."""
        now, position = time.monotonic(), informer.position
        known = self._failing.get(kind)
        apart = _WATCH_APART if position else _LIST_APART
        if known is None or known.position != position or now - known.last > apart:
            known = self._failing[kind] = _Failing(now, now, position)
        known.last = now
        return now - known.since >= self._patience

    def _hide(self, kind: str, why: str) -> None:
        """Hide a kind that is not read, or show it if there is no reason."""
        if why and not self._cache.denies(kind):
            log.warning("kind cannot be listed; its rules see nothing", kind=kind, why=why)
        if why or self._cache.denies(kind):
            self._cache.hide(kind, why)
