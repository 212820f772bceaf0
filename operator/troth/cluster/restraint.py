"""When a request is not sent: the API server wants to be spared, or the lease has run out."""

import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace

import aiohttp

LONGEST = 60.0
"""Seconds after which a server is asked again whatever it said: no backoff is longer."""
LEASES = "/apis/coordination.k8s.io/"

Refusal = tuple[int, str, str]
"""The status, the reason and the message of an error."""


class Spared:
    """The resources that the API server, with `Retry-After`, asked to be left alone with.

    One such answer counts for all that is asked of that resource, or each of a thousand keys would
    have to be refused once to know. It does not count for others: a server without room for
    Secrets may have some for policies, and the lease must not be lost to either.
    """

    def __init__(self) -> None:
        self._until: dict[str, tuple[float, Refusal]] = {}

    def refusal(self, resource: str) -> Refusal | None:
        """Return what the server would answer again, None where it may be asked."""
        until, refusal = self._until.get(resource, (0.0, None))
        return refusal if until > time.monotonic() else None

    def heed(self, resource: str, headers: Mapping[str, str] | None, refusal: Refusal) -> None:
        """Take in a refusal. Its headers give seconds, as every API server's do."""
        seconds = (headers or {}).get("Retry-After", "")
        if seconds.isdecimal():
            self._until[resource] = time.monotonic() + min(int(seconds), LONGEST), refusal


class Fence:
    """Looks once more, just before a body is sent, whether writing is allowed.

    A process that is frozen and woken goes on in the middle of what it did: with requests that are
    begun, and before any of its timers fires. The lease itself is written all the same.
    """

    def __init__(self) -> None:
        self.may_write: Callable[[], bool] = lambda: True

    def tracing(self) -> aiohttp.TraceConfig:
        """Return what has a client session look."""
        tracing = aiohttp.TraceConfig()
        tracing.on_request_chunk_sent.append(self._look)
        return tracing

    async def _look(
        self,
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        body: aiohttp.TraceRequestChunkSentParams,
    ) -> None:
        """Refuse to go on; called before the chunk is sent, whatever its name says."""
        if not self.may_write() and LEASES not in body.url.path:
            raise ConnectionAbortedError("the lease has expired")
