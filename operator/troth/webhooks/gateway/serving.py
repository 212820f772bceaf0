"""The gateway's server.

A request that was received is never cancelled, so that a delivery which the target may have seen is
committed or abandoned.
"""

import ssl
from collections.abc import Hashable
from dataclasses import replace
from ipaddress import IPv6Address

from troth.edge.inbound.asgi import Application
from troth.edge.inbound.connections.limits import ConnectionLimits, Refused, peer_address
from troth.serving.http_server import LIFETIME, HTTPServer
from troth.webhooks.gateway.certificates import is_public
from troth.webhooks.gateway.connection.source import Proxies

LIMITS = ConnectionLimits(connections=4096, handshakes=1024, per_peer=256)
SHUTDOWN = 40
"""Seconds that pending requests have when the gateway stops: twice the timeout of a delivery."""
LAST_ONES = 30.0
"""Seconds that the rest has after that, although their senders are gone: as long as a claim."""
_NETWORK = 64
"""Bits of the IPv6 network of one customer (RFC 6177 gives a site at least one of these)."""


class Server(HTTPServer):
    """Serves TLS with a TLS context; without one a proxy in front must terminate TLS."""

    def __init__(
        self,
        app: Application,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        limits: ConnectionLimits = LIMITS,
        proxies: Proxies | None = None,
        on_refused: Refused = lambda _: None,
        lifetime: float = LIFETIME,
        workers: int = 1,
    ) -> None:
        senders = Senders(proxies or Proxies())
        super().__init__(
            app,
            host,
            port,
            tls=tls,
            limits=replace(limits, peer=senders.peer),
            shutdown=SHUTDOWN,
            last_requests=LAST_ONES,
            lifetime=lifetime,
            on_refused=on_refused,
            workers=workers,
        )


class Senders:
    """The addresses that are those of senders.

    A private address may be that of a load balancer or of a node, which many senders share, and so
    is that of a trusted proxy.
    """

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies

    def peer(self, text: str) -> Hashable | None:
        """Return the public address of a sender, or its IPv6 network; None for other addresses."""
        address = peer_address(text)
        if address is None or not is_public(address) or self._proxies.include(address):
            return None
        return int(address) >> _NETWORK if isinstance(address, IPv6Address) else address
