"""Evaluator of NetworkPolicies, written from the Kubernetes documentation alone.

https://kubernetes.io/docs/concepts/services-networking/network-policies/ and the API reference of
`networking.k8s.io/v1`. It shares no code with Troth.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod, or without a namespace an address outside the cluster."""

    namespace: str
    labels: Mapping[str, str]
    address: str
    named_ports: Mapping[str, int] = field(default_factory=dict)


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector matches: all of matchLabels and matchExpressions must.

    An empty selector matches everything.
    """
    for key, value in (selector.get("matchLabels") or {}).items():
        if key not in labels or labels[key] != value:
            return False
    for requirement in selector.get("matchExpressions") or []:
        key, values = requirement["key"], requirement.get("values") or []
        holds = {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }[requirement["operator"]]
        if not holds:
            return False
    return True


@lru_cache(maxsize=4096)
def within(address: str, cidr: str) -> bool:
    return ip_address(address) in ip_network(cidr)


@dataclass(frozen=True)
class Network:
    """Namespaces with their labels, and policies."""

    namespaces: Mapping[str, Mapping[str, str]]
    policies: tuple[Manifest, ...]

    def lets(self, source: Pod, destination: Pod, port: int, protocol: str) -> bool:
        """Return whether the source's egress and the destination's ingress allow a connection."""
        leaves = self.allows("Egress", source, destination, port, protocol)
        return leaves and self.allows("Ingress", destination, source, port, protocol)

    def isolated(self, pod: Pod, direction: str) -> bool:
        """Return whether a policy of that direction selects the pod."""
        return bool(self._selecting(pod, direction))

    def allows(self, direction: str, pod: Pod, peer: Pod, port: int, protocol: str) -> bool:
        """Return whether one rule of one policy allows it, because policies are additive."""
        destination = pod if direction == "Ingress" else peer
        selecting = self._selecting(pod, direction)
        side, where = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
        return not selecting or any(
            self._is_peer(policy, rule.get(where), peer)
            and _is_port(rule.get("ports"), destination, port, protocol)
            for policy in selecting
            for rule in policy["spec"].get(side) or []
        )

    def _selecting(self, pod: Pod, direction: str) -> list[Manifest]:
        return [
            policy
            for policy in self.policies
            if pod.namespace
            and policy["metadata"]["namespace"] == pod.namespace
            and direction in _types(policy["spec"])
            and selects(policy["spec"].get("podSelector") or {}, pod.labels)
        ]

    def _is_peer(self, policy: Manifest, peers: list[Manifest] | None, pod: Pod) -> bool:
        """An absent or empty list of peers allows every peer."""
        if not peers:
            return True
        return any(self._is_one(policy, peer, pod) for peer in peers)

    def _is_one(self, policy: Manifest, peer: Manifest, pod: Pod) -> bool:
        block = peer.get("ipBlock")
        if block is not None:
            excepted = any(within(pod.address, each) for each in block.get("except") or [])
            return within(pod.address, block["cidr"]) and not excepted
        if not pod.namespace:
            return False
        spaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
        if spaces is None:
            here = pod.namespace == policy["metadata"]["namespace"]
        else:
            here = selects(spaces, self.namespaces[pod.namespace])
        return here and (pods is None or selects(pods, pod.labels))


def _types(spec: Manifest) -> list[str]:
    """The default policyTypes: Ingress always, Egress if there are egress rules."""
    given = spec.get("policyTypes")
    if given:
        return list(given)
    return ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _is_port(ports: list[Manifest] | None, destination: Pod, port: int, protocol: str) -> bool:
    """An absent or empty list of ports allows every port; the protocol defaults to TCP."""
    if not ports:
        return True
    for each in ports:
        if each.get("protocol", "TCP") != protocol:
            continue
        number = each.get("port")
        if number is None:
            return True
        if isinstance(number, str):
            number = destination.named_ports.get(number)
        if number is not None and number <= port <= each.get("endPort", number):
            return True
    return False
