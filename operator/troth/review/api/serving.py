"""The server of the list API: TLS 1.3 with the worker's SVID, and connections of limited age.

Clients authenticate with bearer tokens, so the server does not require their certificates.
"""

import ssl

from starlette.types import ASGIApp

from troth.edge.identity.files import Identity
from troth.edge.inbound.connections.limits import ConnectionLimits, Refused
from troth.serving.http_server import LIFETIME, HTTPServer

LIMITS = ConnectionLimits(connections=128, handshakes=64)
"""A few people use the API. Through port-forward all have one address, so none is counted apart."""
_SHUTDOWN = 10


class Server(HTTPServer):
    """Serves the list API with the certificate of a mounted identity, which it follows."""

    def __init__(
        self,
        app: ASGIApp,
        identity: Identity,
        host: str,
        port: int,
        *,
        limits: ConnectionLimits = LIMITS,
        lifetime: float = LIFETIME,
        on_refused: Refused = lambda _: None,
    ) -> None:
        """Load the identity; raises `IdentityError` if its files cannot be used."""
        tls: ssl.SSLContext = identity.server_context()
        super().__init__(
            app,
            host,
            port,
            tls=tls,
            limits=limits,
            shutdown=_SHUTDOWN,
            lifetime=lifetime,
            on_refused=on_refused,
        )
