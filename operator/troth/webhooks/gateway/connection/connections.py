"""One connection: what is not exactly one request of HTTP/1.1, of bounded size, is refused.

uvicorn reads with llhttp, which is strict about line ends, lengths and chunks. What it takes and a
gateway must not is refused here, before anything of it is looked at: fields after the body, which
uvicorn would add to the headers; a head without end; another version, or protocol; two requests at
once; a target that is not a path; a request that takes its time. A refusal is final: the rest of
the connection is not read, for where its next request would begin is what an attacker and we might
not agree on.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import httptools
import uvicorn
from uvicorn.server import ServerState

from troth.edge.frameworks import uvicorn as edge
from troth.edge.inbound.asgi import Application, Message, Receive, Scope, Send
from troth.webhooks.gateway.answers import RETRY_AFTER

WHOLE_WITHIN = 10.0
"""Seconds from the beginning of a connection, or of a request, until the request is there whole."""
IDLE = 30.0
"""Seconds that a connection waits for its next request."""
GRACE = 60.0
"""Seconds after which a connection that should have ended is cut."""
LINGER = 1.0
"""Seconds for which what is still sent is read, and dropped, so that the answer arrives."""
LAST_CALL = 2.0
"""Seconds for which an idle connection is left open when the gateway stops: the next request may be
on its way, and is answered."""
MOST_HEAD = 32 * 1024
"""Bytes of the request line and the headers, and of what frames a body in chunks beyond as much as
the body itself."""
MOST_HEADERS = 100
MOST_BODIES = 64 * 1024 * 1024
"""Bytes of the bodies that are not there whole, of all connections together; nobody has signed any
of them yet."""

_TELLING = frozenset({b"expect", b"host", b"transfer-encoding"})

Refused = Callable[[str], None]
"""Told of every request that is refused here, in a word."""


_Base: Any = edge.protocol("httptools")


class UnderWay:
    """What the connections of one server have together: their requests, and parts of bodies."""

    def __init__(self) -> None:
        self.requests: set[asyncio.Task[None]] = set()
        """Those that are not answered yet."""
        self.bodies = 0
        """Bytes of bodies that are not there whole."""


class Connection(_Base):
    """A connection that is used for `lasts` seconds, about."""

    cycle: Any
    """uvicorn's, of the request that is under way or was last; None before and after them."""

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        lasts: float,
        on_refused: Refused,
        under_way: UnderWay,
    ) -> None:
        super().__init__(config=config, server_state=state, app_state={})
        # uvicorn ends the tasks of its own set when it has waited long enough
        self.tasks = under_way.requests
        self._lasts = lasts
        self._on_refused = on_refused
        self._under_way = under_way
        self._body = 0

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn's signature
        """Begin, and be due when nothing comes."""
        super().connection_made(transport)
        self.app: Application = _Early(self.app, self)
        now = self.loop.time()
        self._ends = now + self._lasts * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
        self._cut = self._ends + GRACE
        self._deaf = self.parting = False
        self._await_request()
        self._due = now + WHOLE_WITHIN
        self._watch()
        if len(self.connections) >= self.limit_concurrency:
            self._make_room()

    def _make_room(self) -> None:
        """End one connection that does nothing: who holds many keeps nobody else out."""
        for each in self.connections:
            if each is not self and each.is_idle:
                each.transport.abort()
                return
        self._end_slowest()

    def _end_slowest(self) -> None:
        """End the connection that keeps the rest of its request back for longest.

        Who means well sends a request as fast as the network takes it.
        """
        begun = [each for each in self.connections if each.is_partial]
        if begun:
            slowest = min(begun, key=lambda each: each.due)
            slowest.transport.abort()
            self._on_refused("no-room")

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request is there that is not answered."""
        return not self._begun and (self.cycle is None or self.cycle.response_complete)

    @property
    def is_partial(self) -> bool:
        """Whether a part of a request is there, and not all of it."""
        return self._begun

    @property
    def due(self) -> float:
        """When its request must be there whole, in the loop's time."""
        return float(self._due)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; whoever reads a body hears of it."""
        self._watching.cancel()
        self._forget_body()
        super().connection_lost(exc)
        # else it and they hold each other, and wait for the collector, which looks seldom
        self.app = self.config.loaded_app
        if self.is_idle:
            self.cycle = None

    # Time

    def _watch(self) -> None:
        """Cut the connection when it is due; one look twice a second costs less than timers."""
        now = self.loop.time()
        if now >= min(self._due, self._cut):
            self.transport.abort()
            return
        self._watching = self.loop.call_later(min(0.5, WHOLE_WITHIN / 4), self._watch)

    def shutdown(self) -> None:
        """Answer what is there or on its way, and then end."""
        self._ends = -math.inf
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        else:
            self.loop.call_later(LAST_CALL, self._leave)

    def _leave(self) -> None:
        if self.is_idle:
            self.transport.close()

    # Bytes

    def _await_request(self) -> None:
        self._begun = self._headed = False
        self._due = math.inf
        self._received = 0
        self._forget_body()
        self._head = b""
        self._telling: list[tuple[bytes, bytes]] = []
        self._why = (HTTPStatus.BAD_REQUEST, "malformed")

    def _forget_body(self) -> None:
        self._under_way.bodies -= self._body
        self._body = 0

    def data_received(self, data: bytes) -> None:
        """Read on, unless the connection is at its end."""
        if self._deaf:
            return
        if self._is_answering():  # nobody who means well sends the next request already
            self._deaf, self.cycle.keep_alive = True, False
            return
        if not self._begun:
            self._begun, self._due = True, self.loop.time() + WHOLE_WITHIN
        self._received += len(data)
        if not self._headed:
            self._head += data
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(*self._why)
        else:
            if self._received > MOST_HEAD + 2 * self._body:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large")

    def _is_answering(self) -> bool:
        """Whether a request is there whole, and not yet answered."""
        cycle = self.cycle
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._on_refused(why)
        if self._is_answering():  # what is wrong came after it
            self._deaf, self.cycle.keep_alive = True, False
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_answer(status))
        if cycle is not None:
            cycle.disconnected = True  # an abort to whoever reads its body
            cycle.message_event.set()
        self._part()

    def _part(self) -> None:
        """End the connection so that the other side still reads what it was answered."""
        self._deaf, self._due = True, self.loop.time() + LINGER
        if self.transport.can_write_eof():
            self.flow.resume_reading()
            self.transport.write_eof()
        else:
            self.transport.close()

    # What the parser tells

    def on_message_begin(self) -> None:
        """Refuse what comes before the answer to what came before."""
        if self._is_answering():
            raise self._refusal(HTTPStatus.BAD_REQUEST, "pipelined")
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuse what trails a body; uvicorn would add it to the headers."""
        if self._headed:
            raise self._refusal(HTTPStatus.BAD_REQUEST, "trailer")
        header = name.lower(), value
        self.headers.append(header)
        if header[0] in _TELLING:
            self._telling.append(header)
            self.expect_100_continue |= header[0] == b"expect"

    def on_headers_complete(self) -> None:
        """Refuse a head that can be read in two ways, before the application hears of it."""
        fault = self._fault()
        if fault is not None:
            raise self._refusal(*fault)
        self._headed = True
        super().on_headers_complete()
        if self.loop.time() >= self._ends:
            self.cycle.keep_alive = False  # the answer says so, and then it is closed

    def on_body(self, body: bytes) -> None:
        """Count, and hand on."""
        self._body += len(body)
        self._under_way.bodies += len(body)
        super().on_body(body)
        if self._under_way.bodies > MOST_BODIES:
            self._end_slowest()

    def on_message_complete(self) -> None:
        """Be in time."""
        self._await_request()
        super().on_message_complete()

    def _fault(self) -> tuple[HTTPStatus, str] | None:
        """Return what is wrong with the head, for whoever reads it exactly as it is written, or
        that there is no room: uvicorn would not say when to come back, and count nothing.
        """
        if max(len(self.connections), len(self.tasks)) >= self.limit_concurrency:
            return HTTPStatus.SERVICE_UNAVAILABLE, "busy"
        head, url = self._head, self.url
        line = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), url)
        if not head.startswith(line):
            if self.parser.get_http_version() != "1.1":
                return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "version"
            # llhttp takes RTSP, more spaces, and any CR and LF before it for empty lines
            if not _after_empty_lines(head).startswith(line):
                return HTTPStatus.BAD_REQUEST, "request-line"
        if self.parser.should_upgrade():  # llhttp would take the body for what is spoken then
            return HTTPStatus.BAD_REQUEST, "upgrade"
        if url[:1] != b"/" or b"#" in url:
            return HTTPStatus.BAD_REQUEST, "target"
        if len(self.headers) > MOST_HEADERS:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too-many-headers"
        if head.find(b"\r\n\r\n", len(line) - 2) + 4 > MOST_HEAD:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large"
        return _framing_fault(self._telling)

    def _refusal(self, status: HTTPStatus, why: str) -> Exception:
        self._why = status, why
        return ValueError(why)  # ends the parser, which does not hand it on

    # What the application says

    def on_response_complete(self) -> None:
        """Wait for the next request, and no longer than `IDLE`; end where the answer came early."""
        self._due = self.loop.time() + IDLE
        self.flow.resume_reading()
        if self.parting:
            self._part()


def _after_empty_lines(head: bytes) -> bytes:
    """Return a head without the empty lines before it, which are nothing (RFC 9112 section 2.2)."""
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
        return HTTPStatus.BAD_REQUEST, "host"  # RFC 9112 section 3.2
    return None


def _answer(status: HTTPStatus) -> bytes:
    line = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        line += f"Retry-After: {RETRY_AFTER}\r\n"
    return f"{line}Content-Length: 0\r\nConnection: close\r\n\r\n".encode()


class _Early:
    """The application of one connection, whose answers may come before the request is whole.

    Such an answer ends the connection, in a way that the sender, who is still sending, reads it.
    """

    def __init__(self, app: Application, connection: Any) -> None:  # noqa: ANN401 - made above
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
