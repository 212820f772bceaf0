"""Where a request comes from: its address, and the certificate that its sender has shown.

Neither proves that a delivery is the sender's; both are asked beside the signature, never instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from troth.webhooks.endpoint import ClientCertificate, EndpointError, Source

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORWARDED = b"x-forwarded-for"
_DEEPEST = 4
_KEPT = 64
"""Chains that are remembered as verified, for each endpoint: a sender shows one every time."""


class Proxies:
    """The proxies before the gateway, by their addresses, which may say for whom they ask."""

    def __init__(self, cidrs: Iterable[str] = ()) -> None:
        """Raise `ValueError` for what is no CIDR."""
        self._networks = _networks(cidrs)

    def sender(self, scope: Mapping[str, Any]) -> Address | None:
        """Return the address that a request comes from, None where that is not known.

        X-Forwarded-For is believed from a trusted proxy only, and from its end: each proxy adds
        whom it sees itself, so the last address that is no proxy's is the sender's, and what
        stands before it anybody may have written.
        """
        client = scope.get("client")
        address = _address(client[0]) if client else None
        if address is None or not _within(address, self._networks):
            return address
        said = [value for name, value in scope["headers"] if name == _FORWARDED]
        for each in reversed(b",".join(said).split(b",") if said else []):
            address = _address(each.strip().decode("latin-1"))
            if address is None or not _within(address, self._networks):
                return address
        return address


class Admission:
    """What one endpoint demands of where requests come from."""

    def __init__(self, source: Source) -> None:
        """Raise `EndpointError` for authorities that cannot be read."""
        self._networks = _networks(source.cidrs)
        self._shown = _Shown(source.client_certificate) if source.client_certificate else None

    def refusal(self, sender: Address | None, scope: Mapping[str, Any], now: float) -> str | None:
        """Return why a request is not looked at, None where it is."""
        if self._networks and (sender is None or not _within(sender, self._networks)):
            return "address-unexpected"
        if self._shown is None:
            return None
        tls = scope.get("extensions", {}).get("tls") or {}
        chain = tuple(tls.get("client_cert_chain") or ())
        if not chain:
            return "certificate-missing"
        return None if self._shown.accepts(chain, now) else "certificate-unexpected"


class _Shown:
    """The client certificates that are accepted, by their names and their roots.

    TLS has seen that the sender has the key, and has verified against the roots of all endpoints
    at once; against those of this endpoint the certificate is verified here.
    """

    def __init__(self, wanted: ClientCertificate) -> None:
        self._names = frozenset(map(_name, wanted.sans))
        try:
            roots = x509.load_pem_x509_certificates(wanted.authorities.encode())
        except ValueError:
            raise EndpointError("source.clientCertificate: no certificates in PEM") from None
        self._store = Store(roots)
        self._known: dict[tuple[str, ...], float] = {}

    def accepts(self, chain: tuple[str, ...], now: float) -> bool:
        known = self._known.get(chain)
        if known is not None and now < known:
            return True
        until = self._until(chain, now)
        if until is None:
            self._known.pop(chain, None)
            return False
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[chain] = until
        return True

    def _until(self, chain: Sequence[str], now: float) -> float | None:
        """Return until when a chain is good, None where it is not."""
        try:
            leaf, *others = [x509.load_pem_x509_certificate(each.encode()) for each in chain]
            policy = PolicyBuilder().store(self._store).max_chain_depth(_DEEPEST)
            verifier = policy.time(datetime.fromtimestamp(now, UTC)).build_client_verifier()
            verified = verifier.verify(leaf, others)
        except (VerificationError, ValueError, x509.UnsupportedGeneralNameType):
            return None
        if self._names.isdisjoint(verified.subjects or ()):
            return None
        return min(each.not_valid_after_utc.timestamp() for each in verified.chain)


def _name(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    if kind == "URI" and value:
        return x509.UniformResourceIdentifier(value)
    if kind == "DNS" and value:
        return x509.DNSName(value)
    raise EndpointError("source.clientCertificate: a name is URI:… or DNS:…")


def _networks(cidrs: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ip_network(each) for each in cidrs)


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in each for each in networks)


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both families has IPv4 addresses as ::ffff:192.0.2.1, and CIDRs do not.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
