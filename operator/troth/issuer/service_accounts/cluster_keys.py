"""Reads the keys with which the cluster signs ServiceAccount tokens, from its API server.

The API server serves them also if the issuer of its tokens is elsewhere, such as a cloud's. It
serves none if the issuer is not an https URL, or if RBAC denies the paths.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.cluster.reviews import TIMEOUT, Manifest
from troth.pki.tokens.service_account import ClusterKeys, read_cluster_keys

DISCOVERY, KEY_SET = "/.well-known/openid-configuration", "/openid/v1/jwks"
_MEDIA_TYPES = {DISCOVERY: "application/json", KEY_SET: "application/jwk-set+json"}
REREAD_AFTER = 10.0
"""Minimum number of seconds between two reads. Unknown key IDs cause no more."""
MAX_AGE = 300.0
"""Seconds after which the keys are read again when they are used."""

log = structlog.get_logger()


class DocumentServer(Protocol):
    """API server method that reads documents."""

    def document(self, name: str, path: str, accept: str) -> Awaitable[Manifest]:
        """Return a JSON object; raises `ApiError`."""


class ClusterKeySource:
    """Keeps the cluster's keys, and reads them again when a token names another."""

    def __init__(
        self,
        server: DocumentServer,
        *,
        timeout: float = TIMEOUT,
        uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._timeout = timeout
        self._uptime = uptime
        self._keys: ClusterKeys | None = None
        self._read_at = self._tried_at = float("-inf")
        self._reading = asyncio.Lock()
        self.readable: bool | None = None
        """Whether the last read succeeded; None before the first."""

    async def keys_for(self, kid: str) -> ClusterKeys | None:
        """Return the cluster's keys, None if they cannot be read and `kid` is not among them.

        Without `kid` among the keys, the cluster does not publish it.
        """
        if not self._knows(kid) or self._uptime() >= self._read_at + MAX_AGE:
            await self._read_once()
        return self._keys if self.readable or self._knows(kid) else None

    def _knows(self, kid: str) -> bool:
        return self._keys is not None and kid in self._keys.keys

    async def _read_once(self) -> None:
        """Read the keys, unless that was tried a moment ago."""
        async with self._reading:
            if self._uptime() < self._tried_at + REREAD_AFTER:
                return
            self._tried_at = self._uptime()
            fault: dict[str, object] = {}
            try:
                async with asyncio.timeout(self._timeout):
                    discovery = await self._document(DISCOVERY)
                    self._keys = read_cluster_keys(discovery, await self._document(KEY_SET))
                self._read_at = self._tried_at
            except TimeoutError:
                fault = {"reason": "Timeout", "seconds": self._timeout}
            except ApiError as error:
                fault = logged(error)
            except ValueError as error:
                fault = {"reason": "Malformed", "why": str(error)}
            if fault:
                log.warning("cluster keys unreadable", **fault)
            elif not self.readable:
                log.info("cluster keys read", keys=len(self._keys.keys if self._keys else ()))
            self.readable = not fault

    async def _document(self, path: str) -> Manifest:
        return await self._server.document("openid", path, _MEDIA_TYPES[path])
