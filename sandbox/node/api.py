"""A minimal client of the API server, with the operations that a node needs."""

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

Manifest = Mapping[str, Any]

RETRY_SECONDS = 0.2
MERGE = "application/merge-patch+json"
OK, CREATED = 200, 201
NOT_FOUND, CONFLICT, GONE, SERVER_ERROR = 404, 409, 410, 500


class Change(StrEnum):
    """Type of a change to an object."""

    SEEN = "seen"
    DELETED = "deleted"


class ApiError(Exception):
    """The API server rejected a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """A connection to the API server that reads and writes objects as plain mappings."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    @classmethod
    def of(cls, kubeconfig: Path) -> Self:
        """Connect as the user of a self-contained kubeconfig; needs a running event loop.

        The user has a certificate or a token.
        """
        content = yaml.safe_load(kubeconfig.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        authority = cluster.get("certificate-authority-data")  # without one, the system's
        context = ssl.create_default_context(cadata=_decoded(authority) if authority else None)
        if "client-certificate-data" in user:
            _present(context, user, kubeconfig.parent)
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else None
        connector = aiohttp.TCPConnector(ssl=context, limit=64)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        session = aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers)
        return cls(session, cluster["server"])

    async def get(self, path: str) -> Manifest:
        """Return an object or a list."""
        return await self._ask("GET", path)

    async def create(self, path: str, manifest: Manifest) -> Manifest:
        """Create an object in the collection at `path`."""
        return await self._ask("POST", path, manifest)

    async def merge(self, path: str, patch: Manifest) -> Manifest:
        """Merge a patch into an object, or into its status."""
        return await self._ask("PATCH", path, patch)

    async def delete(self, path: str, options: Manifest | None = None) -> None:
        """Delete an object; succeeds if it does not exist."""
        try:
            await self._ask("DELETE", path, options)
        except ApiError as error:
            if error.status not in (NOT_FOUND, CONFLICT):
                raise

    async def follow(
        self, path: str, *, fields: str = ""
    ) -> AsyncIterator[tuple[Change, Manifest]]:
        """Yield every object at `path`, then every change, until cancelled.

        `fields` is a field selector.

        After a broken connection or an expired version, list again, and yield objects that have
        disappeared meanwhile as deleted.
        """
        known: dict[str, Manifest] = {}
        while True:
            try:
                async for change, manifest in self._once(path, fields, known):
                    yield change, manifest
            except (aiohttp.ClientError, ApiError, OSError) as error:
                print(f"following {path}: {error!r}", flush=True)
            await asyncio.sleep(RETRY_SECONDS)

    async def _once(
        self, path: str, fields: str, known: dict[str, Manifest]
    ) -> AsyncIterator[tuple[Change, Manifest]]:
        selector = {"fieldSelector": fields} if fields else {}
        listed = await self._ask("GET", path, query=selector)
        present = {item["metadata"]["uid"]: item for item in listed["items"]}
        for uid in known.keys() - present.keys():
            yield Change.DELETED, known.pop(uid)
        for uid, item in present.items():
            known[uid] = item
            yield Change.SEEN, item
        since = listed["metadata"]["resourceVersion"]
        query = {"watch": "1", "resourceVersion": since, "allowWatchBookmarks": "true"}
        async with self._session.get(self._server + path, params=selector | query) as response:
            if response.status != OK:
                raise ApiError(response.status, await response.text())
            try:
                async for event in _lines(response.content):
                    manifest = event["object"]
                    match event["type"]:
                        case "ADDED" | "MODIFIED":
                            known[manifest["metadata"]["uid"]] = manifest
                            yield Change.SEEN, manifest
                        case "DELETED":
                            known.pop(manifest["metadata"]["uid"], None)
                            yield Change.DELETED, manifest
                        case "ERROR":
                            raise ApiError(manifest.get("code", GONE), manifest.get("message", ""))
            finally:
                # Closing a stream that has not ended would wait for the server, also beyond the end
                # of the event loop.
                if response.connection is not None and response.connection.transport is not None:
                    response.connection.transport.abort()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()
        await asyncio.sleep(0)  # a transport ends in the loop's next cycle

    async def _ask(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Manifest:
        kind = MERGE if method == "PATCH" else "application/json"
        async with self._session.request(
            method,
            self._server + path,
            params=query,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": kind},
        ) as response:
            if response.status not in (OK, CREATED):
                raise ApiError(response.status, await response.text())
            answer: dict[str, Any] = await response.json()
            return answer


def _present(context: ssl.SSLContext, user: Mapping[str, str], parent: Path) -> None:
    """Have a context present the certificate of a kubeconfig's user."""
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        pair = Path(directory, "pair.pem")  # OpenSSL reads keys only from files
        pair.touch(mode=0o600)
        parts = (user["client-certificate-data"], user["client-key-data"])
        pair.write_text("\n".join(map(_decoded, parts)))
        context.load_cert_chain(pair)


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[Manifest]:
    """Yield the JSON objects of a watch; an object may be longer than a buffer."""
    pending = b""
    async for chunk in stream.iter_any():
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)


def path_of(manifest: Manifest, plural: str) -> str:
    """Return the path of an object of the core group."""
    metadata = manifest["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"


async def insist(ask: Callable[[], Awaitable[object]]) -> None:
    """Repeat a request until the API server answers, even with an error: it may be restarting."""
    while True:
        try:
            await ask()
        except ApiError as error:
            if error.status < SERVER_ERROR:  # the object is gone, or has been replaced
                return
            print(f"the API server answered {error}", flush=True)
        except (aiohttp.ClientError, OSError):
            pass
        else:
            return
        await asyncio.sleep(RETRY_SECONDS)
