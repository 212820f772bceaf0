"""Requests that are not sent, because the API server is overloaded or the lease has expired."""

import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import aiohttp

from troth.cluster.errors import ApiError

LONGEST = 60.0
"""Maximum time in seconds to respect a `Retry-After`; no backoff is longer."""
LEASES = "/apis/coordination.k8s.io/"

Refusal = tuple[int, str, str]
"""Status, reason and message of an error."""


class ThrottledResources:
    """Resources for which the API server has sent `Retry-After`.

    One such answer applies to all requests for the resource; otherwise each of a thousand keys
    would need its own. It does not apply to other resources: a server without room for Secrets may
    have room for NetworkPolicies, and neither may cost the lease.
    """

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, Refusal]] = {}

    def check(self, resource: str) -> None:
        """Raise the server's last error for a resource while requests are not allowed."""
        until, refusal = self._until.get(resource, (0.0, None))
        if refusal is not None and until > time.monotonic():
            raise ApiError(*refusal)

    def heed(self, resource: str, headers: Mapping[str, str], said: ApiError) -> None:
        """Store an error if its headers have a `Retry-After`, in seconds as API servers send it."""
        seconds = headers.get("Retry-After", "")
        if seconds.isdecimal():
            refusal = said.status, said.reason, said.message
            self._until[resource] = time.monotonic() + min(int(seconds), LONGEST), refusal


class WriteFence:
    """Checks whether writes are allowed, again just before a body is sent.

    A process that was frozen continues in the middle of its requests, before any of its timers
    fires. Writes of the lease itself are always allowed.
    """

    def __init__(self) -> None:
        self.may_write: Callable[[], bool] = lambda: True

    def tracing(self) -> aiohttp.TraceConfig:
        """Return the trace configuration that makes a client session run the check."""
        tracing = aiohttp.TraceConfig()
        tracing.on_request_chunk_sent.append(self._look)
        return tracing

    async def _look(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        body: aiohttp.TraceRequestChunkSentParams,
    ) -> None:
        """Raise an error if writes are not allowed; called before the chunk is sent."""
        if not self.may_write() and LEASES not in body.url.path:
            raise ConnectionAbortedError("the lease has expired")
