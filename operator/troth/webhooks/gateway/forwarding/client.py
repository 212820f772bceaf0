"""To the target: over mutual TLS as the gateway's own identity, whose SPIFFE ID is checked.

`troth.edge` carries it, as it would any service's call: with the gateway's mounted files, to
whom `identity.json` says the gateway may call and to nobody else.
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
"""Seconds that a target has to take a delivery."""
CONNECT_WITHIN = 3.0
"""Seconds for a connection to it, those included that all connections to it are busy."""
_IDLE = 1.5
"""Seconds that a connection is kept unused. Servers end idle ones too, gunicorn after two seconds:
a delivery that crosses with that is lost without anybody knowing whether it was read."""
_MOST_TO_ONE = 64
"""Connections to one target, so that a slow one does not take up what others need."""
_MOST_TARGETS = 4096
_MOST_ANSWER = 64 * 1024
"""Bytes of an answer that are read, and thrown away, to keep its connection."""
_REST_WITHIN = 1.0
"""Seconds for which they are waited for."""

USER_AGENT = "troth-gateway"
_OURS = frozenset({"Accept", "Accept-Encoding", "Content-Type", "User-Agent"})


class TargetUnavailableError(Exception):
    """The target did not take a delivery, or did not say so. `reason` is one word, for the log.

    `may_have_acted` where it may have read the delivery all the same: it was sent, at least in
    part, and no answer came.
    """

    def __init__(self, reason: str, *, may_have_acted: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_have_acted = may_have_acted


@dataclass(frozen=True, slots=True)
class Answer:
    """What the target said; nothing else of its answer goes to the sender, or anywhere."""

    status: int


class Deliver:
    """Delivers to targets. Belongs to the event loop that it is first called in."""

    def __init__(
        self,
        identity: Identity,
        *,
        resolve: Mapping[tuple[str, int], tuple[str, int]] | None = None,
        within: float = WITHIN,
    ) -> None:
        """`resolve` says where hosts and ports are to be found instead of where DNS has them; the
        names that are checked stay the same.
        """
        self.within = within
        self._identity = identity
        self._resolve = dict(resolve or {})
        self._session: aiohttp.ClientSession | None = None
        self._ways: OrderedDict[tuple[str, str, int], Middleware] = OrderedDict()

    async def __call__(
        self, target: Target, body: bytes, headers: Mapping[str, str], token: str
    ) -> Answer:
        """Deliver a body once; raises `TargetUnavailableError`.

        `headers` go with it as they are, and nothing else but what HTTP needs, the token, and who
        we are. It is never sent a second time, whatever becomes of the connection.
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
                limit.reschedule(None)  # it has answered
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
        except ValueError:  # of a host that cannot be one
            raise TargetUnavailableError("misconfigured") from None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _check(self, target: Target) -> None:
        """Raise unless the gateway's own files name this target by this SPIFFE ID.

        The endpoint and the identity are compiled apart, and either may be older. In another trust
        domain a transaction would be taken off on the way, and the target refuse what comes.
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
        """Return what sends to a target as the gateway's identity."""
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
    """Read an answer's body, so that its connection can be used again; its status is all we want,
    and stands even if the rest does not come.
    """
    left = _MOST_ANSWER
    try:
        async with asyncio.timeout(_REST_WITHIN):
            while left > 0 and (part := await response.content.readany()):
                left -= len(part)
    except (aiohttp.ClientError, OSError):  # TimeoutError is one
        response.close()


def _unavailable(error: Exception) -> TargetUnavailableError:
    """Return what an error of aiohttp's means, and whether anything was sent before it.

    Until there is a connection with the right peer at its end nothing is. After that, nobody can
    tell a request that was not read from one whose answer was lost.
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
    """Finds some hosts and ports where a table says, and the others by DNS."""

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
