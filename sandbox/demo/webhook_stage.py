"""The gateway, its Valkey and a target as processes on loopback, and what they are told to do."""

import ipaddress
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox.control_plane import free_port
from sandbox.demo.cast import CHECKOUT
from sandbox.demo.chain import BUNDLE, GRACE, Files, await_listening
from sandbox.demo.cluster import Cluster
from sandbox.demo.mounts import Mount, mounted
from sandbox.demo.names import LOOPBACK
from sandbox.demo.operating import await_ready
from sandbox.demo.shop import Manifest, Place
from sandbox.demo.webhook_target import PORT
from sandbox.processes import Tether
from sandbox.valkey import ValkeyServer

EXAMPLES = Path(__file__).parents[2] / "examples" / "webhooks"
GATEWAY = Place("troth-gateway", "troth-gateway")
"""Its ServiceIdentity, ServiceAccount and Deployment in the chart, and the process here."""
RENAMED = ("payments", "settlements")
"""What the example's target is called, and what here."""
STORE = "replay-store"
"""The Secret with the address of its Valkey, as the chart is told."""
KEY = "k1"
"""What the first key of a sender is called in its Secret."""
GIVEN = {"troth.dev/webhook-keys": "true"}
"""The label of Secrets whose keys Troth may read."""
ELSEWHERE = "198.51.100.9"
"""An address that no sender has."""
DOMAIN, PROPAGATION = "production", "2s"
"""The shop's trust domain, and how long its files take here, where `mounted` follows them."""
TARGET = "the target of webhooks"
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A WebhookEndpoint; `secret` is where its keys are, `address` one that it is sent from."""

    place: Place
    scheme: str
    workflow: str
    secret: Place
    is_given: bool
    address: str
    path: str

    @classmethod
    def of(cls, manifest: Manifest) -> "Endpoint":
        """Return what a manifest says."""
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
class Declared:
    """The example's objects, and keys of senders that issue theirs."""

    manifests: tuple[Manifest, ...]
    keys: dict[Place, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls) -> "Declared":
        """Read the example beside the shop, which has the namespaces and the trust domain already,
        and a payments of its own; and make up those keys.
        """
        manifests = tuple(
            manifest
            for file in sorted(EXAMPLES.glob("*.yaml"))
            for manifest in yaml.safe_load_all(file.read_text().replace(*RENAMED))
            if manifest["kind"] not in {"Namespace", "TrustDomain"}
        )
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
        """The one identity that deliveries go to."""
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

    def text(self, store: str) -> str:
        """Return all as YAML, with the Secrets that people make; `store` is a URL."""
        given = [_secret(place, {KEY: key}, GIVEN) for place, key in self.keys.items()]
        replay = _secret(Place(GATEWAY.namespace, STORE), {"url": store}, {})
        return yaml.safe_dump_all([replay, *given, *self.manifests])

    def _of(self, kind: str) -> Iterator[Manifest]:
        return (each for each in self.manifests if each["kind"] == kind)


@dataclass(frozen=True, slots=True)
class Stage:
    """The ports of gateway and target, what both have written, and the files of some."""

    cluster: Cluster
    tether: Tether
    declared: Declared
    gateway: int = field(default_factory=free_port)
    target: int = field(default_factory=free_port)

    def files(self, place: Place) -> Files:
        """Return where an identity's files are."""
        directory = self.tether.directory / "webhooks"
        return Files(directory / str(place), directory / place.namespace / BUNDLE)

    @property
    def log(self) -> Path:
        """What the gateway writes."""
        return self.tether.directory / f"{GATEWAY.name}.log"

    @property
    def told(self) -> Path:
        """What the target writes."""
        return self.tether.directory / "webhook-target.log"

    def key(self, endpoint: Endpoint) -> str:
        """Return the first key of an endpoint's sender, as a person would hand it on."""
        return self.cluster.secret(endpoint.secret)[KEY].decode()


@contextmanager
def opened(cluster: Cluster, tether: Tether, store: ValkeyServer) -> Iterator[Stage]:
    """Declare, and run gateway and target while the context lasts; afterwards all of it is gone."""
    stage = Stage(cluster, tether, Declared.read())
    with ExitStack() as stack:
        stack.enter_context(_declared(cluster, stage.declared, store.url))
        stack.enter_context(mounted(cluster.sandbox.kubeconfig, _mounts(stage)))
        for name in (GATEWAY.name, TARGET):
            stack.callback(tether.stop, name, grace=GRACE)
        _start_target(stage)
        _run_gateway(stage)
        await_listening(tether, TARGET, stage.target, stage.told)
        yield stage


@contextmanager
def _declared(cluster: Cluster, declared: Declared, store: str) -> Iterator[None]:
    kubectl = cluster.sandbox.kubectl
    _wait_for_files(cluster, PROPAGATION)
    kubectl("apply", "-f", "-", stdin=declared.text(store))
    try:
        cluster.await_ready("webhookendpoints,serviceidentities")
        yield
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", stdin=declared.text(store))
        _wait_for_files(cluster, None)


def _wait_for_files(cluster: Cluster, propagation: str | None) -> None:
    """Say how long files take to their pods, None for as long as by default."""
    patch = json.dumps({"spec": {"bundle": {"propagation": propagation}}})
    cluster.sandbox.kubectl("patch", "trustdomain", DOMAIN, "--type=merge", f"--patch={patch}")


def _mounts(stage: Stage) -> Iterator[Mount]:
    places = (GATEWAY, stage.declared.target, CHECKOUT)
    for place in places:
        secret = Place(place.namespace, f"{place.name}-identity")
        yield Mount(secret, stage.files(place).secret)
    for place in {each.namespace: each for each in places}.values():
        bundle = Place(place.namespace, BUNDLE)
        yield Mount(bundle, stage.files(place).bundle, is_secret=False)
    yield Mount(Place(GATEWAY.namespace, STORE), stage.tether.directory / STORE)


def _start_target(stage: Stage) -> None:
    files = stage.files(stage.declared.target)
    settings: dict[str, Any] = {
        "port": stage.target,
        "identity": str(files.secret),
        "bundle": str(files.bundle),
    }
    argv = [sys.executable, "-m", "sandbox.demo.webhook_target", json.dumps(settings)]
    repository = Path(__file__).parents[2]
    stage.tether.start(TARGET, argv, log=stage.told, cwd=repository)


def _run_gateway(stage: Stage) -> None:
    tether, files, health = stage.tether, stage.files(GATEWAY), free_port()
    kubeconfig = stage.cluster.sandbox.service_account_kubeconfig(*GATEWAY)
    tether.start(
        GATEWAY.name,
        [
            *(sys.executable, "-m", "troth.cli", "gateway"),
            f"--kubeconfig={kubeconfig}",
            f"--identity-name={GATEWAY.name}",
            f"--namespace={GATEWAY.namespace}",
            f"--identity={files.secret}",
            f"--bundle={files.bundle}",
            f"--valkey={tether.directory / STORE / 'url'}",
            f"--listen={LOOPBACK}:{stage.gateway}",
            f"--trusted-proxies={LOOPBACK}/32",
            f"--resolve={_service(stage)}={LOOPBACK}:{stage.target}",
            f"--health-listen={LOOPBACK}:{health}",
            "--log-format=json",
        ],
        log=stage.log,
        # the client library writes CA and keys to temporary files; these go with the directory
        env=os.environ | {"TMPDIR": str(tether.directory)},
    )
    await_ready(tether, GATEWAY.name, "the gateway", health, stage.log)


def _service(stage: Stage) -> str:
    """Return where the gateway is told to find the target: a Service's name, which only a cluster
    can make sense of.
    """
    endpoint = stage.declared.endpoints[0].place
    compiled = Place(GATEWAY.namespace, f"{endpoint.namespace}.{endpoint.name}")
    target = json.loads(stage.cluster.secret(compiled)["endpoint.json"])["target"]
    return f"{target['host']}:{target['port']}"


def new_key() -> str:
    """Return a secret as Stripe issues them."""
    return f"whsec_{secrets.token_hex(16)}"


def _secret(place: Place, data: dict[str, str], labels: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**place._asdict(), "labels": labels},
        "stringData": data,
    }
