"""Which connections one NetworkPolicy allows, as enforcers agree on it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from troth.resources.selectors import LabelSelector
from troth.trust.selectors import matches

Spec = Mapping[str, Any]
Network = IPv4Network | IPv6Network

HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class End:
    """The other end of a connection, as a NetworkPolicy sees it."""

    addresses: tuple[str, ...] = ()
    """All IP addresses that it may have."""
    namespace: str = ""
    """Namespace of the pods; empty for an address that is no pod's."""
    namespace_labels: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class PortNumber:
    """Port at which a connection ends."""

    number: int
    protocol: str


class Policy:
    """Spec of a NetworkPolicy, compiled once, because it judges many connections."""

    def __init__(self, spec: Spec, namespace: str) -> None:
        """Compile a spec. `namespace` is the policy's."""
        self._sides = {
            direction: [_Rule.of(each, peers, namespace) for each in spec.get(side) or ()]
            for direction, side, peers in (
                ("Ingress", "ingress", "from"),
                ("Egress", "egress", "to"),
            )
            if direction in _types(spec)
        }

    def allows(self, direction: str, peer: End, port: PortNumber) -> bool:
        """Return whether the policy allows a connection with a peer. It selects the pod.

        `direction` is `Ingress` or `Egress`. A port that is a name allows nothing, because it
        depends on the pod; Troth writes numbers. A block counts only if it has every address of
        the peer.
        """
        rules = self._sides.get(direction)
        return rules is None or any(each.allows(peer, port) for each in rules)


def _types(spec: Spec) -> Iterable[str]:
    types = spec.get("policyTypes")
    if types:
        return list(types)
    return ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


@dataclass(frozen=True, slots=True)
class _Rule:
    peers: "tuple[_Block | _Pods, ...]"
    """Peers; without any, all are."""
    ports: tuple[tuple[str, int, int], ...]
    """Protocol, first and last port; without any, all are."""
    every_port: bool

    @classmethod
    def of(cls, rule: Spec, peers: str, namespace: str) -> "_Rule":
        ports = rule.get("ports") or ()
        return cls(
            tuple(_peer(each, namespace) for each in rule.get(peers) or ()),
            tuple(found for each in ports if (found := _ports(each)) is not None),
            not ports,
        )

    def allows(self, end: End, port: PortNumber) -> bool:
        is_port = self.every_port or any(
            protocol == port.protocol and first <= port.number <= last
            for protocol, first, last in self.ports
        )
        return is_port and (not self.peers or any(each.has(end) for each in self.peers))


@dataclass(frozen=True, slots=True)
class _Block:
    network: Network
    without: tuple[Network, ...]

    def has(self, end: End) -> bool:
        return bool(end.addresses) and all(map(self._has, end.addresses))

    def _has(self, text: str) -> bool:
        address = _address(text)
        return address in self.network and not any(address in each for each in self.without)


@dataclass(frozen=True, slots=True)
class _Pods:
    namespace: str
    """Namespace, if `spaces` is None."""
    spaces: LabelSelector | None
    pods: LabelSelector | None

    def has(self, end: End) -> bool:
        if not end.namespace:
            return False
        if self.spaces is None:
            here = end.namespace == self.namespace
        else:
            here = matches(self.spaces, end.namespace_labels or {})
        return here and (self.pods is None or matches(self.pods, end.labels or {}))


def _peer(peer: Spec, namespace: str) -> _Block | _Pods:
    block = peer.get("ipBlock")
    if block is not None:
        return _Block(ip_network(block["cidr"]), tuple(map(ip_network, block.get("except") or ())))
    spaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
    return _Pods(namespace, _selector(spaces), _selector(pods))


def _selector(selector: Spec | None) -> LabelSelector | None:
    return None if selector is None else LabelSelector.model_validate(selector)


def _ports(listed: Spec) -> tuple[str, int, int] | None:
    """Return protocol, first and last port; None for a name."""
    protocol, first = str(listed.get("protocol", "TCP")), listed.get("port")
    if first is None:
        return protocol, 0, HIGHEST_PORT
    return (protocol, first, listed.get("endPort", first)) if isinstance(first, int) else None


@lru_cache(maxsize=4096)
def _address(text: str) -> IPv4Address | IPv6Address:
    return ip_address(text)
