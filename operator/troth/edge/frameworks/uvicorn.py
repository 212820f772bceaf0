"""uvicorn with mutual TLS that follows the identity's files.

uvicorn does not pass TLS state to the application. The protocol classes here add the ASGI TLS
extension (asgiref, specs/tls.rst) for both of its HTTP implementations. uvicorn handles WebSockets
in another class, without the extension, so they are rejected. Requires uvicorn 0.47 or newer, which
accepts a TLS context.
"""

import asyncio
import ssl
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, cast

import uvicorn
from cryptography import x509

from troth.edge.identity.files import Identity
from troth.edge.identity.peer_chain import presented_chain
from troth.edge.inbound.asgi import Application, Receive, Scope, Send
from troth.pki.encodings.pem import UNREADABLE

_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
_IMPLEMENTATIONS = {
    "h11": ("uvicorn.protocols.http.h11_impl", "H11Protocol"),
    "httptools": ("uvicorn.protocols.http.httptools_impl", "HttpToolsProtocol"),
}


def config(
    app: Any,  # noqa: ANN401 - uvicorn's type
    identity: Identity,
    **settings: Any,  # noqa: ANN401 - uvicorn's settings
) -> uvicorn.Config:
    """Return the configuration of a server that presents an identity and follows its files.

    `settings` are uvicorn's own. `http` may be `"h11"` or `"httptools"` and defaults to uvicorn's
    choice. The server raises `IdentityError` when it starts without an identity.
    """
    return uvicorn.Config(
        app,
        http=protocol(settings.pop("http", "auto")),
        ssl_context_factory=lambda *_: identity.server_context(),
        **settings,
    )


@cache
def protocol(implementation: str = "auto") -> type[asyncio.Protocol]:
    """Return the protocol class for `uvicorn.Config(http=…)`: `h11`, `httptools`, or `auto`."""
    if implementation == "auto":
        implementation = "httptools" if find_spec("httptools") else "h11"
    module, name = _IMPLEMENTATIONS[implementation]
    base = getattr(import_module(module), name)
    return cast("type[asyncio.Protocol]", type(f"TLS{name}", (_PassesTLS, base), {}))


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
