"""A simulated node for pods: mounts, and name resolution.

It writes Secrets and ConfigMaps into mounts as a kubelet does: all files of one at once, some time
after the API server has reported the change.
"""

import asyncio
import base64
import socket
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any, Self

import pytest

from tests.cluster.person import Manifest, until
from tests.cluster.witness import Sight, Witness
from tests.edge.mounts import Mount
from troth.edge.identity.files import Identity
from troth.planning.owned_objects import secret_ref
from troth.resources.references import Ref

BUNDLE = "trust-bundle"
Place = tuple[str, Ref]


class Node:
    """Keeps mounts. Use it as an async context manager, before the mounted objects exist."""

    def __init__(self, kubeconfig: Path, directory: Path, *namespaces: str) -> None:
        self.lag = 0.0
        """Seconds from a change in the API server to the mount."""
        self._directory = directory
        self._witnesses = [
            Witness(kubeconfig, kind, namespace)
            for namespace in namespaces
            for kind in ("Secret", "ConfigMap")
        ]
        self._numbers = count()
        self._stack = AsyncExitStack()
        self._latest: dict[Place, Manifest] = {}
        self._mounts: dict[Place, list[Mount]] = defaultdict(list)

    async def __aenter__(self) -> Self:
        for witness in self._witnesses:
            await self._stack.enter_async_context(witness)
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._keeping.cancel()
        await asyncio.wait({self._keeping})
        await self._stack.aclose()
        if not self._keeping.cancelled():
            self._keeping.result()

    async def identity(self, ref: Ref) -> Identity:
        """Start a pod of an identity; return its mounts as it reads them.

        As a pod does, it waits until the mounted objects exist.
        """
        own = await self.mount("Secret", secret_ref(ref))
        bundle = await self.mount("ConfigMap", Ref(ref.namespace, BUNDLE))
        return Identity(own, bundle)

    async def mount(self, kind: str, ref: Ref) -> Path:
        """Mount an object for one pod once it exists; return the mount's path."""

        async def there() -> bool:
            return (kind, ref) in self._latest

        await until(there, bool)
        mount = Mount(self._directory / f"{next(self._numbers)}-{ref.name}")
        mount.write(_files(self._latest[kind, ref]))
        self._mounts[kind, ref].append(mount)
        return mount.path

    def states(self, kind: str, ref: Ref) -> list[Sight]:
        """Return every state of an object that the API server reported."""
        return [
            sight
            for witness in self._witnesses
            for sight in witness.seen
            if (sight.manifest["kind"], Ref.of(sight.manifest)) == (kind, ref)
        ]

    async def _keep(self) -> None:
        heard = [0] * len(self._witnesses)
        while True:
            for number, witness in enumerate(self._witnesses):
                while len(witness.seen) > heard[number]:
                    sight = witness.seen[heard[number]]
                    if time.monotonic() < sight.at + self.lag:
                        break
                    heard[number] += 1
                    self._take(sight)
            await asyncio.sleep(0.02)

    def _take(self, sight: Sight) -> None:
        if sight.type == "DELETED":  # mounted files stay
            return
        place = sight.manifest["kind"], Ref.of(sight.manifest)
        files = _files(sight.manifest)
        if place[0] == "Secret" and "tls.crt" not in files:
            return
        before = self._latest.get(place)
        self._latest[place] = sight.manifest
        if before is None or _files(before) != files:
            for mount in self._mounts[place]:
                mount.write(files)


def _files(manifest: Manifest) -> dict[str, bytes]:
    data = manifest.get("data") or {}
    if manifest["kind"] == "Secret":
        return {name: base64.b64decode(text) for name, text in data.items()}
    return {name: text.encode() for name, text in data.items()}


def know_names(monkeypatch: pytest.MonkeyPatch, names: Mapping[str, str]) -> None:
    """Let this process resolve names as the cluster's resolver and Services would."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return look_up(names.get(name, host), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
