"""Recording of every state of every object, by watches."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.cluster.person import Manifest, reached_by, until
from troth.cluster.resources import RESOURCES
from troth.resources.references import Ref

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_LINE = 2**23
"""Longest event in bytes, instead of the library's own limit."""


class Recording:
    """Watches all objects of some kinds. Use as an async context manager."""

    def __init__(self, kubeconfig: Path, kinds: Iterable[str] = RESOURCES) -> None:
        self._server, self._tls = reached_by(kubeconfig)
        self._kinds = tuple(kinds)
        self._stack = AsyncExitStack()
        self._watches: list[asyncio.Task[None]] = []
        self._seen: set[tuple[str, str]] = set()
        self.states: list[Manifest] = []
        """States with their kind, in order of arrival."""

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=_LINE)
        )
        for kind in self._kinds:
            version = await self._list(kind)
            self._watches.append(asyncio.create_task(self._watch(kind, version)))
        return self

    async def __aexit__(self, *_: object) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await self._stack.aclose()

    async def complete(self) -> None:
        """Wait until the current version of every object was observed."""

        async def unseen() -> list[tuple[str, str]]:
            for watch in self._watches:
                assert not watch.done(), "a watch has ended"
            now = [_which(each) for kind in self._kinds for each in await self._items(kind)]
            return [each for each in now if each not in self._seen]

        await until(unseen, lambda missing: not missing)

    def of(self, kind: str, *namespaces: str) -> list[Manifest]:
        """Return the states of a kind, in some namespaces or in all."""
        return [
            state
            for state in self.states
            if state["kind"] == kind
            and (not namespaces or state["metadata"].get("namespace") in namespaces)
        ]

    async def _list(self, kind: str) -> str:
        answer = await self._get(kind)
        for item in answer["items"]:
            self._take({**item, "kind": kind})
        version: str = answer["metadata"]["resourceVersion"]
        return version

    async def _items(self, kind: str) -> list[Manifest]:
        items: list[Manifest] = (await self._get(kind))["items"]
        return [{**item, "kind": kind} for item in items]

    async def _get(self, kind: str) -> Manifest:
        async def look() -> tuple[int, Manifest]:
            async with self._session.get(self._url(kind)) as response:
                return response.status, await response.json()

        # For a new kind the API server may first answer with an error.
        _, answer = await until(look, lambda seen: seen[0] == 200)
        return answer

    async def _watch(self, kind: str, version: str) -> None:
        parameters = {"watch": "true", "resourceVersion": version}
        async with self._session.get(self._url(kind), params=parameters) as response:
            async for line in response.content:
                event = json.loads(line)
                assert event["type"] != "ERROR", event
                self._take(event["object"])

    def _take(self, manifest: Manifest) -> None:
        self._seen.add(_which(manifest))
        self.states.append(manifest)

    def _url(self, kind: str) -> str:
        return f"{self._server}{RESOURCES[kind].path()}"


def _which(manifest: Manifest) -> tuple[str, str]:
    metadata = manifest["metadata"]
    return metadata["uid"], metadata["resourceVersion"]


def place(manifest: Manifest) -> str:
    """Return the name of an object's state for a finding."""
    metadata = manifest["metadata"]
    return f"{manifest['kind']} {Ref.of(manifest)} at version {metadata['resourceVersion']}"


def beside_the_data(manifest: Manifest) -> str:
    """Return the part of an object that must be free of secrets, as text: all but a Secret's data.

    `kubectl apply` keeps everything that a user applied in an annotation, including the data of a
    Secret. This is the user's choice, and only readers of the Secret see it. The annotation counts
    in Secrets that Troth wrote.
    """
    if manifest["kind"] != "Secret":
        return json.dumps(manifest)
    shown: dict[str, Any] = {key: value for key, value in manifest.items() if key != "data"}
    metadata = manifest["metadata"]
    if (metadata.get("labels") or {}).get("app.kubernetes.io/managed-by") != "troth":
        annotations = dict(metadata.get("annotations") or {})
        annotations.pop(LAST_APPLIED, None)
        shown["metadata"] = {**metadata, "annotations": annotations}
    return json.dumps(shown)
