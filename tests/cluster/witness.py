"""Witnesses: records of every state of objects, as the API server reports them."""

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp

from tests.cluster.person import Manifest, reached_by, until, version
from tests.cluster.stage import leaf_of
from troth.cluster.api import RESOURCES


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
    """Watches one kind in one namespace, from its beginning to its end without a gap."""

    def __init__(self, kubeconfig: Path, kind: str, namespace: str) -> None:
        self.seen: list[Sight] = []
        self._server, self._tls = reached_by(kubeconfig)
        self._url = self._server + RESOURCES[kind].path(namespace=namespace)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=2**21,  # one event is one line, and a Secret with keystores makes it long
        )
        since, self._known = await self._list()
        parameters = {"watch": "true", "resourceVersion": since}
        self._watch = await self._session.get(self._url, params=parameters)
        self._noting = asyncio.create_task(self._note())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._noting.cancel()
        await asyncio.wait({self._noting})
        self._watch.close()
        await self._session.close()

    async def everything(self) -> list[Sight]:
        """Return the recorded states, once they include every current object."""

        async def unheard_of() -> set[int]:
            assert not self._noting.done(), "the watch has broken off: there may be a gap"
            _, versions = await self._list()
            return versions - self._known

        await until(unheard_of, lambda versions: not versions)
        return list(self.seen)

    async def _list(self) -> tuple[str, set[int]]:
        async with self._session.get(self._url) as answer:
            found = await answer.json()
        return found["metadata"]["resourceVersion"], {int(version(each)) for each in found["items"]}

    async def _note(self) -> None:
        async for line in self._watch.content:
            event = json.loads(line)
            assert event["type"] in ("ADDED", "MODIFIED", "DELETED"), event
            sight = Sight(time.monotonic(), event["type"], event["object"])
            self.seen.append(sight)
            self._known.add(sight.version)


def each_got_one_certificate(sights: list[Sight], number: int) -> None:
    """Assert from all stored states that no certificate was replaced or removed."""
    serials = defaultdict(set)
    for sight in sights:
        assert sight.type != "DELETED"
        if sight.manifest["kind"] == "Secret":
            serials[sight.name].add(leaf_of(sight.manifest).serial_number)
    assert len(serials) == number
    assert {len(each) for each in serials.values()} == {1}
