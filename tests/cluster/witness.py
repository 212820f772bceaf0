"""Witnesses: records of every state of objects, as the API server reports them."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby
from pathlib import Path
from typing import Self

import aiohttp

from tests.cluster.person import (
    NOT_READY_PAUSE,
    TOO_MANY,
    Manifest,
    reached_by,
    until,
    version,
)
from tests.cluster.stage import leaf_of, opened
from troth.cluster.resources import RESOURCES
from troth.resources.references import Ref


@dataclass(frozen=True)
class Sight:
    """A state of an object."""

    at: float
    """When the witness saw it, on the monotonic clock."""
    type: str
    """ADDED, MODIFIED or DELETED."""
    manifest: Manifest

    @property
    def name(self) -> str:
        found: str = self.manifest["metadata"]["name"]
        return found

    @property
    def version(self) -> int:
        """Position among all writes to the cluster, which has a single etcd that counts them."""
        return int(version(self.manifest))


class Witness:
    """Watches one kind in one namespace, from its beginning to its end without a gap.

    The API server ends each watch after `lifetime` seconds, by default 30 to 60 minutes. The next
    watch begins where the last one ended.
    """

    def __init__(
        self, kubeconfig: Path, kind: str, namespace: str, lifetime: int | None = None
    ) -> None:
        self.seen: list[Sight] = []
        self._server, self._tls = reached_by(kubeconfig)
        self._url = self._server + RESOURCES[kind].path(namespace=namespace)
        self._options = {"watch": "true", "allowWatchBookmarks": "true"}
        if lifetime is not None:
            self._options["timeoutSeconds"] = str(lifetime)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=2**21,  # one event is one line, and a Secret with keystores makes it long
        )
        self._since, self._known = await self._list()
        self._watch = await self._open()
        self._noting = asyncio.create_task(self._note())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._noting.cancel()
        await asyncio.wait({self._noting})
        self._watch.close()
        await self._session.close()

    async def everything(self) -> list[Sight]:
        """Return the recorded states, once they include every current object.

        Raises `AssertionError` if states may be missing.
        """

        async def unheard_of() -> set[int]:
            if self._noting.done():
                self._noting.result()
            _, versions = await self._list()
            return versions - self._known

        await until(unheard_of, lambda versions: not versions)
        return list(self.seen)

    async def _list(self) -> tuple[str, set[int]]:
        async with self._session.get(self._url) as answer:
            found = await answer.json()
        return found["metadata"]["resourceVersion"], {int(version(each)) for each in found["items"]}

    async def _open(self) -> aiohttp.ClientResponse:
        """Return a watch of everything after the last event."""
        options = {**self._options, "resourceVersion": self._since}
        watch = await self._session.get(self._url, params=options)
        while watch.status == TOO_MANY:
            watch.close()
            await asyncio.sleep(NOT_READY_PAUSE)
            watch = await self._session.get(self._url, params=options)
        assert watch.status == HTTPStatus.OK, f"no watch since {self._since}: {await watch.text()}"
        return watch

    async def _note(self) -> None:
        """Record events until cancelled. A watch that cannot continue is an `AssertionError`."""
        while True:
            with suppress(aiohttp.ClientError):
                async for line in self._watch.content:
                    self._take(json.loads(line))
            self._watch.close()
            self._watch = await self._open()

    def _take(self, event: Manifest) -> None:
        kind, manifest = event["type"], event["object"]
        assert kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"), f"states are missing: {event}"
        self._since = version(manifest)
        if kind != "BOOKMARK":
            sight = Sight(time.monotonic(), kind, manifest)
            self.seen.append(sight)
            self._known.add(sight.version)


def existing(sights: Iterable[Sight], namespaces: Collection[str]) -> set[Ref]:
    """Return the objects in some namespaces that exist after the last of these states."""
    last = {Ref.of(sight.manifest): sight.type for sight in sights}
    return {
        ref for ref, type_ in last.items() if type_ != "DELETED" and ref.namespace in namespaces
    }


def inbound_turns(sights: list[Sight], policy: str) -> list[list[int]]:
    """Return which inbound ports a policy opened over time, without repetitions."""
    states = (
        [] if sight.type == "DELETED" else opened(sight.manifest, "ingress")
        for sight in sights
        if sight.name == policy
    )
    return [ports for ports, _ in groupby(states)]


def each_got_one_certificate(sights: list[Sight], number: int) -> None:
    """Assert from all stored states that no certificate was replaced or removed."""
    serials = defaultdict(set)
    for sight in sights:
        assert sight.type != "DELETED"
        if sight.manifest["kind"] == "Secret":
            serials[sight.name].add(leaf_of(sight.manifest).serial_number)
    assert len(serials) == number
    assert {len(each) for each in serials.values()} == {1}
