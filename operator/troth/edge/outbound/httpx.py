"""Calls with httpx: a transport, for `httpx.Client` and for `httpx.AsyncClient`.

    transport = Transport(identity, {"https://ledger.finance.svc:8443": "finance/ledger"})
    with httpx.Client(transport=transport) as client:
        client.post("https://ledger.finance.svc:8443/entries", json=...)

This is a transport and no `httpx.Auth`, because an `Auth` does not choose the connection, and a
token may only be sent on a connection with its certificate. Credentials are added to a copy of the
request, so a redirect does not carry them elsewhere.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from ssl import SSLContext

import httpx

from troth.edge.identity.files import Identity
from troth.edge.outbound.calls import Calls
from troth.edge.outbound.driving import ANSWER_SECONDS, CONNECT_SECONDS, Async, Blocking
from troth.edge.outbound.exchange import MAX_ANSWER, Answer
from troth.edge.outbound.failures import RedirectRefusedError
from troth.edge.outbound.flows import Post, Ready, no_answer
from troth.edge.outbound.transactions import TXN_TOKEN

_TIMEOUT = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)


class Transport(httpx.BaseTransport):
    """Sends requests to callees as this identity, and all other requests with `otherwise`.

    `callees` and `account_token` are those of `calls.Calls`; `otherwise` defaults to httpx's own
    transport. `start_transaction` and `narrow_transaction` are those of `driving.Blocking`. Raises
    the errors in `failures` besides httpx's.
    """

    def __init__(
        self,
        identity: Identity,
        callees: Mapping[str, str],
        *,
        account_token: Path | None = None,
        otherwise: httpx.BaseTransport | None = None,
    ) -> None:
        self._calls = Calls(identity, callees, _blocking, account_token)
        self._driver = Blocking(self._calls, _post, httpx.HTTPTransport.close)
        self._otherwise = otherwise
        self.start_transaction = self._driver.start_transaction
        self.narrow_transaction = self._driver.narrow_transaction

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        callee = _callee(self._calls, request)
        if callee is None:
            self._otherwise = self._otherwise or httpx.HTTPTransport()
            return self._otherwise.handle_request(_copy(request, {}))
        ready = self._driver.begin(callee)
        try:
            response = self._send(ready, request)
            challenges = _challenges(request, response)
            again = self._driver.again(ready, challenges) if challenges else None
            if again is not None:
                response.close()
                response = self._send(again, request)
            self._check_redirect(callee, request, response)
        except BaseException:
            self._driver.end(ready)
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)
        stream = _Stream(response.stream, lambda: self._driver.end(ready))
        return _response(response, stream)

    def close(self) -> None:
        """Close all connections."""
        self._driver.close()
        if self._otherwise is not None:
            self._otherwise.close()

    def _check_redirect(
        self, callee: str, request: httpx.Request, response: httpx.Response
    ) -> None:
        try:
            self._calls.check_redirect(callee, *_redirect(request, response))
        except RedirectRefusedError:
            response.close()
            raise

    def _send(self, ready: Ready[httpx.HTTPTransport], request: httpx.Request) -> httpx.Response:
        headers = ready.call.headers(request.headers.get, ready.token)
        return self._driver.connection(ready).handle_request(_copy(request, headers))


class AsyncTransport(httpx.AsyncBaseTransport):
    """`Transport` for `httpx.AsyncClient` on asyncio."""

    def __init__(
        self,
        identity: Identity,
        callees: Mapping[str, str],
        *,
        account_token: Path | None = None,
        otherwise: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._calls = Calls(identity, callees, _async, account_token)
        self._driver = Async(self._calls, _post_async, httpx.AsyncHTTPTransport.aclose)
        self._otherwise = otherwise
        self.start_transaction = self._driver.start_transaction
        self.narrow_transaction = self._driver.narrow_transaction

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request."""
        callee = _callee(self._calls, request)
        if callee is None:
            self._otherwise = self._otherwise or httpx.AsyncHTTPTransport()
            return await self._otherwise.handle_async_request(_copy(request, {}))
        ready = await self._driver.begin(callee)
        try:
            response = await self._send(ready, request)
            challenges = _challenges(request, response)
            again = await self._driver.again(ready, challenges) if challenges else None
            if again is not None:
                await response.aclose()
                response = await self._send(again, request)
            await self._check_redirect(callee, request, response)
        except BaseException:
            await self._driver.end(ready)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        stream = _AsyncStream(response.stream, lambda: self._driver.end(ready))
        return _response(response, stream)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._driver.close()
        if self._otherwise is not None:
            await self._otherwise.aclose()

    async def _check_redirect(
        self, callee: str, request: httpx.Request, response: httpx.Response
    ) -> None:
        try:
            self._calls.check_redirect(callee, *_redirect(request, response))
        except RedirectRefusedError:
            await response.aclose()
            raise

    async def _send(
        self, ready: Ready[httpx.AsyncHTTPTransport], request: httpx.Request
    ) -> httpx.Response:
        headers = ready.call.headers(request.headers.get, ready.token)
        connection = self._driver.connection(ready)
        return await connection.handle_async_request(_copy(request, headers))


class _Stream(httpx.SyncByteStream):
    """Body of a response, with a callback at its end."""

    def __init__(self, stream: httpx.SyncByteStream, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended: Callable[[], None] | None = ended

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    def close(self) -> None:
        ended, self._ended = self._ended, None
        try:
            self._stream.close()
        finally:
            if ended is not None:
                ended()


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream, ended: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._ended: Callable[[], Awaitable[None]] | None = ended

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        ended, self._ended = self._ended, None
        try:
            await self._stream.aclose()
        finally:
            if ended is not None:
                await ended()


def _callee(
    calls: Calls[httpx.HTTPTransport] | Calls[httpx.AsyncHTTPTransport], request: httpx.Request
) -> str | None:
    url = request.url
    return calls.callee_at(url.scheme, url.raw_host.decode("ascii"), url.port)


def _copy(request: httpx.Request, headers: Mapping[str, str]) -> httpx.Request:
    """Return the request with other headers; a transaction is sent only if it is set again."""
    copied = request.headers.copy()
    copied.pop(TXN_TOKEN, None)
    copied.update(headers)
    return httpx.Request(
        request.method,
        request.url,
        headers=copied,
        stream=request.stream,
        extensions=request.extensions,
    )


def _challenges(request: httpx.Request, response: httpx.Response) -> list[str]:
    """Return the challenges of a 401, [] if the request cannot be sent again."""
    again = isinstance(request.stream, httpx.ByteStream)
    if response.status_code != HTTPStatus.UNAUTHORIZED or not again:
        return []
    return response.headers.get_list("WWW-Authenticate")


def _redirect(request: httpx.Request, response: httpx.Response) -> tuple[str, int, str | None]:
    return str(request.url), response.status_code, response.headers.get("Location")


def _response(
    response: httpx.Response, stream: httpx.SyncByteStream | httpx.AsyncByteStream
) -> httpx.Response:
    return httpx.Response(
        response.status_code,
        headers=response.headers,
        stream=stream,
        extensions=response.extensions,
    )


def _blocking(context: SSLContext) -> httpx.HTTPTransport:
    return httpx.HTTPTransport(verify=context, trust_env=False)


def _async(context: SSLContext) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False)


# For requests to the issuer: a connection for each fetch, because fetches are minutes apart


def _post(step: Post) -> Answer:
    ask = step.ask
    try:
        with (
            httpx.Client(verify=step.context, trust_env=False, timeout=_TIMEOUT) as client,
            client.stream("POST", ask.url, content=ask.body, headers=ask.headers) as response,
        ):
            body = b""
            for part in response.iter_raw(MAX_ANSWER):
                body += part
                if len(body) > MAX_ANSWER:
                    break
            return Answer.of(response.status_code, response.headers, body)
    except httpx.HTTPError as error:
        raise no_answer(error) from None


async def _post_async(step: Post) -> Answer:
    ask = step.ask
    try:
        async with (
            httpx.AsyncClient(verify=step.context, trust_env=False, timeout=_TIMEOUT) as client,
            client.stream("POST", ask.url, content=ask.body, headers=ask.headers) as response,
        ):
            body = b""
            async for part in response.aiter_raw(MAX_ANSWER):
                body += part
                if len(body) > MAX_ANSWER:
                    break
            return Answer.of(response.status_code, response.headers, body)
    except httpx.HTTPError as error:
        raise no_answer(error) from None
