"""`examples/webhooks` beside the shop: its manifests, and the keys of senders."""

import ipaddress
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from sandbox.demo.namespaces import own, renamed
from sandbox.demo.shop import Manifest, Place
from sandbox.demo.webhooks.target import PORT

EXAMPLES = Path(__file__).parents[3] / "examples" / "webhooks"
GATEWAY = Place(own("troth-gateway"), "troth-gateway")
"""Its ServiceIdentity, ServiceAccount and Deployment in the chart, and the process here."""
RENAMED = ("payments", "settlements")
"""The name of the example's target, and its name here: the shop has a payments of its own."""
STORE = "replay-store"
"""The Secret with the address of the gateway's Valkey, as in the chart's values."""
KEY = "k1"
"""The name of a sender's first key in its Secret."""
GIVEN = {"troth.dev/webhook-keys": "true"}
"""The label of Secrets with senders' keys."""
ELSEWHERE = "198.51.100.9"
"""An address that no sender has."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A WebhookEndpoint; `secret` has its keys, `address` is one that its sender has."""

    place: Place
    scheme: str
    workflow: str
    secret: Place
    is_given: bool
    address: str
    path: str

    @classmethod
    def of(cls, manifest: Manifest) -> "Endpoint":
        """Return the endpoint of a manifest."""
        place, inbound = Place.of(manifest), manifest["spec"]["inbound"]
        given = inbound.get("secretRef", {}).get("name")
        cidrs = inbound.get("source", {}).get("cidrs", ["203.0.113.0/24"])
        return cls(
            place,
            inbound["scheme"],
            inbound["target"]["workflow"],
            Place(place.namespace, given or f"{place.name}-webhook"),
            given is not None,
            str(next(ipaddress.ip_network(cidrs[0]).hosts())),
            inbound["target"]["path"],
        )


@dataclass(frozen=True, slots=True)
class Example:
    """The example's manifests, and the keys of senders that issue their own."""

    manifests: tuple[Manifest, ...]
    keys: dict[Place, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls) -> "Example":
        """Read the example and generate those keys.

        The shop has the namespaces and the trust domain already, so these are left out.
        """
        manifests = tuple(
            renamed(manifest)
            for file in sorted(EXAMPLES.glob("*.yaml"))
            for manifest in yaml.safe_load_all(file.read_text().replace(*RENAMED))
            if manifest["kind"] not in {"Namespace", "TrustDomain"}
        )
        for manifest in manifests:
            if manifest["kind"] == "WebhookEndpoint":
                manifest["spec"]["inbound"]["gateway"] = GATEWAY._asdict()
        found = cls(manifests)
        for each in found.endpoints:
            if each.is_given:
                found.keys[each.secret] = new_key()
        return found

    @property
    def endpoints(self) -> list[Endpoint]:
        """The endpoints."""
        return [Endpoint.of(each) for each in self._of("WebhookEndpoint")]

    @property
    def target(self) -> Place:
        """The one identity that receives deliveries."""
        (found,) = {
            Place(
                each["metadata"]["namespace"], each["spec"]["inbound"]["target"]["identity"]["name"]
            )
            for each in self._of("WebhookEndpoint")
        }
        return found

    @property
    def port(self) -> int:
        """The number of its port for webhooks."""
        (identity,) = [
            each for each in self._of("ServiceIdentity") if Place.of(each) == self.target
        ]
        ports = identity["spec"]["workload"]["ports"]
        return int(next(each["port"] for each in ports if each["name"] == PORT))

    def without_gateway(self) -> "Example":
        """Return it without the gateway's identity, which a chart may create."""
        kept = (each for each in self.manifests if Place.of(each) != GATEWAY)
        return replace(self, manifests=tuple(kept))

    def text(self) -> str:
        """Return all as YAML, with the Secrets of the senders' keys."""
        given = [_secret(place, {KEY: key}, GIVEN) for place, key in self.keys.items()]
        return yaml.safe_dump_all([*given, *self.manifests])

    def _of(self, kind: str) -> Iterator[Manifest]:
        return (each for each in self.manifests if each["kind"] == kind)


def new_key() -> str:
    """Return a signing key as Stripe issues them."""
    return f"whsec_{secrets.token_hex(16)}"


def replay_store(url: str) -> Manifest:
    """Return the Secret with the URL of the gateway's Valkey."""
    return _secret(Place(GATEWAY.namespace, STORE), {"url": url}, {})


def _secret(place: Place, data: dict[str, str], labels: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**place._asdict(), "labels": labels},
        "stringData": data,
    }
