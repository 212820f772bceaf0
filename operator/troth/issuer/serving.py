"""The issuer's server: uvicorn, with TLS that follows its files and connections of limited age.

TLS verifies a caller's certificate once per connection. Therefore a connection ends after two
minutes, and when the roots change: an idle one at once, a busy one with its answer. A request must
be complete within seconds, so that no caller occupies a connection without using it.
"""

import random
from typing import Any, cast

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from troth.edge.frameworks import uvicorn as edge
from troth.issuer.tls import IssuerTLS
from troth.serving.http_server import LIFETIME, HTTPServer

GRACE = 30.0
"""Seconds after which a connection that should have ended is aborted."""
IDLE = 30
"""Seconds for which a connection waits for its next request."""
MOST_CONNECTIONS = 2048
WHOLE_WITHIN = 10.0
"""Seconds from the start of a connection, or of a request, until the request must be complete."""
LINGER = 1.0
"""Seconds that a caller gets to close its side of TLS."""
_SHUTDOWN = 10


class Server(HTTPServer):
    """Serves the issuer's application with mutual TLS."""

    def __init__(
        self, app: ASGIApp, files: IssuerTLS, host: str, port: int, *, lifetime: float = LIFETIME
    ) -> None:
        super().__init__(
            app,
            host,
            port,
            connections=MOST_CONNECTIONS,
            shutdown=_SHUTDOWN,
            http=_protocol(files, lifetime),
            timeout_keep_alive=IDLE,
            ssl_context_factory=lambda *_: files.context,
        )
        self._files = files

    async def follow_files(self) -> None:
        """Follow the TLS files until cancelled; close connections that other roots verified."""
        await self._files.follow(on_change=self.end_connections)

    def end_connections(self) -> None:
        """Close each idle connection, and each other one with its answer."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpToolsProtocol):
                connection.shutdown()


def _protocol(files: IssuerTLS, lifetime: float) -> type[HttpToolsProtocol]:
    """Return a protocol whose connections pass on their TLS state and have a limited age."""
    base: Any = edge.protocol("httptools")

    class Connection(base):
        def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn's signature
            super().connection_made(transport)
            self._roots = files.roots
            life = lifetime * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, no secret
            self._ends = self.loop.time() + life
            self._cut = self.loop.call_later(life + GRACE, transport.abort)
            self._late = self.loop.call_later(WHOLE_WITHIN, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self._cut.cancel()
            self._late.cancel()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._late.cancelled():
                self._late = self.loop.call_later(WHOLE_WITHIN, self.transport.abort)

        def on_message_complete(self) -> None:
            self._late.cancel()
            super().on_message_complete()

        def shutdown(self) -> None:
            super().shutdown()
            if self.transport.is_closing():
                self._cut.cancel()
                self._cut = self.loop.call_later(LINGER, self.transport.abort)

        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            if self.loop.time() >= self._ends or self._roots != files.roots:
                self.cycle.keep_alive = False  # the answer announces the close

    return cast(type[HttpToolsProtocol], Connection)
