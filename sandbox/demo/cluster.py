"""The cluster as its administrator sees it."""

import base64
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sandbox.cluster import Sandbox
from sandbox.demo.errors import DemoError
from sandbox.demo.shop import Edge, Manifest, Place, Shop
from sandbox.node.workload import Files

SECONDS = 60.0
FILES = ("tls.crt", "tls.key", "ca.crt", "identity.json")
"""The files that services read. Keystores are for programs that cannot read PEM."""


@dataclass(frozen=True, slots=True)
class Statuses:
    """Troth's resources with their statuses."""

    resources: tuple[Manifest, ...]

    @property
    def unready(self) -> list[Manifest]:
        """The resources that are not ready, or whose status is of an earlier generation."""
        return [each for each in self.resources if not _is_ready(each)]

    @property
    def identities(self) -> dict[Place, Manifest]:
        """The ServiceIdentities by place."""
        return {
            Place.of(each): each for each in self.resources if each["kind"] == "ServiceIdentity"
        }

    def spiffe_id(self, place: Place) -> str:
        """Return an identity's SPIFFE ID."""
        return str(self.identities[place]["status"]["spiffeID"])

    def live(self, direction: str) -> set[Edge]:
        """Return the edges between identities that are live in the statuses of one side."""
        found = set()
        for place, entry in self._edges():
            named = entry.get("reason") != "Unverified"
            if named and entry["direction"] == direction and entry["state"] == "Live":
                peer = Place.parse(entry["peer"])
                caller, callee = (place, peer) if direction == "Outbound" else (peer, place)
                found |= {Edge(caller, callee, port) for port in entry["ports"]}
        return found

    def waiting(self) -> list[tuple[Place, dict[str, Any]]]:
        """Return the edges that a caller declares and that are not live."""
        return [
            (place, entry)
            for place, entry in self._edges()
            if entry["state"] != "Live" and entry["direction"] == "Outbound"
        ]

    def _edges(self) -> list[tuple[Place, dict[str, Any]]]:
        return [
            (place, entry)
            for place, manifest in self.identities.items()
            for entry in manifest.get("status", {}).get("edges", [])
        ]


class Cluster:
    """The cluster of the demo."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def items(self, *arguments: str) -> list[Manifest]:
        """Return the objects that `kubectl get` finds."""
        found: list[Manifest] = json.loads(self.sandbox.kubectl("get", *arguments, "-o", "json"))[
            "items"
        ]
        return found

    def statuses(self) -> Statuses:
        """Read Troth's resources."""
        return Statuses(tuple(self.items("trustdomains,serviceidentities", "--all-namespaces")))

    def settled(self, shop: Shop, progress: Callable[[int, int], None]) -> Statuses:
        """Wait until all is ready and exactly the agreed edges are live.

        Raises `DemoError` after a minute.
        """
        agreed = set(shop.agreed())
        deadline = time.monotonic() + SECONDS
        while True:
            statuses = self.statuses()
            total = len(statuses.resources)
            progress(total - len(statuses.unready), total)
            edges = statuses.live("Inbound"), statuses.live("Outbound")
            if not statuses.unready and edges == (agreed, agreed):
                return statuses
            if time.monotonic() > deadline:
                raise DemoError(_unsettled(statuses, agreed))
            time.sleep(0.1)

    def await_ready(self, kinds: str) -> None:
        """Wait until all resources of these kinds are ready; raises `DemoError` after a minute."""
        deadline = time.monotonic() + SECONDS
        while unready := Statuses(tuple(self.items(kinds, "--all-namespaces"))).unready:
            if time.monotonic() > deadline:
                raise DemoError("\n".join(_unready(unready)))
            time.sleep(0.05)

    def secrets(self) -> dict[Place, Files]:
        """Return the files of each identity's Secret that services read."""
        return {
            Place(
                secret["metadata"]["namespace"],
                secret["metadata"]["labels"]["troth.dev/owner-name"],
            ): {name: base64.b64decode(secret["data"][name]).decode() for name in FILES}
            for secret in self.items(
                *("secrets", "--all-namespaces", "--selector"),
                *("troth.dev/owner-kind=ServiceIdentity", "--field-selector"),
                "type=kubernetes.io/tls",  # a gateway has a second Secret, with its signing key
            )
        }

    def secret(self, place: Place) -> dict[str, bytes]:
        """Return the data of one Secret."""
        text = self.sandbox.kubectl(
            "get", "secret", place.name, "-n", place.namespace, "-o", "json"
        )
        return {key: base64.b64decode(value) for key, value in json.loads(text)["data"].items()}

    def api_server(self) -> str:
        """Return the address and port at which pods reach the API server."""
        (found,) = self.items(
            *("endpointslices", "-n", "default", "--selector"),
            "kubernetes.io/service-name=kubernetes",
        )
        return f"{found['endpoints'][0]['addresses'][0]}:{found['ports'][0]['port']}"


def _is_ready(manifest: Manifest) -> bool:
    status = manifest.get("status", {})
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in status.get("conditions", [])
    )
    return ready and status.get("observedGeneration") == manifest["metadata"]["generation"]


def _unsettled(statuses: Statuses, agreed: set[Edge]) -> str:
    lines = _unready(statuses.unready)
    for direction in ("Inbound", "Outbound"):
        for edge in sorted(agreed ^ statuses.live(direction)):
            state = "declared but not live" if edge in agreed else "live but not declared"
            lines.append(f"  {edge.caller} to {edge.callee} on {edge.port}: {state} ({direction})")
    return "\n".join(lines)


def _unready(manifests: Iterable[Manifest]) -> list[str]:
    lines = [f"not everything was ready after {SECONDS:.0f} s:"]
    for manifest in manifests:
        conditions = manifest.get("status", {}).get("conditions", [])
        why = next((each["message"] for each in conditions if each["type"] == "Ready"), "no status")
        lines.append(f"  {manifest['kind']} {Place.of(manifest)}: {why}")
    return lines
