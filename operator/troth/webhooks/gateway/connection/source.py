"""Source of a request: its address, and the client certificate of its sender.

Neither authenticates a delivery. Both are checked in addition to the signature.
"""

from collections.abc import Iterable, Mapping
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_network,
)
from typing import Any

from troth.documents.webhook_endpoint import Source
from troth.edge.inbound.connections.limits import peer_address
from troth.webhooks.gateway.connection.client_certificates import ClientCertificates

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORWARDED = b"x-forwarded-for"


class Proxies:
    """Trusted proxies in front of the gateway, by address."""

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        """Parse the CIDRs; raises `ValueError` for an invalid one."""
        self._networks = _networks(cidrs)

    def include(self, address: Address) -> bool:
        """Return whether an address is that of a trusted proxy."""
        return _within(address, self._networks)

    def sender(self, scope: Mapping[str, Any]) -> Address | None:
        """Return the address of a request's sender, None if it is unknown.

        X-Forwarded-For is used only from a trusted proxy, and read from its end. Each proxy appends
        the address that it sees, so the sender's address is the last one that is not a trusted
        proxy's. A client can forge the addresses before it.
        """
        client = scope.get("client")
        address = peer_address(client[0]) if client else None
        if address is None or not self.include(address):
            return address
        said = [value for name, value in scope["headers"] if name == _FORWARDED]
        for each in reversed(b",".join(said).split(b",") if said else []):
            address = peer_address(each.strip().decode("latin-1"))
            if address is None or not self.include(address):
                return address
        return address


class Admission:
    """Requirements of one endpoint on the source of requests."""

    def __init__(self, source: Source) -> None:
        """Read the requirements; raises `EndpointError` for unreadable roots."""
        self._networks = _networks(source.cidrs)
        wanted = source.client_certificate
        self._certificates = ClientCertificates(wanted) if wanted else None

    def refusal(self, proxies: Proxies, scope: Mapping[str, Any], now: float) -> str | None:
        """Return why a request is rejected because of its source, None if it is accepted."""
        if self._networks:
            sender = proxies.sender(scope)
            if sender is None or not _within(sender, self._networks):
                return "address-unexpected"
        if self._certificates is None:
            return None
        tls = scope.get("extensions", {}).get("tls") or {}
        chain = tuple(tls.get("client_cert_chain") or ())
        if not chain:
            return "certificate-missing"
        return None if self._certificates.accepts(chain, now) else "certificate-unexpected"


def _networks(cidrs: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ip_network(each) for each in cidrs)


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in each for each in networks)
