"""Which key has verified a delivery, and when: for the operator, which shows it to people.

In a ConfigMap of the gateway's own namespace, an entry `<namespace>.<endpoint>.<key id>` with the
time. All replicas write to it, seldom and only what is news. No delivery waits for it, and none
fails because it does.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import structlog

from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.webhooks.gateway.following import GATEWAY_LABEL
from troth.webhooks.gateway.routes import Routes
from troth.world.facts import MANAGED_BY, Manifest

EVERY = 60.0
"""Seconds between two reports."""
NEWS_AFTER = 600.0
"""Seconds by which an entry is older than what would replace it."""
_LONGEST = 253
"""Characters of a key of a ConfigMap; what is longer cannot be told."""
_NOT_FOUND, _CONFLICT = 404, 409

log = structlog.get_logger()


class Reporter:
    """Notes which keys are used, and reports them."""

    def __init__(
        self,
        namespace: str,
        gateway: str,
        routes: Routes,
        unreadable: Collection[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`unreadable` are the Secrets of endpoints of which nobody knows the keys they have now.

        `clock` is in seconds since the epoch.
        """
        self._ref = Ref(namespace, f"{gateway}-webhook-keys")
        self._labels = {MANAGED_BY: "troth", GATEWAY_LABEL: gateway}
        self._routes = routes
        self._unreadable = unreadable
        self._clock = clock
        self._used: dict[tuple[str, str], float] = {}
        self._told: dict[str, str] | None = None
        self._failure = ""

    def used(self, endpoint: str, key_id: str) -> None:
        """Note that a key has verified a delivery of `<namespace>/<name>` now."""
        self._used[endpoint, key_id] = self._clock()

    async def run(self, server: ApiServer, synced: Callable[[], bool]) -> None:
        """Report until cancelled. Nothing is removed before it is known which endpoints are."""
        while True:
            await asyncio.sleep(EVERY)
            if not synced():
                continue
            try:
                await self.report(server)
            except ApiError as error:
                if str(error) != self._failure:
                    log.warning("keys not reported", status=error.status, reason=error.reason)
                self._failure = str(error)
            else:
                self._failure = ""

    async def report(self, server: ApiServer) -> None:
        """Write what is news, if anything is; raises `ApiError`."""
        changed = dict(self._changed())
        if self._told is not None and not changed:
            return
        patch: Manifest = {"metadata": {"labels": self._labels}, "data": changed}
        try:
            written = await server.merge_patch("ConfigMap", self._ref, patch)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            written = await self._create(server, changed)
        self._told = dict(written.get("data") or {})

    async def _create(self, server: ApiServer, changed: dict[str, str | None]) -> Manifest:
        data = {entry: moment for entry, moment in changed.items() if moment is not None}
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace}
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**metadata, "labels": self._labels},
            "data": data,
        }
        try:
            return await server.create(manifest)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            return {}  # another replica was faster; what is there is known with the next report

    def _changed(self) -> Iterator[tuple[str, str | None]]:
        """Yield the entries to write, and with None those that are nobody's any more."""
        told = self._told or {}
        present = {
            _entry(served.endpoint.endpoint, key.id)
            for served in self._routes
            for key in served.keys
        }
        for (endpoint, key_id), moment in self._used.items():
            entry = _entry(endpoint, key_id)
            if entry in present and len(entry) <= _LONGEST and _is_news(told.get(entry), moment):
                yield entry, datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        doubtful = tuple(f"{name}." for name in self._unreadable)
        for entry in told:
            if entry not in present and not entry.startswith(doubtful):
                yield entry, None


def _entry(endpoint: str, key_id: str) -> str:
    return f"{endpoint.replace('/', '.', 1)}.{key_id}"


def _is_news(told: Any, moment: float) -> bool:  # noqa: ANN401 - what anybody may have written
    try:
        known = datetime.fromisoformat(told).timestamp()
    except (TypeError, ValueError, OverflowError):
        return True
    return abs(moment - known) > NEWS_AFTER
