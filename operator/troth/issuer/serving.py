"""The issuer's server: mutual TLS that follows its files, and connections of limited age.

TLS verifies a caller's certificate once per connection. Therefore a connection ends after two
minutes, and when the roots change: an idle one at once, a busy one with its answer.
"""

from starlette.types import ASGIApp

from troth.edge.inbound.connections.limits import ConnectionLimits, Refused
from troth.issuer.tls import IssuerTLS
from troth.serving.connection import Connection
from troth.serving.http_server import LIFETIME, HTTPServer

LIMITS = ConnectionLimits(connections=1024, handshakes=512, per_peer=128)
"""With these, all buffers fit into the memory limit of the chart. Callers are pods and have
addresses of their own, and one needs a few connections.
"""
_SHUTDOWN = 10


class Server(HTTPServer):
    """Serves the issuer's application with mutual TLS."""

    def __init__(
        self,
        app: ASGIApp,
        files: IssuerTLS,
        host: str,
        port: int,
        *,
        limits: ConnectionLimits = LIMITS,
        lifetime: float = LIFETIME,
        on_refused: Refused = lambda _: None,
        workers: int = 1,
    ) -> None:
        super().__init__(
            app,
            host,
            port,
            tls=files.context,
            limits=limits,
            shutdown=_SHUTDOWN,
            lifetime=lifetime,
            on_refused=on_refused,
            version=lambda: files.roots,
            workers=workers,
        )
        self._files = files

    async def follow_files(self) -> None:
        """Follow the TLS files until cancelled; close connections that other roots verified."""
        await self._files.follow(on_change=self.end_connections)

    def end_connections(self) -> None:
        """Close each idle connection, and each other one with its answer."""
        for connection in list(self.server_state.connections):
            assert isinstance(connection, Connection)
            connection.end()
