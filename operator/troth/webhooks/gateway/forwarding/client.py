"""Client for targets: mutual TLS as the gateway's own identity, with a check of the target's SPIFFE
ID.

It uses `troth.edge` like any service, with the gateway's mounted files, so it can call only the
callees in the gateway's `identity.json`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from socket import AF_UNSPEC, AddressFamily

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from troth.documents.webhook_endpoint import Target
from troth.edge.identity.files import Identity, IdentityError
from troth.edge.outbound.aiohttp import Middleware
from troth.edge.outbound.calls import Hidden
from troth.edge.outbound.failures import (
    NoIssuerError,
    RedirectRefusedError,
    TokenUnavailableError,
    UnknownCalleeError,
)
from troth.edge.outbound.servers import WrongServerError
from troth.edge.outbound.transactions import TXN_TOKEN
from troth.pki.spiffe import SPIFFEID

WITHIN = 20.0
"""Time in seconds for a target to answer a delivery."""
CONNECT_WITHIN = 3.0
"""Time in seconds to get a connection, including the wait for a free one."""
_IDLE = 1.5
"""Time in seconds for which an idle connection is kept. Servers close idle connections too,
gunicorn after two seconds, and a delivery that is sent at that moment may or may not have been
read.
"""
_MOST_TO_ONE = 64
"""Maximum number of connections to one target, so that a slow one does not affect others."""
_MOST_TARGETS = 4096
_MOST_ANSWER = 64 * 1024
"""Maximum size in bytes of an answer's body that is read and dropped to keep the connection."""
_REST_WITHIN = 1.0
"""Time in seconds to read that body."""

USER_AGENT = "troth-gateway"
_OURS = frozenset({"Accept", "Accept-Encoding", "Content-Type", "User-Agent"})


class TargetUnavailableError(Exception):
    """The target did not accept a delivery, or its answer is missing. `reason` is one word for the
    log.

    `may_have_acted` is True if the target may have read the delivery: at least a part was sent, and
    no answer came.
    """

    def __init__(self, reason: str, *, may_have_acted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_have_acted = may_have_acted


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of the target. Only its status is used."""

    status: int


class TargetClient:
    """Sends deliveries to targets. It belongs to the event loop that uses it first."""

    def __init__(
        self,
        identity: Identity,
        *,
        resolve: Mapping[tuple[str, int], tuple[str, int]] | None = None,
        within: float = WITHIN,
    ) -> None:
        """`resolve` maps hosts and ports to those to use instead of DNS; checked names stay."""
        self.within = within
        self._identity = identity
        self._resolve = dict(resolve or {})
        self._session: aiohttp.ClientSession | None = None
        self._ways: OrderedDict[tuple[str, str, int], Middleware] = OrderedDict()

    async def __call__(
        self, target: Target, body: bytes, headers: Mapping[str, str], token: str
    ) -> Answer:
        """Send a delivery exactly once; raises `TargetUnavailableError`.

        The request has only these `headers`, the token, a User-Agent, and what HTTP needs. It is
        never sent again, whatever happens to the connection.
        """
        self._check(target)
        url = URL(f"https://{target.host}:{target.port}{target.path}", encoded=True)
        sent = {**headers, "User-Agent": USER_AGENT, TXN_TOKEN: Hidden(token)}
        try:
            async with (
                asyncio.timeout(self.within) as limit,
                self._sessions().post(
                    url,
                    data=body,
                    headers=sent,
                    skip_auto_headers=_OURS,
                    allow_redirects=False,
                    middlewares=(self._way(target),),
                ) as response,
            ):
                limit.reschedule(None)  # the answer is there
                await _read_away(response)
                return Answer(response.status)
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
            raise _unavailable(error) from None
        except (IdentityError, UnknownCalleeError):
            raise TargetUnavailableError("no-identity") from None
        except (NoIssuerError, TokenUnavailableError):
            raise TargetUnavailableError("no-token") from None
        except RedirectRefusedError:
            raise TargetUnavailableError("redirect") from None
        except ValueError:  # an invalid host
            raise TargetUnavailableError("misconfigured") from None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _check(self, target: Target) -> None:
        """Raise an error unless the gateway's own files name this target with this SPIFFE ID.

        Endpoint and identity are written separately, and either may be older. A callee in another
        trust domain would not get the transaction token, and would reject the request.
        """
        try:
            snapshot = self._identity.current
        except IdentityError:
            raise TargetUnavailableError("no-identity") from None
        found = (each for each in snapshot.document.calls if each.name == target.callee)
        called = next(found, None)
        if called is None or called.spiffe_id != target.spiffe_id:
            raise TargetUnavailableError("not-called")
        if SPIFFEID.parse(target.spiffe_id).trust_domain != snapshot.trust_domain:
            raise TargetUnavailableError("foreign")

    def _way(self, target: Target) -> Middleware:
        """Return the middleware that sends to a target with the gateway's identity."""
        key = target.callee, target.host, target.port
        way = self._ways.get(key)
        if way is None:
            origin = f"https://{target.host}:{target.port}"
            way = self._ways[key] = Middleware(self._identity, {origin: target.callee})
            if len(self._ways) > _MOST_TARGETS:
                self._ways.popitem(last=False)
        return way

    def _sessions(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    limit_per_host=_MOST_TO_ONE,
                    keepalive_timeout=_IDLE,
                    resolver=_Resolver(self._resolve) if self._resolve else None,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_WITHIN),
                auto_decompress=False,
            )
        return self._session


async def _read_away(response: aiohttp.ClientResponse) -> None:
    """Read an answer's body so that its connection can be reused; failures do not matter."""
    left = _MOST_ANSWER
    try:
        async with asyncio.timeout(_REST_WITHIN):
            while left > 0 and (part := await response.content.readany()):
                left -= len(part)
    except (aiohttp.ClientError, OSError):  # TimeoutError is one
        response.close()


def _unavailable(error: Exception) -> TargetUnavailableError:
    """Return the error for one of aiohttp's, and whether anything may have been sent before it.

    Before there is a verified connection nothing was sent. After that, a request that was not read
    cannot be distinguished from one whose answer was lost.
    """
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        wrong = isinstance(error.certificate_error, WrongServerError)
        return TargetUnavailableError("another-identity" if wrong else "not-trusted")
    if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
        return TargetUnavailableError("unreachable")
    if isinstance(error, TimeoutError):
        return TargetUnavailableError("too-slow", may_have_acted=True)
    return TargetUnavailableError("answer-lost", may_have_acted=True)


class _Resolver(AbstractResolver):
    """Resolves some hosts and ports from a table, all others with DNS."""

    def __init__(self, table: Mapping[tuple[str, int], tuple[str, int]]) -> None:
        self._table = table
        self._others = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily = AF_UNSPEC
    ) -> list[ResolveResult]:
        found = self._table.get((host, port))
        if found is None:
            return await self._others.resolve(host, port, family)
        results = await self._others.resolve(found[0], found[1], family)
        return [{**each, "hostname": host} for each in results]

    async def close(self) -> None:
        await self._others.close()
