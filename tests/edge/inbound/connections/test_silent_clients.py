"""Clients that occupy a server without a request, at servers of an identity."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.edge.mounts import CHECKOUT, Mounts, known
from tests.edge.serving import ROOTS, gunicorn_serving, once, uvicorn_serving
from tests.edge.silence import client_hello, silent_clients
from tests.patience import PATIENCE
from tests.webhooks.gateway.attacks.wire import eventually
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import Receive, Scope, Send
from troth.edge.inbound.connections import handshakes, timed
from troth.edge.inbound.connections.limits import ConnectionLimits

HERE = known(CHECKOUT)
BOTH = pytest.mark.parametrize("http", ["h11", "httptools"])
STARTS = pytest.mark.parametrize("said", [b"", client_hello()], ids=["silent", "half a handshake"])


async def echo(_: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length of the body."""
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    body = str(length).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    mounts = Mounts(tmp_path / "mounts")
    mounts.write()
    return Identity(mounts.identity.path, mounts.bundle.path)


@pytest.fixture
def serving(identity: Identity) -> Callable[..., Any]:
    return partial(uvicorn_serving, echo, identity)


def closed(clients: list[Any]) -> list[bool]:
    return [each.closed for each in clients]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing end because of its time."""
    monkeypatch.setattr(handshakes, "FIRST_BYTE_WITHIN", 4 * PATIENCE)
    monkeypatch.setattr(handshakes, "WITHIN", 4 * PATIENCE)
    monkeypatch.setattr(timed, "REQUEST_WITHIN", 4 * PATIENCE)


@STARTS
@pytest.mark.usefixtures("patient")
async def test_number_of_handshakes_is_bounded_and_the_oldest_end(
    serving: Any, tmp_path: Path, said: bytes
) -> None:
    with serving(limits=ConnectionLimits(handshakes=8)) as port:
        async with silent_clients(port, 40, said) as clients:
            await eventually(lambda: sum(closed(clients)) >= 32)
            assert closed(clients) == [True] * 32 + [False] * 8
            answer = await asyncio.to_thread(once, port, tmp_path, HERE)
            assert answer.status == 200


@STARTS
@pytest.mark.usefixtures("patient")
async def test_number_of_handshakes_of_one_peer_is_bounded(
    serving: Any, tmp_path: Path, said: bytes
) -> None:
    limits = ConnectionLimits(handshakes=100, per_peer=8)
    with serving(limits=limits) as port:
        async with silent_clients(port, 40, said) as clients:
            await eventually(lambda: sum(closed(clients)) >= 32)
            assert closed(clients) == [True] * 32 + [False] * 8
            assert (await asyncio.to_thread(once, port, tmp_path, HERE)).status == 200


@STARTS
@pytest.mark.usefixtures("patient")
async def test_peer_with_the_most_handshakes_makes_room_for_others(
    serving: Any, said: bytes
) -> None:
    with serving(limits=ConnectionLimits(handshakes=8)) as port:
        async with (
            silent_clients(port, 1, said, source="127.0.0.2") as honest,
            silent_clients(port, 40, said) as clients,
        ):
            await eventually(lambda: sum(closed(clients)) >= 33)
            assert (closed(honest), sum(closed(clients))) == ([False], 33)


@pytest.mark.parametrize(
    ("limit", "said"),
    [("FIRST_BYTE_WITHIN", b""), ("WITHIN", client_hello())],
    ids=["silent", "half a handshake"],
)
@pytest.mark.usefixtures("patient")
async def test_slow_handshake_times_out(
    serving: Any, monkeypatch: pytest.MonkeyPatch, limit: str, said: bytes
) -> None:
    monkeypatch.setattr(handshakes, limit, 0.2)
    with serving() as port:
        async with silent_clients(port, 3, said) as clients:
            await eventually(lambda: all(closed(clients)))


async def established(port: int, said: bytes) -> tuple[asyncio.StreamReader, Any]:
    context = ssl.create_default_context(cadata=ROOTS.decode())
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    writer.write(said)
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read() == b""
        except ConnectionError:
            return True


async def gone(writer: asyncio.StreamWriter) -> None:
    """Close a connection, which the server may have closed or aborted before."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"


async def kept_open(port: int) -> tuple[asyncio.StreamReader, Any]:
    """Return a connection on which one request has been answered."""
    reader, writer = await established(port, GET + b"\r\n")
    assert b"200 OK" in await reader.readuntil(b"\r\n\r\n0")
    return reader, writer


@BOTH
@pytest.mark.parametrize("said", [b"", b"GET", GET], ids=["nothing", "half a line", "half a head"])
@pytest.mark.usefixtures("patient")
async def test_slow_head_times_out(
    serving: Any, monkeypatch: pytest.MonkeyPatch, http: str, said: bytes
) -> None:
    with serving(http=http) as port:
        reader, writer = await kept_open(port)
        monkeypatch.setattr(timed, "REQUEST_WITHIN", 0.3)
        writer.write(GET)
        assert await ended(reader)
        await gone(writer)
        reader, writer = await established(port, said)
        assert await ended(reader)
        await gone(writer)


@BOTH
@pytest.mark.usefixtures("patient")
async def test_body_may_take_longer_than_a_head(
    serving: Any, monkeypatch: pytest.MonkeyPatch, http: str
) -> None:
    with serving(http=http) as port:
        reader, writer = await kept_open(port)
        monkeypatch.setattr(timed, "REQUEST_WITHIN", 0.2)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n")
        for _ in range(6):
            await asyncio.sleep(0.2)
            writer.write(b"x")
        assert (await reader.readuntil(b"\r\n\r\n6")).startswith(b"HTTP/1.1 200")
        await gone(writer)


@BOTH
@pytest.mark.usefixtures("patient")
async def test_number_of_connections_is_bounded_and_idle_ones_end(
    serving: Any, tmp_path: Path, http: str
) -> None:
    with serving(http=http, limits=ConnectionLimits(connections=8)) as port:
        held = [await established(port, b"GET") for _ in range(20)]
        reads = [asyncio.create_task(ended(reader)) for reader, _ in held]
        await eventually(lambda: sum(each.done() for each in reads) >= 13)
        assert [each.done() for each in reads] == [True] * 13 + [False] * 7
        assert (await asyncio.to_thread(once, port, tmp_path, HERE)).status == 200
        for _, writer in held:
            await gone(writer)
        await asyncio.gather(*reads)


@pytest.mark.parametrize("worker", ["sync", "gthread"])
@pytest.mark.parametrize("said", [b"\x16", client_hello()], ids=["a byte", "half a handshake"])
async def test_silent_clients_do_not_occupy_the_threads_of_gunicorn(
    identity: Identity, tmp_path: Path, worker: str, said: bytes
) -> None:
    del identity  # its files are mounted
    with gunicorn_serving(tmp_path / "mounts", worker, within=0.3) as port:
        async with silent_clients(port, 8, said):
            answer = await asyncio.to_thread(once, port, tmp_path, HERE, "/charge")
            assert answer.status == 200


@pytest.mark.parametrize("worker", ["sync", "gthread"])
async def test_half_a_head_does_not_occupy_a_thread_of_gunicorn(
    identity: Identity, tmp_path: Path, worker: str
) -> None:
    del identity
    with gunicorn_serving(tmp_path / "mounts", worker, within=0.3) as port:
        held = [asyncio.create_task(established(port, GET)) for _ in range(8)]
        answer = await asyncio.to_thread(once, port, tmp_path, HERE, "/charge")
        assert answer.status == 200
        for each in await asyncio.gather(*held, return_exceptions=True):
            if not isinstance(each, BaseException):
                await gone(each[1])


@pytest.mark.parametrize("worker", ["sync", "gthread"])
async def test_head_that_is_too_large_is_rejected_by_gunicorn(
    identity: Identity, tmp_path: Path, worker: str
) -> None:
    del identity
    with gunicorn_serving(tmp_path / "mounts", worker) as port:
        fields = [(f"X-{number}", "x" * 8000) for number in range(5)]
        for count, status in ((3, 200), (5, 431)):
            answer = await asyncio.to_thread(once, port, tmp_path, HERE, "/charge", *fields[:count])
            assert answer.status == status
