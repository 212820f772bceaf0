"""HTTP/1.1 connections that accept exactly one well-formed request of bounded size at a time.

uvicorn parses with llhttp, which is strict about line ends, lengths and chunks. This module rejects
what llhttp accepts and the issuer and the gateway must not: trailers, which uvicorn would add to
the headers, an endless head, other versions and protocols, pipelining, targets that are not paths,
and slow requests. After a rejection, nothing more is read from the connection, because an attacker
and the server might disagree on where the next request begins.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httptools
import uvicorn
from uvicorn.server import ServerState

from troth.edge.frameworks import uvicorn as edge
from troth.edge.inbound.asgi import Application, Message, Receive, Scope, Send
from troth.edge.inbound.connections import handshakes, timed
from troth.edge.inbound.connections.heads import MAX_HEAD, MAX_HEADERS
from troth.edge.inbound.connections.timed import ConnectionGuard

IDLE = 30.0
"""Time in seconds for which a connection waits for its next request."""
GRACE = 60.0
"""Time in seconds after which a connection that should have ended is aborted."""
LAST_CALL = 2.0
"""Time in seconds for which an idle connection stays open when the server stops, because its next
request may already be on its way."""
RETRY_AFTER = 10
"""Value of `Retry-After` in seconds; most clients have their own schedule."""
MOST_BODIES = 64 * 1024 * 1024
"""Maximum size in bytes of all incomplete bodies of all connections of a process together, none of
which is verified yet. Workers divide it, down to `LARGEST_BODY` each."""
LARGEST_BODY = 16 * 1024 * 1024
"""Maximum size in bytes of one body, for which a worker has room, however many there are. So more
than four workers together hold more than `MOST_BODIES`: 16 of them 256 MiB."""

_CHECKED_HEADERS = frozenset({b"expect", b"host", b"transfer-encoding"})

_Base: Any = edge.protocol("httptools")


@dataclass(slots=True)
class OpenRequests:
    """State that the connections of a server share: open requests, and incomplete bodies."""

    requests: set[asyncio.Task[None]] = field(default_factory=set)
    """Requests that are not answered yet."""
    bodies: int = 0
    """Total size of incomplete bodies in bytes."""


@dataclass(frozen=True, slots=True)
class Admitting:
    """What the connections of one server have in common.

    A connection is used for about `lifetime` seconds, and only while `version` returns what it did
    at the connection's beginning, such as the roots that verify clients.
    """

    guard: ConnectionGuard
    lifetime: float
    version: Callable[[], object] = lambda: None
    most_bodies: int = MOST_BODIES
    open_requests: OpenRequests = field(default_factory=OpenRequests)


class Connection(timed.TimedConnection, _Base):
    """Connection of the issuer or of the gateway."""

    def __init__(self, config: uvicorn.Config, state: ServerState, admitting: Admitting) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        # uvicorn cancels the tasks of its own set when its shutdown times out
        self.tasks = admitting.open_requests.requests
        self.guard = admitting.guard
        self._admitting = admitting
        self._open_requests = admitting.open_requests
        self._body = 0

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn's signature
        """Start the connection, with a time limit for the first request."""
        self._closing = self.parting = False
        self._version = self._admitting.version()
        spread = random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, no secret
        self._ends = self.loop.time() + self._admitting.lifetime * spread
        self.ends_at = self._ends + GRACE
        self._await_request()
        super().connection_made(transport)
        self.app: Application = _Early(self.app, self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Clean up, and notify the reader of the body."""
        self._forget_body()
        super().connection_lost(exc)
        # breaks a reference cycle, which the garbage collector would find late
        self.app = self.config.loaded_app
        if self.is_idle:
            self.cycle = None

    # End

    def shutdown(self) -> None:
        """Answer the request that has arrived or is on its way, then close."""
        self._ends = -math.inf
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LAST_CALL, self._leave)

    def end(self) -> None:
        """Close now, or with the answer of a request that is complete."""
        if self._is_answering():
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    def _leave(self) -> None:
        if self.is_idle:
            self.transport.close()

    # Input

    def _await_request(self) -> None:
        self.is_partial = self._headed = False
        self.due = math.inf
        self._received = 0
        self._forget_body()
        self._head = b""
        self._checked_headers: list[tuple[bytes, bytes]] = []
        self._why = (HTTPStatus.BAD_REQUEST, "malformed")

    def _forget_body(self) -> None:
        self._open_requests.bodies -= self._body
        self._body = 0

    def data_received(self, data: bytes) -> None:
        """Parse input, unless the connection is closing."""
        if self._closing:
            return
        if self._is_answering():  # pipelining; honest senders wait for the answer
            self._closing, self.cycle.keep_alive = True, False
            return
        if not self.is_partial:
            self.is_partial, self.due = True, self.loop.time() + timed.REQUEST_WITHIN
        self._received += len(data)
        if not self._headed:
            self._head += data
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(*self._why)
        else:
            # also bounds the framing of a chunked body
            if self._received > MAX_HEAD + 2 * self._body:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large")

    def _is_answering(self) -> bool:
        """Return whether a request is complete and not answered yet."""
        cycle = self.cycle
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self.guard.on_refused(why)
        if self._is_answering():  # the invalid input follows that request
            self._closing, self.cycle.keep_alive = True, False
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_answer(status))
        if cycle is not None:
            cycle.disconnected = True  # the reader of the body sees a disconnect
            cycle.message_event.set()
        self._close_gracefully()

    def _close_gracefully(self) -> None:
        """Close the connection in a way that lets the client still read the answer."""
        self._closing, self.due = True, self.loop.time() + handshakes.LINGER
        if self.transport.can_write_eof():
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """Reject a request that begins before the previous answer."""
        if self._is_answering():
            raise self._refusal(HTTPStatus.BAD_REQUEST, "pipelined")
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Reject trailers, which uvicorn would add to the headers."""
        if self._headed:
            raise self._refusal(HTTPStatus.BAD_REQUEST, "trailer")
        header = name.lower(), value
        self.headers.append(header)
        if header[0] in _CHECKED_HEADERS:
            self._checked_headers.append(header)
            self.expect_100_continue |= header[0] == b"expect"

    def on_headers_complete(self) -> None:
        """Reject an ambiguous head before the application is called."""
        fault = self._fault()
        if fault is not None:
            raise self._refusal(*fault)
        self._headed = True
        super().on_headers_complete()
        if self.loop.time() >= self._ends or self._version != self._admitting.version():
            self.cycle.keep_alive = False  # the answer announces it, then the connection closes

    def on_body(self, body: bytes) -> None:
        """Count the bytes of the body, and pass them on."""
        self._body += len(body)
        self._open_requests.bodies += len(body)
        super().on_body(body)
        if self._open_requests.bodies > self._admitting.most_bodies:
            self.guard.close_slowest()

    def on_message_complete(self) -> None:
        """Clear the time limit of the request."""
        self._await_request()
        super().on_message_complete()

    def _fault(self) -> tuple[HTTPStatus, str] | None:
        """Return the fault in the head, or the lack of capacity; None if there is neither.

        The head is checked as it was sent. uvicorn's own answer for a lack of capacity has no
        Retry-After header, and is not counted.
        """
        if max(len(self.connections), len(self.tasks)) >= self.limit_concurrency:
            return HTTPStatus.SERVICE_UNAVAILABLE, "busy"
        head, url = self._head, self.url
        line = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), url)
        if not head.startswith(line):
            if self.parser.get_http_version() != "1.1":
                return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "version"
            # llhttp accepts RTSP, additional spaces, and any CR and LF as empty lines before the
            # request
            if not _after_empty_lines(head).startswith(line):
                return HTTPStatus.BAD_REQUEST, "request-line"
        if self.parser.should_upgrade():  # llhttp would parse the body as the other protocol
            return HTTPStatus.BAD_REQUEST, "upgrade"
        if url[:1] != b"/" or b"#" in url:
            return HTTPStatus.BAD_REQUEST, "target"
        if len(self.headers) > MAX_HEADERS:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too-many-headers"
        if head.find(b"\r\n\r\n", len(line) - 2) + 4 > MAX_HEAD:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large"
        return _framing_fault(self._checked_headers)

    def _refusal(self, status: HTTPStatus, why: str) -> Exception:
        self._why = status, why
        return ValueError(why)  # stops the parser; it does not propagate

    # Callbacks of the application

    def on_response_complete(self) -> None:
        """Wait at most `IDLE` for the next request; close after an early answer."""
        self.due = self.loop.time() + IDLE
        self.flow.resume_reading()
        if self.parting:
            self._close_gracefully()


def _after_empty_lines(head: bytes) -> bytes:
    """Return a head without the empty lines before it, which are valid (RFC 9112, section 2.2)."""
    while head.startswith(b"\r\n"):
        head = head[2:]
    return head


def _framing_fault(telling: list[tuple[bytes, bytes]]) -> tuple[HTTPStatus, str] | None:
    hosts = 0
    for name, value in telling:
        if name == b"host":
            hosts += 1 if value else 2
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            return HTTPStatus.BAD_REQUEST, "transfer-encoding"
        elif name == b"expect" and value.lower() != b"100-continue":
            return HTTPStatus.EXPECTATION_FAILED, "expectation"
    if hosts != 1:
        return HTTPStatus.BAD_REQUEST, "host"  # RFC 9112, section 3.2
    return None


def _answer(status: HTTPStatus) -> bytes:
    line = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        line += f"Retry-After: {RETRY_AFTER}\r\n"
    return f"{line}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


class _Early:
    """Application of one connection that may answer before the request is complete.

    An early answer closes the connection gracefully, so that a client that is still sending can
    read it.
    """

    def __init__(self, app: Application, connection: Any) -> None:  # noqa: ANN401 - a `Connection`
        self._app = app
        self._connection = connection

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._connection.cycle.more_body:
            send = self._parting(send)
        return self._app(scope, receive, send)

    def _parting(self, send: Send) -> Send:
        connection, cycle = self._connection, self._connection.cycle

        async def answer(message: Message) -> None:
            early = cycle.more_body and message["type"] == "http.response.start"
            if early:
                parting = (b"connection", b"close")
                message = {**message, "headers": [*message.get("headers", ()), parting]}
            await send(message)
            if early:
                connection.parting, cycle.keep_alive = True, True

        return answer
