"""uvicorn with mutual TLS that follows the identity's files.

uvicorn does not pass TLS state to the application. The protocol classes here add the ASGI TLS
extension (asgiref, specs/tls.rst) for both of its HTTP implementations. uvicorn handles WebSockets
in another class, without the extension, so they are rejected. Requires uvicorn 0.47 or newer, which
accepts a TLS context.
"""

import asyncio
import math
import ssl
from functools import cache, lru_cache
from http import HTTPStatus
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

import h11
import uvicorn
from cryptography import x509

from troth.edge.identity.files import Identity
from troth.edge.identity.peer_chain import presented_chain
from troth.edge.inbound.asgi import Application, Receive, Scope, Send
from troth.edge.inbound.connections import handshakes, timed
from troth.edge.inbound.connections.handshakes import Handshakes
from troth.edge.inbound.connections.heads import MAX_HEAD, is_too_large
from troth.edge.inbound.connections.limits import ConnectionLimits
from troth.edge.inbound.connections.timed import ConnectionGuard, TimedConnection
from troth.pki.encodings.pem import UNREADABLE

_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
_IMPLEMENTATIONS = {
    "h11": ("uvicorn.protocols.http.h11_impl", "H11Protocol"),
    "httptools": ("uvicorn.protocols.http.httptools_impl", "HttpToolsProtocol"),
}

_TOO_LARGE_STATUS = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
_TOO_LARGE = (
    f"HTTP/1.1 {_TOO_LARGE_STATUS.value} {_TOO_LARGE_STATUS.phrase}\r\n"
    "Content-Length: 0\r\nConnection: close\r\n\r\n"
).encode()


class Config(uvicorn.Config):
    """Configuration of a server that leaves TLS to its connections (`Handshakes`).

    uvicorn's own log line therefore names the scheme `http`.
    """

    def __init__(
        self,
        app: Any,  # noqa: ANN401 - uvicorn's type
        limits: ConnectionLimits,
        base: type[asyncio.Protocol],
        **settings: Any,  # noqa: ANN401 - uvicorn's settings
    ) -> None:
        factory: Any = self._connection  # uvicorn calls a class
        super().__init__(app, http=factory, **settings)
        self._limits = limits
        self._guard = ConnectionGuard(limits)
        mixin = _HttpTools if hasattr(base, "on_message_begin") else _H11
        self._class: type[TimedConnection] = type(f"Guarded{base.__name__}", (mixin, base), {})
        self._handshakes: Handshakes | None = None

    def load(self) -> None:
        """Load the application, and keep the TLS context from uvicorn."""
        super().load()
        assert self.ssl is not None
        self._handshakes = Handshakes(self.ssl, self._limits, self._guard.on_refused)
        self.ssl = None

    def _connection(self, **state: Any) -> asyncio.BaseProtocol:  # noqa: ANN401
        assert self._handshakes is not None
        connection = self._class(**state)
        connection.guard = self._guard
        return self._handshakes.protocol(connection)


def config(
    app: Any,  # noqa: ANN401 - uvicorn's type
    identity: Identity,
    *,
    limits: ConnectionLimits | None = None,
    **settings: Any,  # noqa: ANN401 - uvicorn's settings
) -> uvicorn.Config:
    """Return the configuration of a server that presents an identity and follows its files.

    `limits` bound its connections. A handshake, and the head of a request, must arrive within
    seconds (`handshakes`, `timed`), and a head has a maximum size (`heads`), which replaces
    uvicorn's `h11_max_incomplete_event_size`. `settings` are uvicorn's own, and uvicorn reads no
    `X-Forwarded-…` headers unless they have `proxy_headers`. `http` may be `"h11"` or
    `"httptools"` and defaults to uvicorn's choice. The event loop is asyncio's, because uvloop's
    connections do not work with `handshakes`. The server raises `IdentityError` when it starts
    without an identity.
    """
    return Config(
        app,
        limits or ConnectionLimits(),
        protocol(settings.pop("http", "auto")),
        **{
            "proxy_headers": False,
            **settings,
            "loop": "asyncio",
            "ssl_context_factory": lambda *_: identity.server_context(),
        },
    )


@cache
def protocol(implementation: str = "auto") -> type[asyncio.Protocol]:
    """Return the protocol class for `uvicorn.Config(http=…)`: `h11`, `httptools`, or `auto`."""
    if implementation == "auto":
        implementation = "httptools" if find_spec("httptools") else "h11"
    module, name = _IMPLEMENTATIONS[implementation]
    base = getattr(import_module(module), name)
    return cast("type[asyncio.Protocol]", type(f"TLS{name}", (_PassesTLS, base), {}))


class _Guarded(TimedConnection):
    """Connection on which a head must be small and arrive in time.

    The application reads bodies at its pace. After a rejection, nothing more is read.
    """

    timeout_keep_alive: float
    has_large_head = False
    _is_refused = False

    def _head_begins(self) -> None:
        self.is_partial, self.due = True, self.loop.time() + timed.REQUEST_WITHIN

    def _head_ends(self) -> None:
        self.is_partial, self.due = False, math.inf

    def data_received(self, data: bytes) -> None:
        """Parse input, unless the connection is closing."""
        if not self._is_refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Reject a request that the parser rejects."""
        if self.has_large_head:
            self._refuse_head()
        else:
            self._is_refused = True
            super().send_400_response(msg)

    def _refuse_head(self) -> None:
        """Reject a head that is too large; abort if an earlier request is not answered yet."""
        self._is_refused = True
        self.guard.on_refused("head-too-large")
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.abort()
            return
        self.due = self.loop.time() + handshakes.LINGER
        self.transport.write(_TOO_LARGE)
        self.transport.close()

    def on_response_complete(self) -> None:
        """Let uvicorn close an idle connection; empty lines do not keep it open for longer."""
        super().on_response_complete()
        if self.is_idle:
            self.due = self.loop.time() + self.timeout_keep_alive + timed.REQUEST_WITHIN

    def handle_websocket_upgrade(self, *event: Any) -> None:  # noqa: ANN401 - differs by class
        """Leave the connection to the protocol of WebSockets."""
        self._watching.cancel()
        self.guard.connected.discard(self)
        super().handle_websocket_upgrade(*event)


class _HttpTools(_Guarded):
    """llhttp has no bounds, and uvicorn adds trailers to the headers: both are done here."""

    parser: Any
    url: bytes
    headers: list[tuple[bytes, bytes]]
    _unparsed = 0
    """Bytes that have arrived of a head, of trailers, or of the line that begins a chunk."""

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_HEAD and not self._is_refused:
            self._refuse_head()

    def on_message_begin(self) -> None:
        self._head_begins()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        is_trailer = not self.is_partial
        if not is_trailer:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        self._head_ends()
        if is_too_large(self.parser.get_method(), self.url, self.headers):
            self.has_large_head = True
            raise ValueError("the head is too large")  # stops the parser; it does not propagate
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        self._unparsed = 0

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        super().on_message_complete()


class _H11(_Guarded):
    conn: "_H11Connection"

    def __init__(self, **state: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(**state)
        self.conn = _H11Connection(h11.SERVER, MAX_HEAD)

    @property
    def has_large_head(self) -> bool:  # type: ignore[override]
        """Whether the parser has rejected a head because of its size."""
        return self.conn.has_large_head

    def handle_events(self) -> None:
        super().handle_events()
        if self._is_refused:
            return
        head_is_due = self.conn.their_state is h11.IDLE
        if not head_is_due:
            self._head_ends()
        elif self.conn.trailing_data[0] and not self.is_partial:
            self._head_begins()


class _H11Connection(h11.Connection):
    """h11 bounds a head only while it is incomplete."""

    has_large_head = False

    def next_event(self) -> Any:  # noqa: ANN401 - h11's events
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.has_large_head = error.error_status_hint == _TOO_LARGE_STATUS
            raise
        if isinstance(event, h11.Request) and is_too_large(
            event.method, event.target, list(event.headers)
        ):
            self.has_large_head = True
            raise h11.RemoteProtocolError("the head is too large", _TOO_LARGE_STATUS)
        return event


class _PassesTLS(asyncio.Protocol):
    """Passes the TLS state of a connection to the application."""

    app: Application

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            self.app = _WithTLS(self.app, tls_extension(connection))


class _WithTLS:
    """The application of one connection, with its TLS state."""

    def __init__(self, app: Application, tls: dict[str, Any]) -> None:
        self._app = app
        self._tls = tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})["tls"] = self._tls
        await self._app(scope, receive, send)


def tls_extension(connection: ssl.SSLObject) -> dict[str, Any]:
    """Return the ASGI TLS extension of a connection.

    It omits the server's own certificate, as the extension allows, because that is the identity's.
    """
    chain = presented_chain(connection)
    cipher = connection.cipher()
    return {
        "server_cert": None,
        "client_cert_chain": chain,
        "client_cert_name": _name(chain[0]) if chain else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(connection.version() or ""),
        "cipher_suite": _cipher_suite(cipher[0]) if cipher else None,
    }


def _name(pem: str) -> str | None:
    try:
        return x509.load_pem_x509_certificate(pem.encode("ascii")).subject.rfc4514_string()
    except UNREADABLE:
        return None


@lru_cache(maxsize=64)
def _cipher_suite(name: str) -> int | None:
    ciphers = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).get_ciphers()
    return next((each["id"] & 0xFFFF for each in ciphers if each["name"] == name), None)
