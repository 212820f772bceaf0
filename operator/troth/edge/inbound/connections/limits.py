"""Bounds on the connections of one server, and the connections in one stage."""

from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T", bound=Hashable)

Refused = Callable[[str], None]
"""Callback that gets one word for each connection or request that a server closes or rejects."""


def peer_address(address: str) -> IPv4Address | IPv6Address | None:
    """Return a peer's address; an IPv4 address in IPv6 form is the IPv4 address.

    None if the text is not an address.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Maximum numbers of connections.

    `connections` bounds established connections, and `handshakes` those that have not completed
    TLS. `per_peer` bounds each of the two for one peer; None does not. Set it only where the
    address of a peer is that of the client: behind a proxy or a NAT, many clients share one. `peer`
    returns under which value an address is counted, None if it is not bounded.
    """

    connections: int = 2048
    handshakes: int = 512
    per_peer: int | None = None
    peer: Callable[[str], Hashable | None] = peer_address

    def shared_by(self, processes: int) -> Self:
        """Return the limits of each of several processes, which together keep these."""
        per_peer = None if self.per_peer is None else max(self.per_peer // processes, 1)
        return replace(
            self,
            connections=max(self.connections // processes, 1),
            handshakes=max(self.handshakes // processes, 1),
            per_peer=per_peer,
        )


class Stage(Generic[T]):
    """Connections of a server in one stage, oldest first, and those of each peer."""

    def __init__(self) -> None:
        self._peers: dict[T, Hashable | None] = {}
        self._of: dict[Hashable | None, dict[T, None]] = {}

    def add(self, connection: T, peer: Hashable | None) -> None:
        """Add a connection as the newest."""
        self._peers[connection] = peer
        self._of.setdefault(peer, {})[connection] = None

    def discard(self, connection: T) -> None:
        """Remove a connection that may have been removed already."""
        if connection in self._peers:
            peer = self._peers.pop(connection)
            del self._of[peer][connection]
            if not self._of[peer]:
                del self._of[peer]

    def of(self, peer: Hashable | None) -> Collection[T]:
        """Return the connections of a peer, oldest first."""
        return self._of.get(peer, {}).keys()

    def of_largest(self) -> Collection[T]:
        """Return the connections of the peer that has the most, oldest first."""
        return max(self._of.values(), key=len, default={}).keys()

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[T]:
        return iter(self._peers)


def peer_of(transport: Any, limits: ConnectionLimits) -> Hashable | None:  # noqa: ANN401 - asyncio's
    """Return under which value the peer of a transport is counted, None if it is not bounded."""
    name = transport.get_extra_info("peername")
    return limits.peer(name[0]) if isinstance(name, tuple) and name else None
