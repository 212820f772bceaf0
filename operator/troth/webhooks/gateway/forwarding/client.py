"""Client for targets: mutual TLS as the gateway's own identity, with a check of the target's SPIFFE
ID.

It uses `troth.edge` like any service, with the gateway's mounted files, so it can call only the
callees in the gateway's `identity.json`.
"""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from troth.documents.webhook_endpoint import Target
from troth.edge.identity.files import Identity, IdentityError
from troth.edge.identity.snapshot import Snapshot
from troth.edge.outbound.aiohttp import post_to_issuer
from troth.edge.outbound.calls import Calls
from troth.edge.outbound.driving import Async
from troth.edge.outbound.failures import (
    NoIssuerError,
    RedirectRefusedError,
    TokenUnavailableError,
    UnknownCalleeError,
)
from troth.edge.outbound.flows import Ready
from troth.edge.outbound.servers import WrongServerError
from troth.edge.outbound.transactions import TXN_TOKEN
from troth.pki.spiffe import trust_domain_of
from troth.webhooks.gateway.forwarding.addresses import Addresses
from troth.webhooks.gateway.forwarding.connection import Head, NoAnswerError
from troth.webhooks.gateway.forwarding.pool import MOST_TO_ONE, Pool

WITHIN = 20.0
"""Time in seconds for a target to answer a delivery."""
_MOST_TARGETS = 4096
_HTTPS = 443

USER_AGENT = "troth-gateway"


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


@dataclass(slots=True)
class _Way:
    """The connections to a target by generation, and the files that were found to name it."""

    calls: Calls[Pool]
    driver: Async[Pool]
    checked: tuple[Snapshot, str] | None = None


class TargetClient:
    """Sends deliveries to targets. It belongs to the event loop that uses it first."""

    def __init__(
        self,
        identity: Identity,
        *,
        resolve: Mapping[tuple[str, int], tuple[str, int]] | None = None,
        within: float = WITHIN,
        most_to_one: int = MOST_TO_ONE,
    ) -> None:
        """`resolve` maps hosts and ports to those to use instead of DNS; checked names stay."""
        self.within = within
        self._most_to_one = most_to_one
        self._identity = identity
        self._resolve = dict(resolve or {})
        self._addresses = Addresses()
        self._ways: OrderedDict[tuple[str, str, int], _Way] = OrderedDict()

    async def __call__(
        self, target: Target, body: bytes, headers: Mapping[str, str], token: str
    ) -> Answer:
        """Send a delivery once; raises `TargetUnavailableError`.

        The request has only these `headers`, the token, a User-Agent, and what HTTP needs. It is
        sent once more only if the target answers that the access token is invalid, and never
        because of the connection. Nothing is sent after `within`.
        """
        due = asyncio.get_running_loop().time() + self.within
        try:
            way = self._way(target)
            self._check(way, target)
            sent = {**headers, "User-Agent": USER_AGENT, TXN_TOKEN: token}
            return Answer(await _deliver(way, target, sent, body, due))
        except NoAnswerError as error:
            raise TargetUnavailableError(error.reason, may_have_acted=True) from None
        except ssl.SSLCertVerificationError as error:
            wrong = isinstance(error, WrongServerError)
            raise TargetUnavailableError("another-identity" if wrong else "not-trusted") from None
        except OSError:  # TimeoutError is one
            is_late = asyncio.get_running_loop().time() >= due
            raise TargetUnavailableError("too-slow" if is_late else "unreachable") from None
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
        ways = list(self._ways.values())
        self._ways.clear()
        for way in ways:
            await way.driver.close()

    def _check(self, way: _Way, target: Target) -> None:
        """Raise an error unless the gateway's own files name this target with this SPIFFE ID.

        Endpoint and identity are written separately, and either may be older. A callee in another
        trust domain would not get the transaction token, and would reject the request.
        """
        try:
            snapshot = self._identity.current
        except IdentityError:
            raise TargetUnavailableError("no-identity") from None
        checked = way.checked
        if checked is not None and checked[0] is snapshot and checked[1] == target.spiffe_id:
            return
        found = (each for each in snapshot.document.calls if each.name == target.callee)
        called = next(found, None)
        if called is None or called.spiffe_id != target.spiffe_id:
            raise TargetUnavailableError("not-called")
        if trust_domain_of(target.spiffe_id) != snapshot.trust_domain:
            raise TargetUnavailableError("foreign")
        way.checked = snapshot, target.spiffe_id

    def _way(self, target: Target) -> _Way:
        """Return the way to a target, with the gateway's identity."""
        key = target.callee, target.host, target.port
        way = self._ways.get(key)
        if way is None:
            place = target.host, target.port
            address = self._resolve.get(place, place)
            connect = partial(
                Pool,
                host=target.host,
                address=address,
                addresses=self._addresses,
                most=self._most_to_one,
            )
            calls = Calls(self._identity, {_origin(target): target.callee}, connect)
            way = self._ways[key] = _Way(calls, Async(calls, post_to_issuer, _close))
            if len(self._ways) > _MOST_TARGETS:
                self._ways.popitem(last=False)  # its connections end when they are idle
        return way


async def _deliver(
    way: _Way, target: Target, headers: Mapping[str, str], body: bytes, due: float
) -> int:
    """Return the status of the target's answer."""
    ready = await way.driver.begin(target.callee)
    try:
        request = _request(target, ready, headers, body)
        head = await _exchange(way.driver, ready, request, due)
        if head.status == HTTPStatus.UNAUTHORIZED:
            async with asyncio.timeout_at(due):
                again = await way.driver.again(ready, head.values(b"www-authenticate"))
            if again is not None:
                request = _request(target, again, headers, body)
                head = await _exchange(way.driver, again, request, due)
        location = next(iter(head.values(b"location")), None)
        url = f"{_origin(target)}{target.path}"
        way.calls.check_redirect(target.callee, url, head.status, location)
        return head.status
    finally:
        await way.driver.end(ready)


async def _exchange(driver: Async[Pool], ready: Ready[Pool], request: bytes, due: float) -> Head:
    pool = driver.connection(ready)
    connection = await pool.take(due)
    try:
        if asyncio.get_running_loop().time() >= due:  # the claim might lapse before the answer
            raise TimeoutError
        return await connection.exchange(request, due)
    finally:
        await pool.give_back(connection)


def _request(target: Target, ready: Ready[Pool], headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a request; raises `ValueError` for a header that is not one line of ASCII."""
    host = target.host if target.port == _HTTPS else f"{target.host}:{target.port}"
    sent = {**headers, **ready.call.headers(headers.get, ready.token)}
    lines = [
        f"POST {target.path} HTTP/1.1",
        f"Host: {host}",
        *[f"{name}: {value}" for name, value in sent.items()],
        f"Content-Length: {len(body)}",
        "\r\n",
    ]
    head = "\r\n".join(lines).encode("ascii")
    if not head.count(b"\r") == head.count(b"\n") == len(lines):
        raise ValueError("a header has a line break")
    return head + body


def _origin(target: Target) -> str:
    return f"https://{target.host}:{target.port}"


async def _close(pool: Pool) -> None:
    pool.close()
