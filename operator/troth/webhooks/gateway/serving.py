"""The gateway's server: uvicorn with httptools, and connections that accept one reading of HTTP.

No other server is supported. An application cannot see what a lenient parser accepts, so each
server needs its own guard. Granian accepts Content-Length beside Transfer-Encoding, and lines that
end in a bare LF. Robyn's worker crashes on a legal trailer. Neither passes the client certificate
to the application, so none could be pinned.
"""

import asyncio
import socket
import ssl

from troth.edge.inbound.asgi import Application
from troth.serving.http_server import LIFETIME, HTTPServer
from troth.webhooks.gateway.connection.connections import Connection, OpenRequests, Refused
from troth.webhooks.gateway.connection.handshakes import Handshakes

MOST_CONNECTIONS = 4096
SHUTDOWN = 40
"""Seconds that pending requests have when the gateway stops: twice the timeout of a delivery."""
LAST_ONES = 30.0
"""Seconds that the rest has after that, although their senders are gone: as long as a claim."""


class Server(HTTPServer):
    """Serves TLS with a TLS context; without one a proxy in front must terminate TLS.

    A request that was received is never cancelled, even if its sender disconnects or the server
    stops, so that a delivery which the target may have seen is committed or abandoned.
    """

    def __init__(
        self,
        app: Application,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        on_refused: Refused = lambda _: None,
        lifetime: float = LIFETIME,
    ) -> None:
        super().__init__(app, host, port, connections=MOST_CONNECTIONS, shutdown=SHUTDOWN)
        self._handshakes = Handshakes(tls, on_refused) if tls else None
        self._lifetime, self._on_refused = lifetime, on_refused
        self._open_requests = OpenRequests()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and return when no request is pending, even if cancelled."""
        try:
            await super().serve(sockets)
        finally:
            if self._open_requests.requests:
                await asyncio.wait(self._open_requests.requests, timeout=LAST_ONES)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen as uvicorn does, but leave TLS to `handshakes`."""
        assert sockets is None
        server = await asyncio.get_running_loop().create_server(
            self._connection, self.config.host, self.config.port, backlog=self.config.backlog
        )
        self.servers = [server]
        self.started = True

    def _connection(self) -> asyncio.BaseProtocol:
        connection = Connection(
            self.config, self.server_state, self._lifetime, self._on_refused, self._open_requests
        )
        if self._handshakes is None:
            return connection
        return self._handshakes.protocol(connection)
