"""TLS handshakes with small buffers, and limits on their number and time.

asyncio allocates a buffer of 256 KiB and the state of TLS for each connection before its first byte
arrives, so a few thousand silent connections would exhaust a process's memory. Here, a connection
gets the state of TLS with its first byte, and a buffer of one TLS record, which is enough.
"""

import asyncio
import ssl
from asyncio import sslproto
from typing import Any, Protocol

from troth.edge.inbound.connections.limits import ConnectionLimits, Refused, Stage, peer_of

FIRST_BYTE_WITHIN = 5.0
"""Maximum time in seconds until the first byte of a handshake."""
WITHIN = 10
"""Maximum time of a handshake in seconds, from its first byte."""
LINGER = 1.0
"""Seconds that a client gets to close its side of TLS."""
_RECORD = 16 * 1024  # RFC 8446, section 5.1

_NOBODY: Any = None
"""Placeholder for the handshake's waiter, which typeshed requires."""


class Established(Protocol):
    """Protocol of a connection above TLS."""

    handshake: "Handshake | None"
    """Its handshake. The protocol calls `complete` when it is connected."""


class Handshakes:
    """Handshakes in progress on one server.

    If there are too many, the oldest of the peer with the most is aborted. An attacker therefore
    blocks an honest client only by starting more than the maximum during its handshake, and, if
    peers are bounded or distinguishable, from about as many addresses.
    """

    def __init__(
        self, context: ssl.SSLContext, limits: ConnectionLimits, on_refused: Refused
    ) -> None:
        self.context = context
        self.limits = limits
        self.on_refused = on_refused
        self.begun: Stage[Handshake] = Stage()

    def protocol(self, connection: Any) -> asyncio.BaseProtocol:  # noqa: ANN401 - `Established`
        """Return the protocol for a newly accepted connection; `connection` comes above TLS."""
        return Handshake(self, connection)

    def begin(self, handshake: "Handshake", transport: asyncio.Transport) -> None:
        """Count a handshake, and abort another one if there are too many."""
        peer = peer_of(transport, self.limits)
        self.begun.add(handshake, peer)
        most = self.limits.per_peer
        if most is not None and peer is not None and len(self.begun.of(peer)) > most:
            self._abort_oldest(of=self.begun.of(peer), why="too-many-of-peer")
        elif len(self.begun) > self.limits.handshakes:
            self._abort_oldest(of=self.begun.of_largest(), why="no-room")

    def close(self) -> None:
        """Abort all handshakes."""
        for each in list(self.begun):
            each.abort()

    def _abort_oldest(self, of: Any, why: str) -> None:  # noqa: ANN401 - a collection
        oldest: Handshake = next(iter(of))
        self.begun.discard(oldest)
        oldest.abort()
        self.on_refused(why)


class Handshake(asyncio.Protocol):
    """A connection from its acceptance until TLS is established.

    It waits for the first byte, and then hands the connection to the protocol of TLS.
    """

    def __init__(self, handshakes: Handshakes, connection: Any) -> None:  # noqa: ANN401
        self._handshakes = handshakes
        self._connection = connection
        self._transport: asyncio.Transport
        connection.handshake = self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and wait for its first byte."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._late = asyncio.get_running_loop().call_later(FIRST_BYTE_WITHIN, transport.abort)
        self._handshakes.begin(self, transport)

    def data_received(self, data: bytes) -> None:
        """Start TLS with the first bytes."""
        self._late.cancel()
        tls = _TLS(self, self._handshakes.context, self._connection)
        self._transport.set_protocol(tls)
        tls.connection_made(self._transport)
        for start in range(0, len(data), _RECORD):
            if self._transport.is_closing():
                return
            part = data[start : start + _RECORD]
            tls.get_buffer(len(part))[: len(part)] = part
            tls.buffer_updated(len(part))

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Clean up after a connection that never sent a byte."""
        self._late.cancel()
        self.complete()

    def complete(self) -> None:
        """Stop counting: TLS is established, or the connection has ended."""
        self._handshakes.begun.discard(self)
        self._connection.handshake = None

    def abort(self) -> None:
        """Abort the connection."""
        self._transport.abort()


class _TLS(sslproto.SSLProtocol):
    max_size = _RECORD

    def __init__(self, handshake: Handshake, context: ssl.SSLContext, connection: Any) -> None:  # noqa: ANN401
        super().__init__(
            asyncio.get_running_loop(),
            connection,
            context,
            _NOBODY,
            server_side=True,
            ssl_handshake_timeout=WITHIN,
            ssl_shutdown_timeout=LINGER,
        )
        self._handshake = handshake

    def connection_lost(self, exc: BaseException | None) -> None:
        self._handshake.complete()
        super().connection_lost(exc)
