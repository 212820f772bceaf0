"""Networks from which nodes give addresses to pods."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from troth.audit.scene import Scene


@dataclass(frozen=True, slots=True)
class PodNetworks:
    """Networks of pods, as Nodes and the pods themselves show them."""

    networks: tuple[IPv4Network | IPv6Network, ...]

    @classmethod
    def of(cls, scene: Scene) -> "PodNetworks":
        """Return the networks of a scene."""
        found = {
            str(cidr)
            for node in scene.objects("Node")
            for cidr in (node.get("spec") or {}).get("podCIDRs") or ()
        }
        for namespace in scene.namespaces():
            for pod in scene.pods_in(namespace):
                if not pod.spec.host_network:
                    found |= {_around(address) for address in pod.addresses}
        return cls(tuple(map(ip_network, sorted(found))))

    def __contains__(self, address: str) -> bool:
        return any(ip_address(address) in each for each in self.networks)


def _around(address: str) -> str:
    """Return the network from which a pod's node takes addresses, as most cluster networks do."""
    width = 64 if ":" in address else 24
    return str(ip_network(f"{address}/{width}", strict=False))
