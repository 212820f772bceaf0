"""Reports of the times at which keys verified deliveries, for the status of endpoints.

The reports are in one ConfigMap of the gateway's namespace, in the format of
`troth.documents.gateway_report`. All replicas write it, rarely and only if something is new. If two
replicas write at once, the second one reads the result and adds to it a minute later. No delivery
waits for a report or fails because of one.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

import structlog

from troth.cluster.api import ApiServer
from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.documents.gateway_report import LABEL, member, parse_member
from troth.resources.references import Ref
from troth.webhooks.gateway.routes import Routes, Served
from troth.world.facts.objects import Manifest

EVERY = 60.0
"""Time in seconds between two reports."""
NEWS_AFTER = timedelta(minutes=10)
"""Minimum age of a reported time before a later one replaces it."""
_LONGEST = 253
"""Maximum length of a ConfigMap's key in characters; longer names are not reported."""
_NOT_FOUND, _CONFLICT = 404, 409

log = structlog.get_logger()


class Reporter:
    """Records which keys are used, and reports them."""

    def __init__(
        self,
        namespace: str,
        gateway: str,
        routes: Routes,
        unreadable: Collection[str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Set up the reporter.

        `unreadable` contains the Secrets of endpoints whose current keys are unknown. `clock` is in
        seconds since the epoch.
        """
        self._ref = Ref(namespace, f"{gateway}-webhook-keys")
        self._labels = {LABEL: gateway}
        self._routes = routes
        self._unreadable = unreadable
        self._clock = clock
        self._used: dict[str, dict[str, float]] = {}
        self._content: ReportContent | None = None
        self._failure = ""

    def used(self, endpoint: str, key_id: str) -> None:
        """Record that a key has verified a delivery of `<namespace>/<name>` now."""
        self._used.setdefault(endpoint, {})[key_id] = self._clock()

    async def run(self, server: ApiServer, synced: Callable[[], bool]) -> None:
        """Report until cancelled. Nothing is removed before all endpoints are known."""
        while True:
            await asyncio.sleep(EVERY)
            if not synced():
                continue
            try:
                await self.report(server)
            except ApiError as error:
                if str(error) != self._failure:
                    log.warning("key report failed", **logged(error))
                self._failure = str(error)
            else:
                self._failure = ""

    async def report(self, server: ApiServer) -> None:
        """Write changes, if there are any; raises `ApiError`."""
        content = self._content or await self._fetch(server)
        changed = dict(self._changed(content.members))
        if not changed:
            self._content = content
            return
        self._content = None  # if this write fails, another replica may have written
        try:
            written = await self._write(server, content, changed)
        except ApiError as error:
            if error.status not in {_NOT_FOUND, _CONFLICT}:
                raise
        else:
            self._content = ReportContent.of(written)

    async def _fetch(self, server: ApiServer) -> "ReportContent":
        """Return the current content. The request changes at most the label of the ConfigMap."""
        patch = {"metadata": {"labels": self._labels}}
        try:
            return ReportContent.of(await server.merge_patch("ConfigMap", self._ref, patch))
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            return ReportContent()

    async def _write(
        self, server: ApiServer, content: "ReportContent", changed: Mapping[str, str | None]
    ) -> Manifest:
        if content.version:
            metadata = {"labels": self._labels, "resourceVersion": content.version}
            patch = {"metadata": metadata, "data": changed}
            return await server.merge_patch("ConfigMap", self._ref, patch)
        place = {"name": self._ref.name, "namespace": self._ref.namespace}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "data": changed}
        return await server.create({**manifest, "metadata": {**place, "labels": self._labels}})

    def _changed(self, content: Mapping[str, str]) -> Iterator[tuple[str, str | None]]:
        """Yield the members to write, with None for those of deleted endpoints."""
        present = set()
        for served in self._routes:
            name = served.endpoint.endpoint.replace("/", ".", 1)
            present.add(name)
            if len(name) <= _LONGEST:
                text = self._member(served, content.get(name, ""), keep=name in self._unreadable)
                if text is not None:
                    yield name, text
        for name in content:
            if name not in present and name not in self._unreadable:
                yield name, None

    def _member(self, served: Served, content: str, *, keep: bool) -> str | None:
        """Return the new member of an endpoint, None if nothing is new."""
        keys = {key.id for key in served.keys}
        known = {key: at for key, at in parse_member(content).items() if keep or key in keys}
        news = {
            key: moment
            for key, used in self._used.get(served.endpoint.endpoint, {}).items()
            if key in keys
            and _is_newer(known.get(key), moment := datetime.fromtimestamp(used, UTC))
        }
        if not news and (not content or member(known) == content):
            return None
        return member({**known, **news})


@dataclass(frozen=True, slots=True)
class ReportContent:
    """Content of the ConfigMap. An empty version means that it does not exist."""

    version: str = ""
    members: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return the content of a ConfigMap."""
        return cls(str(manifest["metadata"]["resourceVersion"]), dict(manifest.get("data") or {}))


def _is_newer(known: datetime | None, moment: datetime) -> bool:
    return known is None or abs(moment - known) > NEWS_AFTER
