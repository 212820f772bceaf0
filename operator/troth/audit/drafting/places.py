"""Addresses that are not a pod's and have a meaning of their own."""

from dataclasses import dataclass

from troth.audit.scene import Scene
from troth.audit.traffic.pod_networks import PodNetworks


@dataclass(frozen=True, slots=True)
class Places:
    """What addresses mean."""

    nodes: frozenset[str]
    api_server: frozenset[tuple[str, int]]
    pod_networks: PodNetworks

    @classmethod
    def of(cls, scene: Scene) -> "Places":
        """Return the places that a scene shows."""
        api_server = frozenset(
            (str(address), int(port["port"]))
            for each in scene.objects("EndpointSlice", "default")
            if each["metadata"]["name"] == "kubernetes"
            for endpoint in each.get("endpoints") or ()
            for address in endpoint.get("addresses") or ()
            for port in each.get("ports") or ()
        )
        return cls(scene.traffic.nodes, api_server, PodNetworks.of(scene))

    def is_api_server(self, network: str, port: int) -> bool:
        """Return whether a network is one address, at which the API server has this port."""
        address, _, width = network.partition("/")
        return width in ("", "32", "128") and (address, port) in self.api_server
