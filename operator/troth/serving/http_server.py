"""The HTTP server of issuer and gateway: uvicorn with `connection` and limited handshakes.

No other server is supported. An application cannot see what a lenient parser accepts, so each
server needs its own guard. Granian accepts Content-Length beside Transfer-Encoding, and lines that
end in a bare LF. Robyn's worker crashes on a legal trailer. Neither passes the client certificate
to the application, so none could be pinned.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from troth.edge.inbound.asgi import Application
from troth.edge.inbound.connections.handshakes import Handshakes
from troth.edge.inbound.connections.limits import ConnectionLimits, Refused
from troth.edge.inbound.connections.timed import ConnectionGuard
from troth.serving.connection import LARGEST_BODY, MOST_BODIES, Admitting, Connection

LIFETIME = 120.0
"""Seconds for which a connection is used, plus or minus a tenth, so that the reconnects of a fleet
are spread out. Clients find new replicas when they reconnect, and TLS verifies certificates again.
"""


class HTTPServer(uvicorn.Server):
    """Serves until `stop`. The process handles signals.

    A request that was received is not cancelled, even if its client disconnects or the server
    stops.
    """

    def __init__(
        self,
        app: Application,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        limits: ConnectionLimits,
        shutdown: int,
        last_requests: float = 0.0,
        lifetime: float = LIFETIME,
        on_refused: Refused = lambda _: None,
        version: Callable[[], object] = lambda: None,
        workers: int = 1,
    ) -> None:
        """Configure the server.

        Without `tls`, a proxy in front must terminate TLS. `shutdown` is the number of seconds that
        pending requests get when the server stops, and `last_requests` what those get after that
        whose clients are gone. `version` is of what a connection was verified with: if it changes,
        the connection closes with its next answer. With several `workers`, each of their servers
        listens on the port, the kernel spreads the connections, and each has its share of the
        limits.
        """
        limits = limits.shared_by(workers)
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
                proxy_headers=False,  # each application decides which proxies to trust
                server_header=False,
                timeout_graceful_shutdown=shutdown,
                limit_concurrency=limits.connections,
            )
        )
        guard = ConnectionGuard(limits, on_refused)
        self._handshakes = Handshakes(tls, limits, on_refused) if tls else None
        bodies = max(MOST_BODIES // workers, LARGEST_BODY)
        self._admitting = Admitting(guard, lifetime, version, bodies)
        self._shares_port = workers > 1
        self._last_requests = last_requests

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and return when no request is pending, even if cancelled."""
        try:
            await super().serve(sockets)
        finally:
            pending = self._admitting.open_requests.requests
            if pending and self._last_requests:
                await asyncio.wait(pending, timeout=self._last_requests)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen as uvicorn does, but leave TLS to `handshakes`."""
        assert sockets is None
        server = await asyncio.get_running_loop().create_server(
            self._protocol,
            self.config.host,
            self.config.port,
            backlog=self.config.backlog,
            reuse_port=self._shares_port or None,
        )
        self.servers = [server]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, abort handshakes, and end the connections as uvicorn does."""
        for server in self.servers:
            server.close()
        if self._handshakes is not None:
            self._handshakes.close()
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.BaseProtocol:
        connection = Connection(self.config, self.server_state, self._admitting)
        return connection if self._handshakes is None else self._handshakes.protocol(connection)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not handle signals: uvicorn would raise them again, which ends the process at once."""
        yield

    def stop(self) -> None:
        """Accept no more connections, answer pending requests, and let `serve` return."""
        self.should_exit = True
