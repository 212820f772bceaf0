"""The endpoint on the network: uvicorn, with TLS that follows its files and connections that end.

TLS verifies a caller's certificate once, when a connection begins. So that nobody lives on what was
true then, a connection ends after two minutes, and when the roots change: an idle one at once, a
busy one with its answer. So that nobody holds a place for nothing, a request is whole in seconds.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from troth.edge.frameworks import uvicorn as edge
from troth.issuer.tls import TLSFiles

LASTS = 120.0
"""Seconds that a connection is used, a tenth more or less: a fleet must not return at once."""
GRACE = 30.0
"""Seconds after which a connection that should have ended is cut."""
IDLE = 30
"""Seconds that a connection waits for its next request."""
LOOK_EVERY = 1.0
"""Seconds between two looks at the TLS files."""
MOST_CONNECTIONS = 2048
WHOLE_WITHIN = 10.0
"""Seconds from the beginning of a connection, or of a request, until the request is there whole."""
LINGER = 1.0
"""Seconds that a caller has to say goodbye too, where TLS wants both sides to."""
_SHUTDOWN = 10
"""Seconds that requests have to end when the issuer stops."""


class Server(uvicorn.Server):
    """Serves until `stop`; signals are for whoever runs it."""

    def __init__(
        self, app: ASGIApp, files: TLSFiles, host: str, port: int, *, lasts: float = LASTS
    ) -> None:
        self._files = files
        super().__init__(
            uvicorn.Config(
                app,
                host,
                port,
                http=_protocol(files, lasts),
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # what a proxy says of a caller is nothing to an issuer
                server_header=False,
                timeout_keep_alive=IDLE,
                timeout_graceful_shutdown=_SHUTDOWN,
                limit_concurrency=MOST_CONNECTIONS,
                ssl_context_factory=lambda *_: files.context,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again, and end the process on the spot."""
        yield

    def stop(self) -> None:
        """Take no more connections, end those there are, and return from `serve`."""
        self.should_exit = True

    async def follow_files(self) -> None:
        """Look at the TLS files until cancelled; end what was verified by other roots."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._files.look():
                self.end_connections()

    def end_connections(self) -> None:
        """Close each idle connection, and the others with their answers."""
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpToolsProtocol):
                connection.shutdown()


def _protocol(files: TLSFiles, lasts: float) -> type[HttpToolsProtocol]:
    """Return the protocol of connections that tell of their TLS, and end in time."""
    base: Any = edge.protocol("httptools")

    class Connection(base):
        def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn's signature
            super().connection_made(transport)
            self._roots = files.roots
            life = lasts * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, no secret
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
                self.cycle.keep_alive = False  # the answer says so, and then it is closed

    return cast(type[HttpToolsProtocol], Connection)
