"""Heads of bounded size, at the connections of a service, without a socket."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from uvicorn.server import ServerState

from tests.edge.mounts import Mounts
from tests.webhooks.gateway.attacks.wire import eventually
from troth.edge.frameworks import gunicorn
from troth.edge.frameworks import uvicorn as edge
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import Receive, Scope, Send
from troth.edge.inbound.connections.heads import MAX_HEAD, MAX_HEADERS

RECORD = 16 * 1024
GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Transport(asyncio.Transport):
    """What a connection writes, and whether it still reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.open = self.reads = True

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.open = False

    abort = close

    def is_closing(self) -> bool:
        return not self.open

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Service:
    """One connection of a service, which records the requests that reach it."""

    def __init__(self, identity: Identity, http: str) -> None:
        self.heads: list[list[tuple[bytes, bytes]]] = []
        self.bodies: list[int] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        config = edge.config(self.application, identity, http=http, interface="asgi3")
        config.load()
        state = {"config": config, "server_state": ServerState(), "app_state": {}}
        connect: Any = config.http_protocol_class
        self.connection = connect(**state)._connection
        self.connection.handshake = None
        self.transport = Transport()
        self.connection.connection_made(self.transport)

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.heads.append(scope["headers"])
        size, more = 0, True
        while more:
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        self.bodies.append(size)
        await self.may_answer.wait()
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    def accepted(self, *parts: bytes, whole: bool = False) -> int:
        """Send parts in records of TLS while the connection reads; return the bytes accepted.

        With `whole`, send until the connection closes, also while it does not read.
        """
        count = 0
        for part in parts:
            for start in range(0, len(part), RECORD):
                if not self.transport.open or not (self.transport.reads or whole):
                    return count
                record = part[start : start + RECORD]
                self.connection.data_received(record)
                count += len(record)
        return count

    async def answers(self, count: int) -> None:
        await eventually(lambda: self.transport.written.count(b"HTTP/1.1 200") == count)

    @property
    def is_refused(self) -> bool:
        return not self.transport.open and self.transport.written.startswith(b"HTTP/1.1 431 ")


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    mounts = Mounts(tmp_path / "mounts")
    mounts.write()
    return Identity(mounts.identity.path, mounts.bundle.path)


@pytest.fixture(params=["h11", "httptools"])
async def service(request: pytest.FixtureRequest, identity: Identity) -> AsyncIterator[Service]:
    service = Service(identity, request.param)
    yield service
    service.connection.connection_lost(None)


def endless(beginning: bytes, part: bytes) -> Iterator[bytes]:
    yield beginning
    for _ in range(64):
        yield part * (RECORD // len(part))


def head(size: int) -> bytes:
    """A head of so many bytes."""
    return GET + b"X: " + b"x" * (size - len(GET) - len(b"X: \r\n\r\n")) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("beginning", "part"),
    [
        (GET + b"X: ", b"x"),
        (GET + b"X: ", b" "),
        (GET, b"x"),
        (GET, b"X: y\r\n"),
        (b"GET /", b"x"),
    ],
    ids=["value", "spaces", "name", "headers", "target"],
)
async def test_endless_head_is_refused_when_it_exceeds_the_bound(
    service: Service, beginning: bytes, part: bytes
) -> None:
    assert service.accepted(*endless(beginning, part)) <= MAX_HEAD + 2 * RECORD
    assert service.is_refused
    assert service.heads == []


async def test_head_size_is_bounded_to_the_byte(service: Service) -> None:
    service.accepted(head(MAX_HEAD))
    await service.answers(1)
    service.transport.written = b""
    service.accepted(head(MAX_HEAD + 1))
    assert service.is_refused
    assert len(service.heads) == 1


async def test_number_of_headers_is_bounded(service: Service) -> None:
    many = [b"X-%d: y\r\n" % number for number in range(MAX_HEADERS)]
    service.accepted(GET + b"".join(many[:-1]) + b"\r\n")
    await service.answers(1)
    service.transport.written = b""
    service.accepted(GET + b"".join(many) + b"\r\n")
    assert service.is_refused
    assert [len(each) for each in service.heads] == [MAX_HEADERS]


async def test_each_request_of_a_connection_has_its_own_bound(service: Service) -> None:
    for number in range(1, 6):
        service.accepted(head(MAX_HEAD - 1000))
        await service.answers(number)
    assert service.transport.open


async def test_body_is_not_bounded_by_the_size_of_a_head(service: Service) -> None:
    size = 8 * MAX_HEAD
    service.accepted(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
    service.accepted(b"x" * size, whole=True)
    await service.answers(1)
    service.accepted(CHUNKED + b"1\r\nx\r\n" * size + b"0\r\n\r\n", whole=True)
    await service.answers(2)
    assert service.bodies == [size, size]


@pytest.mark.parametrize(
    ("beginning", "part"),
    [(b"0\r\nX: ", b"x"), (b"0\r\n", b"X: y\r\n"), (b"1;a=", b"x")],
    ids=["trailer", "trailers", "chunk extension"],
)
async def test_endless_framing_of_a_body_closes_the_connection(
    service: Service, beginning: bytes, part: bytes
) -> None:
    service.accepted(CHUNKED + b"1\r\nx\r\n")
    await eventually(lambda: len(service.heads) == 1)
    assert service.accepted(*endless(beginning, part)) <= MAX_HEAD + 2 * RECORD
    assert not service.transport.open


async def test_trailers_are_not_among_the_headers(service: Service) -> None:
    service.accepted(CHUNKED + b"1\r\nx\r\n0\r\nX-Late: y\r\n\r\n")
    await service.answers(1)
    assert [name for name, _ in service.heads[0]] == [b"host", b"transfer-encoding"]


async def test_head_behind_an_open_request_is_not_read_without_end(service: Service) -> None:
    service.may_answer.clear()
    service.accepted(GET + b"\r\n")
    await eventually(lambda: service.bodies == [0])
    assert service.accepted(*endless(GET + b"X: ", b"x")) <= MAX_HEAD + 2 * RECORD
    assert not (service.transport.open and service.transport.reads)
    assert service.transport.written == b""


async def test_refused_connection_reads_nothing_more(service: Service) -> None:
    service.accepted(head(MAX_HEAD + 1))
    written = service.transport.written
    service.connection.data_received(GET + b"\r\n")
    await asyncio.sleep(0)
    assert (service.heads, service.transport.written) == ([], written)


def parsed_by_gunicorn(head: bytes, identity: Identity) -> Request:
    config = Config()
    config.set("limit_request_fields", gunicorn.settings(identity)["limit_request_fields"])
    request = Request(config, IterUnreader([head]), ("127.0.0.1", 1))
    gunicorn.check_head(request)
    return request


def of_lines(size: int) -> bytes:
    """A head of so many bytes, in lines that gunicorn accepts."""
    lines = [b"X-%d: " % number + b"x" * 4000 + b"\r\n" for number in range(7)]
    last = size - len(GET) - sum(map(len, lines)) - len(b"Last: \r\n\r\n")
    return GET + b"".join(lines) + b"Last: " + b"x" * last + b"\r\n\r\n"


def test_gunicorn_has_the_same_bounds(identity: Identity) -> None:
    assert len(parsed_by_gunicorn(of_lines(MAX_HEAD), identity).headers) == 9
    with pytest.raises(LimitRequestHeaders):
        parsed_by_gunicorn(of_lines(MAX_HEAD + 1), identity)
    many = [b"X-%d: y\r\n" % number for number in range(MAX_HEADERS)]
    parsed_by_gunicorn(GET + b"".join(many[:-1]) + b"\r\n", identity)
    with pytest.raises(LimitRequestHeaders):
        parsed_by_gunicorn(GET + b"".join(many) + b"\r\n", identity)
