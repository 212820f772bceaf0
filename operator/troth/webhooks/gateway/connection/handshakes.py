"""TLS handshakes with small buffers, and a limit on their number.

asyncio allocates a buffer of 256 KiB for each TLS connection before the first byte arrives, so a
few thousand silent connections would exhaust a replica's memory. A buffer of one TLS record is
enough.
"""

import asyncio
import ssl
from asyncio import sslproto
from typing import Any

from troth.webhooks.gateway.connection.connections import LINGER, Connection, Refused

WITHIN = 10
"""Maximum time of a handshake in seconds."""
MOST = 1024
"""Maximum number of handshakes in progress. If there are more, the oldest is aborted. An attacker
therefore blocks an honest client only by starting more than this number during its handshake.
"""
_RECORD = 16 * 1024  # RFC 8446, section 5.1

_NOBODY: Any = None
"""Placeholder for the handshake's waiter, which typeshed requires."""


class Handshakes:
    """Handshakes in progress on one server."""

    def __init__(self, context: ssl.SSLContext, on_refused: Refused) -> None:
        self.context = context
        self.on_refused = on_refused
        self.begun: dict[_TLS, None] = {}

    def protocol(self, connection: Connection) -> asyncio.BaseProtocol:
        """Return the TLS protocol for a newly accepted connection."""
        return _TLS(self, connection)


class _TLS(sslproto.SSLProtocol):
    max_size = _RECORD

    def __init__(self, handshakes: Handshakes, connection: Connection) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            connection,
            handshakes.context,
            _NOBODY,
            server_side=True,
            ssl_handshake_timeout=WITHIN,
            ssl_shutdown_timeout=LINGER,
        )
        self._handshakes = handshakes
        self._connection = connection
        self._beneath: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._beneath = transport
        begun = self._handshakes.begun
        begun[self] = None
        super().connection_made(transport)
        if len(begun) > MOST:
            oldest = next(iter(begun))
            del begun[oldest]
            oldest.give_up()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._handshakes.begun.pop(self, None)
        super().connection_lost(exc)

    def give_up(self) -> None:
        """Abort the connection unless its handshake is complete."""
        if self._connection.transport is None:
            self._beneath.abort()
            self._handshakes.on_refused("no-room")
