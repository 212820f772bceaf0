"""Servers on loopback with real TLS, and a connection to one that can be interrupted."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from troth.issuer import serving as issuer_serving
from troth.issuer.tls import IssuerTLS
from troth.pki.tokens.signing import certificate_thumbprint


@dataclass(frozen=True)
class ReceivedRequest:
    """One request as a server saw it; `connection` numbers the server's connections."""

    method: str
    path: str
    headers: Message
    body: bytes
    peer: bytes | None
    connection: int

    @property
    def thumbprint(self) -> str | None:
        return certificate_thumbprint(self.peer) if self.peer else None

    @property
    def token(self) -> str | None:
        kind, _, token = str(self.headers.get("Authorization", "")).partition(" ")
        return token if kind == "Bearer" else None


@dataclass(frozen=True)
class Reply:
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"{}"


Respond = Callable[[ReceivedRequest], Reply]


class Server(ThreadingHTTPServer):
    """Answers by a function; remembers what it was asked."""

    daemon_threads = True

    def __init__(self, respond: Respond, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.respond = respond
        self.context = context
        self.seen: list[ReceivedRequest] = []
        self.handshakes = 0
        self.connections = 0
        self.failed: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}" if self.context else f"http://127.0.0.1:{self.port}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread, so that a slow handshake holds up nobody."""
        if self.context is not None:
            self.handshakes += 1
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError as error:
                self.failed.append(str(error))
                return
        with request:
            super().finish_request(request, client_address)
            # With an alert, as servers do: else an answer in flight could be lost to a reset.
            if self.context is not None:
                with suppress(OSError):
                    request.unwrap()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a head sent by itself delays its body until the client acknowledges it
    server: Server

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self.number = self.server.connections

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        tls = isinstance(self.connection, ssl.SSLSocket)
        peer = self.connection.getpeercert(binary_form=True) if tls else None
        seen = ReceivedRequest(self.command, self.path, self.headers, body, peer, self.number)
        self.server.seen.append(seen)
        reply = self.server.respond(seen)
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing on the tests' output."""


@contextmanager
def serving(respond: Respond, context: ssl.SSLContext | None) -> Iterator[Server]:
    server = Server(respond, context)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Issuer:
    """The real issuer, as `troth issue` serves it; remembers what it was asked.

    While `gate` is not set, requests have come and are not answered.
    """

    def __init__(self, app: ASGIApp, files: Path) -> None:
        self.seen: list[ReceivedRequest] = []
        self.arrived = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._app = app
        self._server = issuer_serving.Server(self, IssuerTLS(files), "127.0.0.1", 0)

    @property
    def port(self) -> int:
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    @contextmanager
    def serving(self) -> Iterator[Issuer]:
        thread = threading.Thread(target=asyncio.run, args=(self._server.serve(),), daemon=True)
        thread.start()
        while not self._server.started:
            time.sleep(0.01)
        try:
            yield self
        finally:
            self._server.stop()
            thread.join()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        chain = scope["extensions"]["tls"]["client_cert_chain"]
        peer = ssl.PEM_cert_to_DER_cert(chain[0]) if chain else None
        self.seen.append(ReceivedRequest(scope["method"], scope["path"], Message(), b"", peer, 0))
        self.arrived.set()
        await asyncio.to_thread(self.gate.wait)
        await self._app(scope, receive, send)


@dataclass
class Way:
    """A way to a server: open, closed (connections are refused) or blocked (nothing comes back).

    It always has the same port, so whoever was told its address keeps it.
    """

    target: int
    state: str = "open"
    taken: int = 0
    _listener: socket.socket | None = None
    _port: int = 0
    _open: list[socket.socket] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://localhost:{self._port}"

    def open(self) -> None:
        self.state = "open"
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self._port))
            self._port = self._listener.getsockname()[1]
            self._start(self._accept, self._listener)

    def block(self) -> None:
        """Connections are taken up, and nothing is ever answered."""
        self.open()
        self.state = "blocked"
        self._drop()

    def partition(self) -> None:
        """Connections are not even taken up: what is sent is lost."""
        self.close()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self._port))
        self._listener.listen(0)
        # The kernel drops what comes while as many wait as may, and nobody accepts them.
        for _ in range(2):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", self._port))
            self._open.append(waiting)

    def close(self) -> None:
        self.state = "closed"
        if self._listener is not None:
            # A thread that is within accept() keeps the port until it is woken.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self._drop()

    def _start(self, work: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()

    def _drop(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self.taken += 1
            self._open.append(near)
            if self.state == "open":
                far = socket.create_connection(("127.0.0.1", self.target))
                self._open.append(far)
                for each in (near, far):  # else the second of two short writes waits like a body
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._start(_pump, near, far)
                self._start(_pump, far, near)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
