"""The gateway on the network: uvicorn with httptools, and connections that `connections` holds to
one reading of HTTP.

No other server is supported. Each would need a guard of its own, since what is not refused within
the parser cannot be seen by an application any more: Granian takes a Content-Length beside a
Transfer-Encoding, and lines that end in a bare LF; Robyn's worker dies of a legal trailer; and
neither gives the certificate of the client to the application, without which none can be pinned.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from troth.edge.inbound.asgi import Application
from troth.webhooks.gateway.connection.connections import Connection, Refused, UnderWay
from troth.webhooks.gateway.connection.handshakes import Handshakes

LASTS = 120.0
"""Seconds that a connection is used, a tenth more or less: senders must find new replicas too."""
MOST_CONNECTIONS = 4096
SHUTDOWN = 40
"""Seconds that connections have to end when the gateway stops: twice what a delivery may take."""
LAST_ONES = 30.0
"""Seconds that what is left then, as its sender has gone, has to end: as long as it is claimed."""


class Server(uvicorn.Server):
    """Serves until `stop`; signals are for whoever runs it.

    With a TLS context it speaks TLS, and without one what a proxy before it speaks.

    A request that has come is never cancelled, whether its sender goes or the server is ended: what
    it has begun at a target is marked, or given up.
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
        self._under_way = UnderWay()
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
                proxy_headers=False,  # which proxy may say what is for the gateway to judge
                server_header=False,
                timeout_graceful_shutdown=SHUTDOWN,
                limit_concurrency=MOST_CONNECTIONS,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and return when no request is left, also where it is cancelled."""
        try:
            await super().serve(sockets)
        finally:
            if self._under_way.requests:
                await asyncio.wait(self._under_way.requests, timeout=LAST_ONES)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. As uvicorn does, but that TLS is `handshakes`'."""
        assert sockets is None
        server = await asyncio.get_running_loop().create_server(
            self._connection, self.config.host, self.config.port, backlog=self.config.backlog
        )
        self.servers = [server]
        self.started = True

    def _connection(self) -> asyncio.BaseProtocol:
        connection = Connection(
            self.config, self.server_state, self._lasts, self._on_refused, self._under_way
        )
        if self._handshakes is None:
            return connection
        return self._handshakes.protocol(connection)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone: uvicorn would raise them again, and end the process on the spot."""
        yield

    def stop(self) -> None:
        """Take no more connections, answer what is there, and return from `serve`."""
        self.should_exit = True
