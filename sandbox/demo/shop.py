"""The manifests of `examples/shop` and what they declare."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sandbox.demo.namespaces import renamed

Manifest = dict[str, Any]

NAMESPACE_NAME = "kubernetes.io/metadata.name"
FOLDER = Path(__file__).parents[2] / "examples" / "shop"
MESSAGES = FOLDER.with_name("messages")
"""The examples of messages, a file for each broker."""
GATEWAY_TRUST = timedelta(days=60)


class Place(NamedTuple):
    """A namespace and a name."""

    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> "Place":
        """Return where an object is."""
        return cls(manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return what `namespace/name` says."""
        return cls(*text.split("/"))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Edge(NamedTuple):
    """A caller, a callee, and the callee's port."""

    caller: Place
    callee: Place
    port: str


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop's manifests."""

    manifests: tuple[Manifest, ...]

    @classmethod
    def read(cls, folder: Path = FOLDER) -> "Shop":
        """Read the folder.

        Sets the end of the gateway-only trust to `GATEWAY_TRUST` from now, because the date in the
        file passes and one too far ahead is rejected.
        """
        manifests = [
            renamed(manifest)
            for file in sorted(folder.glob("*.yaml"))
            for manifest in yaml.safe_load_all(file.read_text())
            if manifest
        ]
        end = (datetime.now(UTC) + GATEWAY_TRUST).strftime("%Y-%m-%dT00:00:00Z")
        for manifest in manifests:
            trust = manifest.get("spec", {}).get("authentication", {}).get("gatewayOnly")
            if trust:
                trust["expiresAt"] = end
        return cls(tuple(manifests))

    def text(self) -> str:
        """Return the manifests as YAML."""
        return yaml.safe_dump_all(self.manifests, sort_keys=False)

    @property
    def identities(self) -> dict[Place, Manifest]:
        """The ServiceIdentities, as declared."""
        return {
            Place.of(manifest): manifest
            for manifest in self.manifests
            if manifest["kind"] == "ServiceIdentity"
        }

    def accepted(self) -> Iterator[tuple[Edge, list[str]]]:
        """Yield the edges that callees declare, with their scopes."""
        for callee, manifest in self.identities.items():
            for entry in manifest["spec"].get("accepts", []):
                if "from" in entry:
                    caller = _seen_from(callee, entry["from"])
                    for port in entry["ports"]:
                        yield Edge(caller, callee, port), entry.get("scopes", [])

    def called(self) -> Iterator[Edge]:
        """Yield the edges that callers declare."""
        for caller, manifest in self.identities.items():
            for entry in manifest["spec"].get("calls", []):
                if "to" in entry:
                    callee = _seen_from(caller, entry["to"])
                    yield from (Edge(caller, callee, port) for port in entry["ports"])

    def agreed(self) -> dict[Edge, list[str]]:
        """Return the edges that both sides declare, with the scopes that the callee grants."""
        called = set(self.called())
        return {edge: scopes for edge, scopes in self.accepted() if edge in called}

    def unverified(self) -> Iterator[tuple[Place, str]]:
        """Yield the callees and ports that accept callers without an identity."""
        for callee, manifest in self.identities.items():
            for entry in manifest["spec"].get("accepts", []):
                if "unverified" in entry:
                    yield from ((callee, port) for port in entry["ports"])

    def collected(self) -> Iterator[tuple[Place, str]]:
        """Yield the callees and ports that accept the metrics collector."""
        for callee, manifest in self.identities.items():
            ports = manifest["spec"].get("exceptions", {}).get("metrics", [])
            yield from ((callee, port) for port in ports)

    def external(self) -> Iterator[tuple[Place, str]]:
        """Yield the callers of hosts outside the cluster, with those hosts."""
        for caller, manifest in self.identities.items():
            for entry in manifest["spec"].get("calls", []):
                if "external" in entry:
                    yield caller, entry["external"]["host"]

    def operators(self) -> Iterator[Place]:
        """Yield the callers of the cluster's API server."""
        for caller, manifest in self.identities.items():
            if any("kubernetesAPI" in entry for entry in manifest["spec"].get("calls", [])):
                yield caller

    def is_enforced(self, place: Place) -> bool:
        """Whether a place is an identity whose NetworkPolicy Troth writes."""
        manifest = self.identities.get(place)
        return manifest is not None and manifest["spec"].get("enforcement") != "Observe"

    def isolated(self) -> set[str]:
        """Return the governed namespaces without an identity in Observe mode."""
        observed = {place.namespace for place in self.identities if not self.is_enforced(place)}
        return {place.namespace for place in self.identities} - observed

    def is_mutual(self, place: Place) -> bool:
        """Whether an identity authenticates with a certificate."""
        return "gatewayOnly" not in self.identities[place]["spec"]["authentication"]

    def ports(self, place: Place) -> dict[str, int]:
        """Return the numbers of an identity's ports by their names."""
        ports = self.identities[place]["spec"]["workload"].get("ports", [])
        return {port["name"]: port["port"] for port in ports}

    def plain(self, place: Place) -> set[str]:
        """Return the names of an identity's ports that accept callers without a certificate."""
        if not self.is_mutual(place):
            return set(self.ports(place))
        opened = (*self.unverified(), *self.collected())
        return {port for callee, port in opened if callee == place}

    def selected(self, peer: Manifest, here: str) -> Place | None:
        """Return the identity whose pods a NetworkPolicy's peer selects; `here` is its namespace.

        `None` for networks, and for pods without an identity.
        """
        namespaces = peer.get("namespaceSelector", {}).get("matchLabels", {})
        namespace = namespaces.get(NAMESPACE_NAME, here)
        for place, manifest in self.identities.items():
            selector = manifest["spec"]["workload"]["podSelector"]
            if place.namespace == namespace and selector == peer.get("podSelector"):
                return place
        return None


def _seen_from(place: Place, reference: dict[str, str]) -> Place:
    return Place(reference.get("namespace", place.namespace), reference["name"])
