"""Calls with aiohttp: a client middleware.

    middleware = Middleware(identity, {"https://ledger.finance.svc:8443": "finance/ledger"})
    async with aiohttp.ClientSession(middlewares=[middleware]) as session:
        await session.post("https://ledger.finance.svc:8443/entries", json=...)

A session's pool separates connections by their TLS context. So one session holds connections with
several certificates, and those with an old one are closed when idle. aiohttp makes a new request
for each redirect, which passes through the middleware again without any credential of the previous
one.
"""

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from ssl import SSLContext

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.payload import BytesPayload

from troth.edge.identity.files import Identity
from troth.edge.outbound.calls import Calls
from troth.edge.outbound.driving import ANSWER_SECONDS, CONNECT_SECONDS, Async
from troth.edge.outbound.exchange import MAX_ANSWER, Answer
from troth.edge.outbound.failures import RedirectRefusedError
from troth.edge.outbound.flows import Post, Ready, no_answer
from troth.edge.outbound.transactions import TXN_TOKEN

_TIMEOUT = aiohttp.ClientTimeout(total=ANSWER_SECONDS, sock_connect=CONNECT_SECONDS)


class Middleware:
    """Sends requests to callees as this identity, and leaves all other requests unchanged.

    `callees` and `account_token` are those of `calls.Calls`; `start_transaction` and
    `narrow_transaction` are those of `driving.Async`. Raises the errors in `failures` besides
    aiohttp's. Put it last among a session's middlewares, so that it sees each request as sent.
    """

    def __init__(
        self,
        identity: Identity,
        callees: Mapping[str, str],
        *,
        account_token: Path | None = None,
    ) -> None:
        self._calls = Calls(identity, callees, _context, account_token)
        self._driver = Async(self._calls, post_to_issuer, _close)
        self.start_transaction = self._driver.start_transaction
        self.narrow_transaction = self._driver.narrow_transaction

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send one request."""
        url = request.url
        callee = self._calls.callee_at(url.scheme, url.raw_host or "", url.port)
        if callee is None:
            request.headers.popall(TXN_TOKEN, None)
            return await handler(request)
        ready = await self._driver.begin(callee)
        try:
            _connect_with(request, self._driver.connection(ready))
            response = await handler(_with_headers(request, ready))
            challenges = _challenges(request, response)
            again = await self._driver.again(ready, challenges) if challenges else None
            if again is not None:
                response.release()
                response = await handler(_with_headers(request, again))
            self._check_redirect(callee, response)
            return response
        finally:
            # The session's pool keeps the connection, because the body may be read after this.
            await self._driver.end(ready)

    def _check_redirect(self, callee: str, response: ClientResponse) -> None:
        # aiohttp also follows a redirect in `URI`
        location = response.headers.get("Location") or response.headers.get("URI")
        try:
            self._calls.check_redirect(callee, str(response.url), response.status, location)
        except RedirectRefusedError:
            response.close()
            raise


def _connect_with(request: ClientRequest, context: SSLContext) -> None:
    """Make aiohttp send a request on a connection of this context and no other.

    aiohttp takes the context from the call that makes the request and has no public way to set it.
    So this uses a private attribute and checks the result: a request that kept the session's own
    context would trust other roots.
    """
    request._ssl = context  # noqa: SLF001 - see above
    if request.ssl is not context or request.connection_key.ssl is not context:
        raise RuntimeError(
            "this version of aiohttp ignores a request's TLS context, so it cannot be used"
        )


def _with_headers(request: ClientRequest, ready: Ready[SSLContext]) -> ClientRequest:
    headers = ready.call.headers(request.headers.get, ready.token)
    request.headers.popall(TXN_TOKEN, None)
    request.headers.update(headers)
    return request


def _challenges(request: ClientRequest, response: ClientResponse) -> list[str]:
    """Return the challenges of a 401, [] if the request cannot be sent again."""
    again = isinstance(request.body, (bytes, BytesPayload))
    if response.status != HTTPStatus.UNAUTHORIZED or not again:
        return []
    return response.headers.getall("WWW-Authenticate", [])


def _context(context: SSLContext) -> SSLContext:
    return context


async def _close(_: SSLContext) -> None:
    """Do nothing: the session closes the connections."""


# For requests to the issuer: a session for each fetch, because fetches are minutes apart


async def post_to_issuer(step: Post) -> Answer:
    """Send a request to the issuer; raises `ExchangeFailedError`."""
    ask = step.ask
    connector = aiohttp.TCPConnector(ssl=step.context)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=_TIMEOUT, auto_decompress=False
            ) as session,
            session.post(
                ask.url, data=ask.body, headers=ask.headers, allow_redirects=False
            ) as response,
        ):
            body = b""
            while len(body) <= MAX_ANSWER and (part := await response.content.readany()):
                body += part
    except (aiohttp.ClientError, TimeoutError) as error:
        raise no_answer(error) from None
    return Answer.of(response.status, response.headers, body)
