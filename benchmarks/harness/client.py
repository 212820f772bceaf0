"""A minimal client of the API server: the floor with which Troth is compared."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import aiohttp
import yaml

from benchmarks.fleet.topology import Manifest

APPLY, MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
CREATE, REPLACE = "POST", "PUT"
IGNORE, WARN = "Ignore", "Warn"
CONNECTIONS = 8
PAGE = 500
DELETED_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Write:
    """One write: its path, body and kind: a PATCH, `APPLY` or `MERGE`, or `CREATE` or `REPLACE`."""

    path: str
    body: Manifest
    kind: str = APPLY
    validation: str = IGNORE
    """Whether the API server reports unknown fields, `IGNORE` or `WARN`. A person's client asks for
    it, and the API server parses a patch twice for it."""


class Bare:
    """One session that sends JSON and does no other work."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: Path) -> AsyncIterator[Self]:
        """Connect as the user of a kubeconfig."""
        context, server = credentials(kubeconfig)
        # as many for the declaring client as for the following operator
        connector = aiohttp.TCPConnector(ssl=context, limit=2 * CONNECTIONS)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield cls(session, server)

    async def send(self, writes: Iterable[Write]) -> None:
        """Send writes, one at a time on each connection.

        Raises `aiohttp.ClientResponseError` for a rejected write.
        """
        waiting = iter(writes)

        async def sender() -> None:
            for write in waiting:
                await self.write(write)

        await asyncio.gather(*(sender() for _ in range(CONNECTIONS)))

    async def get(self, path: str) -> Manifest:
        """Return the object at a path."""
        async with self._session.get(f"{self._server}{path}") as answer:
            answer.raise_for_status()
            manifest: Manifest = json.loads(await answer.read())
            return manifest

    async def items(self, path: str) -> list[Manifest]:
        """Return all objects at a path, listed in pages."""
        found: list[Manifest] = []
        token = ""
        while True:
            page = await self.get(f"{path}?limit={PAGE}&continue={token}")
            found += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return found

    async def delete_all(self, path: str) -> None:
        """Delete all objects at a path, and wait until they are gone."""
        async with self._session.delete(f"{self._server}{path}") as answer:
            await answer.read()
            answer.raise_for_status()
        while await self.items(path):  # noqa: ASYNC110 - the API server has no event to wait for
            await asyncio.sleep(DELETED_SECONDS)

    async def write(self, write: Write) -> None:
        """Send one write; raises `aiohttp.ClientResponseError` if it is rejected."""
        force = "&force=true" if write.kind == APPLY else ""
        patch = write.kind in (APPLY, MERGE)
        async with self._session.request(
            "PATCH" if patch else write.kind,
            f"{self._server}{write.path}?fieldManager=bench"
            f"&fieldValidation={write.validation}{force}",
            data=json.dumps(write.body),
            headers={"Content-Type": write.kind if patch else "application/json"},
        ) as answer:
            await answer.read()
            answer.raise_for_status()


def credentials(kubeconfig: Path) -> tuple[ssl.SSLContext, str]:
    """Return a kubeconfig's client certificate and roots as a TLS context, and the server's URL."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
    )
    both = kubeconfig.parent / "bench-client.pem"
    both.touch(mode=0o600)
    parts = (user["client-certificate-data"], user["client-key-data"])
    both.write_bytes(b"\n".join(base64.b64decode(part) for part in parts))
    context.load_cert_chain(both)
    return context, cluster["server"]
