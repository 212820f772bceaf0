"""Connections to the API server as a kubeconfig describes them: TLS, a proxy and a token."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from sandbox.certificates import Authority
from troth.cluster.api import ApiServer
from troth.cluster.connection.client import Connection
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.resources.references import Ref

SECRET = Ref("shop", "payments-identity")
NAME = "kubernetes.example"


class Recorder:
    """Answers each request with an empty object, and WebSockets with an end; records them."""

    def __init__(self) -> None:
        self.requests: list[web.BaseRequest] = []

    async def take(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        if request.headers.get("Upgrade") != "websocket":
            return web.json_response({})
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.close()
        return socket


@asynccontextmanager
async def serving(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serve all requests on loopback; yield the URL."""
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        (address,) = runner.addresses
        yield f"{'https' if context else 'http'}://127.0.0.1:{address[1]}"
    finally:
        await runner.cleanup()


def of_another_name(directory: Path) -> tuple[Path, ssl.SSLContext]:
    """Return the roots and the TLS of a server whose certificate has no loopback address."""
    authority = Authority(directory)
    pair = authority.server("another", addresses=[], dns_names=[NAME])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    return authority.certificate, context


async def test_server_is_verified_by_the_name_of_the_kubeconfig(tmp_path: Path) -> None:
    roots, context = of_another_name(tmp_path)
    served = Recorder()
    async with serving(served.take, context) as url:
        config = Configuration(host=url, ssl_ca_cert=str(roots))
        async with ApiServer(config) as api:
            with pytest.raises(ApiError):
                await api.get("Secret", SECRET)
        assert not served.requests
        config = Configuration(host=url, ssl_ca_cert=str(roots))
        config.tls_server_name = NAME
        async with ApiServer(config) as api:
            await api.get("Secret", SECRET)
        connection = Connection(config)
        async with await connection.websocket("/api/v1/pods"):
            pass
        await connection.close()
    assert len(served.requests) == 2


async def test_requests_go_through_the_proxy_with_its_headers() -> None:
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        config = Configuration(host=f"https://{NAME}")
        config.proxy = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        config.proxy_headers = {"Proxy-Authorization": "Basic x"}
        async with ApiServer(config) as api:
            with pytest.raises(ApiError):
                await api.get("Secret", SECRET)
    lines = heads[0].split(b"\r\n")
    assert lines[0] == f"CONNECT {NAME}:443 HTTP/1.1".encode()
    assert b"Proxy-Authorization: Basic x" in lines


async def test_token_is_read_again_for_each_request() -> None:
    served, tokens = Recorder(), iter(("first", "second", "third"))

    async def renew(config: Configuration) -> None:
        config.api_key["BearerToken"] = f"Bearer {next(tokens)}"

    async with serving(served.take) as url:
        config: Any = Configuration(host=url)  # the library types its hook as None
        config.refresh_api_key_hook = renew
        async with ApiServer(config) as api:
            await api.get("Secret", SECRET)
            await api.get("Secret", SECRET)
        connection = Connection(config)
        async with await connection.websocket("/api/v1/pods"):
            pass
        await connection.close()
    assert [each.headers["Authorization"] for each in served.requests] == [
        *("Bearer first", "Bearer second", "Bearer third")
    ]
    assert {each.headers["User-Agent"] for each in served.requests} == {"troth"}


async def test_watches_use_up_no_connection_of_other_requests_or_of_the_lease() -> None:
    ended, held = asyncio.Event(), 0

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal held
        if not request.query.get("watch") and "slow" not in request.path:
            return web.json_response({"metadata": {"name": "payments"}})
        response = web.StreamResponse()
        await response.prepare(request)
        held += 1
        await ended.wait()
        return response

    async with serving(answer) as url:
        config = Configuration(host=url)
        config.connection_pool_maxsize = 2
        opened: list[int] = []

        async def watch(api: ApiServer) -> None:
            async for _ in api.watch(Selection("Secret"), "1", 60.0, lambda: opened.append(1)):
                pass

        async with ApiServer(config) as api:
            tasks: list[asyncio.Task[Any]] = [asyncio.create_task(watch(api)) for _ in range(8)]
            while len(opened) < len(tasks):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            await api.get("Secret", SECRET)
            slow = Ref("shop", "slow")
            tasks += [asyncio.create_task(api.get("Secret", slow)) for _ in range(2)]
            while held < len(tasks):  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
            await api.get("Lease", Ref("troth-system", "troth-operator"))
            ended.set()
            await asyncio.gather(*tasks, return_exceptions=True)
