"""The sessions with the API server: TLS and authentication are the library's, requests are not.

The way of a request through the library takes as much processor time as aiohttp's part of it.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import aiohttp

from troth.cluster.connection.library import Configuration, RESTClientObject

USER_AGENT = "troth"
"""As the API server's audit log names this client, beside its user."""


class Pool(StrEnum):
    """Connections that serve one purpose, so that other purposes cannot use them up.

    A watch holds a connection until it ends, so `WATCHES` has as many as there are watches. The
    Lease must be renewed however many other requests wait.
    """

    REQUESTS = "requests"
    WATCHES = "watches"
    LEASE = "lease"


def pool_of(verb: str, resource: str) -> Pool:
    """Return the pool of a request."""
    if verb == "watch":
        return Pool.WATCHES
    return Pool.LEASE if resource == "leases" else Pool.REQUESTS


LEASE_CONNECTIONS = 4
"""Maximum number of connections for a Lease. One is in use, and a request that hangs keeps one."""
_UNLIMITED = 0
"""aiohttp's limit of a connector without a limit."""


class Connection:
    """Sessions with one API server. Each connects with its first request."""

    def __init__(self, config: Configuration) -> None:
        self._config = config
        self._rest = RESTClientObject(config)
        self._limits = {
            Pool.REQUESTS: config.connection_pool_maxsize,
            Pool.WATCHES: _UNLIMITED,
            Pool.LEASE: LEASE_CONNECTIONS,
        }
        self._sessions: dict[Pool, aiohttp.ClientSession] = {}
        options = {
            "server_hostname": config.tls_server_name,
            "proxy": config.proxy,
            "proxy_headers": config.proxy_headers,
        }
        self._options: dict[str, Any] = {name: value for name, value in options.items() if value}

    def _session(self, pool: Pool) -> aiohttp.ClientSession:
        """Return the session whose connections all requests of a pool share."""
        session = self._sessions.get(pool)
        if session is None:  # aiohttp makes one only while an event loop runs
            self._rest.maxsize = self._limits[pool]
            session = self._rest._create_pool_manager()  # noqa: SLF001 - as the library does
            self._sessions[pool] = session
        return session

    async def close(self) -> None:
        """Close all connections."""
        for session in self._sessions.values():
            await session.close()
        await self._rest.close()

    async def _headers(self) -> dict[str, str]:
        """Return the headers of each request. The token, if any, is read again when it is due."""
        token = await self._config.get_api_key_with_prefix("BearerToken", alias="authorization")
        return {"User-Agent": USER_AGENT, **({"Authorization": token} if token else {})}

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None],
        headers: Mapping[str, str],
        body: Any,  # noqa: ANN401 - any JSON
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's, which has parts
        pool: Pool = Pool.REQUESTS,
    ) -> aiohttp.ClientResponse:
        """Send a request and return the answer, whose body is still to be read.

        Members of `query` that are None or empty are left out. `body` is sent as JSON, unless it is
        None.
        """
        given = tuple((name, value) for name, value in query.items() if value not in (None, ""))
        return await self._session(pool).request(
            method,
            f"{self._config.host}{path}{_encoded(given)}",
            headers={**await self._headers(), **headers},
            data=None if body is None else json.dumps(body),
            timeout=timeout,
            **self._options,
        )

    async def websocket(self, path: str, **options: Any) -> aiohttp.ClientWebSocketResponse:  # noqa: ANN401
        """Open a WebSocket. `options` are those of aiohttp's `ws_connect`, such as `protocols`."""
        url = urlsplit(f"{self._config.host}{path}")
        scheme = "ws" if url.scheme == "http" else "wss"
        socket: aiohttp.ClientWebSocketResponse = await self._session(Pool.REQUESTS).ws_connect(
            urlunsplit(url._replace(scheme=scheme)),
            headers=await self._headers(),
            **options,
            **self._options,
        )
        return socket


# All writes of a kind have the same one.
@lru_cache(maxsize=64)
def _encoded(query: tuple[tuple[str, str | int], ...]) -> str:
    return f"?{urlencode(query, quote_via=quote)}" if query else ""
