"""TLS of connections of which nobody knows yet whose they are: little memory for each, and an end
to how many there are.

asyncio gives each of its TLS connections a buffer of 256 KiB, before a byte has come: some thousand
that never say a word would be all of a replica's memory. One record of TLS is what it takes.
"""

import asyncio
import ssl
from asyncio import sslproto
from typing import Any

from troth.webhooks.gateway.connection.connections import LINGER, Connection, Refused

WITHIN = 10
"""Seconds that a handshake has."""
MOST = 1024
"""Handshakes under way. With so many connections after it one that is not done is cut: who begins
many keeps nobody out, unless more begin than this while an honest one is at it."""
_RECORD = 16 * 1024  # RFC 8446 section 5.1

_NOBODY: Any = None
"""Who waits for a handshake; typeshed would have somebody."""


class Handshakes:
    """Those of one server that are under way."""

    def __init__(self, context: ssl.SSLContext, on_refused: Refused) -> None:
        self.context = context
        self.on_refused = on_refused
        self.begun: dict[_TLS, None] = {}

    def protocol(self, connection: Connection) -> asyncio.BaseProtocol:
        """Return what speaks TLS for a connection that has just been taken."""
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
        """Cut the connection, unless its handshake is done."""
        if self._connection.transport is None:
            self._beneath.abort()
            self._handshakes.on_refused("no-room")
