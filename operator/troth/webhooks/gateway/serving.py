"""The gateway's server: uvicorn with httptools, and the strict connections of `connections`.

No other server is supported, because each would need its own checks: an application cannot see what
the parser accepts. Granian accepts Content-Length beside Transfer-Encoding, and lines that end in a
bare LF. A valid trailer crashes Robyn's worker. Neither passes the client certificate to the
application, which pinning requires.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from troth.edge.inbound.asgi import Application
from troth.webhooks.gateway.connection.connections import Connection, OpenRequests, Refused
from troth.webhooks.gateway.connection.handshakes import Handshakes

LASTS = 120.0
"""Time in seconds for which a connection is used, ±10%, so that senders find new replicas."""
MOST_CONNECTIONS = 4096
SHUTDOWN = 40
"""Time in seconds for connections to end when the gateway stops: twice a delivery's maximum."""
LAST_ONES = 30.0
"""Time in seconds for remaining requests, whose senders are gone: as long as a claim lasts."""


class Server(uvicorn.Server):
    """Serves until `stop`; its caller handles signals.

    With a TLS context it serves TLS, otherwise plain HTTP for a proxy in front of it. A request
    that has arrived is never cancelled, whether its sender disconnects or the server stops, so
    every delivery at a target is marked or released.
    """

    def __init__(
        self,
        app: Application,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        on_refused: Refused = lambda _: None,
        lasts: float = LASTS,
    ) -> None:
        self._handshakes = Handshakes(tls, on_refused) if tls else None
        self._lasts, self._on_refused = lasts, on_refused
        self._open_requests = OpenRequests()
        super().__init__(
            uvicorn.Config(
                app,
                host,
                port,
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # the gateway itself decides which proxies to trust
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN,
                limit_concurrency=MOST_CONNECTIONS,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and return when no request is left, even if cancelled."""
        try:
            await super().serve(sockets)
        finally:
            if self._open_requests.requests:
                await asyncio.wait(self._open_requests.requests, timeout=LAST_ONES)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen like uvicorn, but with the TLS of `handshakes`."""
        assert sockets is None
        server = await asyncio.get_running_loop().create_server(
            self._connection, self.config.host, self.config.port, backlog=self.config.backlog
        )
        self.servers = [server]
        self.started = True

    def _connection(self) -> asyncio.BaseProtocol:
        connection = Connection(
            self.config, self.server_state, self._lasts, self._on_refused, self._open_requests
        )
        if self._handshakes is None:
            return connection
        return self._handshakes.protocol(connection)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ignore signals: uvicorn would raise them again and end the process at once."""
        yield

    def stop(self) -> None:
        """Accept no more connections, answer open requests, and return from `serve`."""
        self.should_exit = True
