"""What the demo asks of the cluster, as its administrator."""

import base64
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sandbox.cluster import Sandbox
from sandbox.demo.errors import DemoError
from sandbox.demo.shop import Declared, Manifest, Place, Shop
from sandbox.node.workload import Files

SECONDS = 30.0
FILES = ("tls.crt", "tls.key", "ca.crt", "identity.json")
"""What services read of a Secret; its keystores are for programs that cannot read PEM."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where Troth's resources stand, by their own statuses."""

    resources: tuple[Manifest, ...]

    @property
    def unready(self) -> list[Manifest]:
        """Those that are not ready, or whose status is of an earlier spec."""
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

    def live(self, direction: str) -> set[Declared]:
        """Return the edges between identities that one side's statuses call live."""
        found = set()
        for place, entry in self._edges():
            named = entry.get("reason") != "Unverified"
            if named and entry["direction"] == direction and entry["state"] == "Live":
                peer = Place.parse(entry["peer"])
                caller, callee = (place, peer) if direction == "Outbound" else (peer, place)
                found |= {Declared(caller, callee, port) for port in entry["ports"]}
        return found

    def waiting(self) -> list[tuple[Place, dict[str, Any]]]:
        """Return the edges that an identity declares and that are not live."""
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

    def standing(self) -> Standing:
        """Read how Troth's resources stand."""
        return Standing(tuple(self.items("trustdomains,serviceidentities", "--all-namespaces")))

    def settled(self, shop: Shop, progress: Callable[[int, int], None]) -> Standing:
        """Wait until all that the shop declares is in place; raises `DemoError` after 30 s."""
        agreed = set(shop.agreed())
        deadline = time.monotonic() + SECONDS
        while True:
            standing = self.standing()
            total = len(standing.resources)
            progress(total - len(standing.unready), total)
            edges = standing.live("Inbound"), standing.live("Outbound")
            if not standing.unready and edges == (agreed, agreed):
                return standing
            if time.monotonic() > deadline:
                raise DemoError(_unsettled(standing, agreed))
            time.sleep(0.1)

    def await_ready(self, kinds: str) -> None:
        """Wait until all resources of some kinds are ready; raises `DemoError` after 30 s."""
        deadline = time.monotonic() + SECONDS
        while unready := Standing(tuple(self.items(kinds, "--all-namespaces"))).unready:
            if time.monotonic() > deadline:
                raise DemoError("\n".join(_unready(unready)))
            time.sleep(0.05)

    def secrets(self) -> dict[Place, Files]:
        """Return what services read of the Secret of every identity, by the identity's place."""
        return {
            Place(
                secret["metadata"]["namespace"],
                secret["metadata"]["labels"]["troth.dev/owner-name"],
            ): {name: base64.b64decode(secret["data"][name]).decode() for name in FILES}
            for secret in self.items(
                *("secrets", "--all-namespaces", "--selector"),
                *("troth.dev/owner-kind=ServiceIdentity", "--field-selector"),
                "type=kubernetes.io/tls",  # a gateway has one more, with the key it signs with
            )
        }

    def secret(self, place: Place) -> dict[str, bytes]:
        """Return the data of one Secret."""
        text = self.sandbox.kubectl(
            "get", "secret", place.name, "-n", place.namespace, "-o", "json"
        )
        return {key: base64.b64decode(value) for key, value in json.loads(text)["data"].items()}

    def api_server(self) -> str:
        """Return the address and port at which pods find the API server."""
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


def _unsettled(standing: Standing, agreed: set[Declared]) -> str:
    lines = _unready(standing.unready)
    for direction in ("Inbound", "Outbound"):
        for edge in sorted(agreed ^ standing.live(direction)):
            said = "declared and not live" if edge in agreed else "live and not declared"
            lines.append(f"  {edge.caller} to {edge.callee} on {edge.port}: {said} ({direction})")
    return "\n".join(lines)


def _unready(manifests: Iterable[Manifest]) -> list[str]:
    lines = [f"not everything was in place after {SECONDS:.0f} s:"]
    for manifest in manifests:
        conditions = manifest.get("status", {}).get("conditions", [])
        why = next((each["message"] for each in conditions if each["type"] == "Ready"), "no status")
        lines.append(f"  {manifest['kind']} {Place.of(manifest)}: {why}")
    return lines
