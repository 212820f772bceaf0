"""Connections above TLS that close when they are late or when a server needs room.

`TimedConnection` is a mixin for uvicorn's protocols; a subclass says when a request begins and when
its head or the whole of it has arrived.
"""

import asyncio
import math
from collections.abc import Collection, Hashable
from typing import Any

from troth.edge.inbound.connections.handshakes import Handshake
from troth.edge.inbound.connections.limits import ConnectionLimits, Refused, Stage, peer_of

REQUEST_WITHIN = 10.0
"""Maximum time in seconds for a request to arrive, from the beginning of the connection or of the
request: for a `strict` connection the whole request, for others its head."""
_CHECK_INTERVAL = 0.5

_Protocol: Any = asyncio.Protocol
"""Base of a mixin, with the methods of whichever of uvicorn's protocols comes after it."""


class ConnectionGuard:
    """Connections of one server, and the room for more of them."""

    def __init__(self, limits: ConnectionLimits, on_refused: Refused = lambda _: None) -> None:
        self.limits = limits
        self.on_refused = on_refused
        self.connected: Stage[TimedConnection] = Stage()

    def admit(self, connection: "TimedConnection", peer: Hashable | None) -> None:
        """Count a new connection, and close another one if there are too many.

        Idle connections are closed before those with an incomplete request, of which the slowest
        is closed: honest clients send a request as fast as the network allows. The peer with the
        most connections comes first. If a peer has too many that are all being answered, the new
        one is closed.
        """
        self.connected.add(connection, peer)
        most = self.limits.per_peer
        own = self.connected.of(peer)
        if most is not None and peer is not None and len(own) > most:
            closed = self._close_one(own, connection)
            if not closed:
                connection.transport.abort()
            self.on_refused("too-many-of-peer")
        elif len(self.connected) >= self.limits.connections:
            largest = self.connected.of_largest()
            if not self._close_one(largest, connection):
                self._close_one(list(self.connected), connection)

    def close_slowest(self) -> None:
        """Close the connection whose request has been incomplete for the longest time."""
        self._close_slowest(list(self.connected))

    def _close_one(
        self, connections: "Collection[TimedConnection]", new: "TimedConnection"
    ) -> bool:
        for each in connections:
            if each is not new and each.is_idle:
                each.transport.abort()
                self.connected.discard(each)
                return True
        return self._close_slowest(connections)

    def _close_slowest(self, connections: "Collection[TimedConnection]") -> bool:
        begun = [each for each in connections if each.is_partial]
        if not begun:
            return False
        slowest = min(begun, key=lambda each: each.due)
        slowest.transport.abort()
        self.connected.discard(slowest)
        self.on_refused("no-room")
        return True


class TimedConnection(_Protocol):
    """Connection with a deadline for what it waits for. A mixin before uvicorn's protocol."""

    guard: ConnectionGuard
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    handshake: Handshake | None = None
    cycle: Any
    """uvicorn's object for the current or last request, None before the first."""
    is_partial = False
    """Whether a part of a request has arrived, but not all that is due in time."""
    ends_at: float = math.inf
    """Time on the loop's clock at which the connection is aborted, whatever it does."""

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - asyncio's signature
        """Start the connection, with a time limit for the first request."""
        super().connection_made(transport)
        if self.handshake is not None:
            self.handshake.complete()
        self.due: float = self.loop.time() + REQUEST_WITHIN
        """Time on the loop's clock by which the next step must have happened."""
        self._watch()
        self.guard.admit(self, peer_of(transport, self.guard.limits))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the watch."""
        self._watching.cancel()
        self.guard.connected.discard(self)
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether every request is answered, and no part of another has arrived."""
        return not self.is_partial and (self.cycle is None or self.cycle.response_complete)

    def _watch(self) -> None:
        """Abort the connection when it is due. Checking twice a second is cheaper than timers."""
        if self.loop.time() >= min(self.due, self.ends_at):
            self.transport.abort()
            return
        interval = min(_CHECK_INTERVAL, REQUEST_WITHIN / 4)
        self._watching = self.loop.call_later(interval, self._watch)
