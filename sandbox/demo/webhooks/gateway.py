"""The gateway, its Valkey and a target as processes on loopback."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox.control_plane import free_port
from sandbox.demo.cast import CHECKOUT
from sandbox.demo.cluster import Cluster
from sandbox.demo.loopback import LOOPBACK
from sandbox.demo.mounts import Mount, mounted
from sandbox.demo.programs import Program, await_listening, run_program
from sandbox.demo.shop import Place
from sandbox.demo.tokens.services import BUNDLE, DOMAIN, GRACE, Files
from sandbox.demo.webhooks.example import GATEWAY, KEY, STORE, Endpoint, Example, replay_store
from sandbox.processes import Tether
from sandbox.valkey import ValkeyServer

PROPAGATION = "2s"
"""The propagation delay of files that `mounted` writes."""
TARGET = "the target of webhooks"


@dataclass(frozen=True, slots=True)
class Gateway:
    """The running gateway and its target: their ports, their logs, and files of identities.

    `name` is the gateway's process; several may run.
    """

    cluster: Cluster
    tether: Tether
    example: Example
    name: str = GATEWAY.name
    port: int = field(default_factory=free_port)
    target_port: int = field(default_factory=free_port)

    def files(self, place: Place) -> Files:
        """Return where an identity's files are."""
        directory = self.tether.directory / "webhooks"
        return Files(directory / str(place), directory / place.namespace / BUNDLE)

    @property
    def log(self) -> Path:
        """The gateway's log."""
        return self.tether.directory / f"{self.name}.log"

    @property
    def target_log(self) -> Path:
        """The target's output."""
        return self.tether.directory / "webhook-target.log"

    def key(self, endpoint: Endpoint) -> str:
        """Return the first key of an endpoint's sender."""
        return self.cluster.secret(endpoint.secret)[KEY].decode()


@contextmanager
def running(cluster: Cluster, tether: Tether, store: ValkeyServer) -> Iterator[Gateway]:
    """Declare the example and run gateway and target while the context lasts; then remove all."""
    gateway = Gateway(cluster, tether, Example.read())
    with ExitStack() as stack:
        stack.enter_context(_stored(cluster, store.url))
        stack.enter_context(declared(cluster, gateway.example))
        stack.enter_context(mounted(cluster.sandbox.kubeconfig, mounts(gateway)))
        for name in (GATEWAY.name, TARGET):
            stack.callback(tether.stop, name, grace=GRACE)
        _start_target(gateway)
        _run_gateway(gateway)
        await_listening(tether, TARGET, gateway.target_port, gateway.target_log)
        yield gateway


@contextmanager
def _stored(cluster: Cluster, url: str) -> Iterator[None]:
    """Have the Secret of the gateway's Valkey exist while the context lasts."""
    kubectl, secret = cluster.sandbox.kubectl, yaml.safe_dump(replay_store(url))
    kubectl("apply", "-f", "-", stdin=secret)
    try:
        yield
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", stdin=secret)


@contextmanager
def declared(cluster: Cluster, example: Example, propagation: str = PROPAGATION) -> Iterator[None]:
    """Have the example exist while the context lasts; all is ready when it begins.

    `propagation` is the propagation delay meanwhile.
    """
    kubectl = cluster.sandbox.kubectl
    _set_propagation(cluster, propagation)
    kubectl("apply", "-f", "-", stdin=example.text())
    try:
        cluster.await_ready("webhookendpoints,serviceidentities")
        yield
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", stdin=example.text())
        _set_propagation(cluster, None)


def _set_propagation(cluster: Cluster, propagation: str | None) -> None:
    """Set the trust domain's propagation delay; None restores the default."""
    patch = json.dumps({"spec": {"bundle": {"propagation": propagation}}})
    cluster.sandbox.kubectl("patch", "trustdomain", DOMAIN, "--type=merge", f"--patch={patch}")


def mounts(gateway: Gateway) -> Iterator[Mount]:
    """Yield the mounts of `Gateway.files`, and of the URL of the gateway's Valkey."""
    places = (GATEWAY, gateway.example.target, CHECKOUT)
    for place in places:
        yield Mount(Place(place.namespace, f"{place.name}-identity"), gateway.files(place).secret)
    for place in {each.namespace: each for each in places}.values():
        bundle = Place(place.namespace, BUNDLE)
        yield Mount(bundle, gateway.files(place).bundle, is_secret=False)
    yield Mount(Place(GATEWAY.namespace, STORE), gateway.tether.directory / STORE)


def _start_target(gateway: Gateway) -> None:
    files = gateway.files(gateway.example.target)
    settings: dict[str, Any] = {
        "port": gateway.target_port,
        "identity": str(files.secret),
        "bundle": str(files.bundle),
    }
    argv = [sys.executable, "-m", "sandbox.demo.webhooks.target", json.dumps(settings)]
    repository = Path(__file__).parents[3]
    gateway.tether.start(TARGET, argv, log=gateway.target_log, cwd=repository)


def _run_gateway(gateway: Gateway) -> None:
    tether, files, health = gateway.tether, gateway.files(GATEWAY), free_port()
    arguments = (
        *("gateway", f"--identity-name={GATEWAY.name}"),
        *(f"--identity={files.secret}", f"--bundle={files.bundle}"),
        f"--valkey={tether.directory / STORE / 'url'}",
        f"--listen={LOOPBACK}:{gateway.port}",
        f"--trusted-proxies={LOOPBACK}/32",
        f"--resolve={_target_host(gateway)}={LOOPBACK}:{gateway.target_port}",
        f"--health-listen={LOOPBACK}:{health}",
        "--log-format=json",
    )
    kubeconfig = gateway.cluster.sandbox.service_account_kubeconfig(*GATEWAY)
    program = Program(GATEWAY.name, gateway.log, GATEWAY.namespace, kubeconfig)
    run_program(tether, program, arguments, health)


def _target_host(gateway: Gateway) -> str:
    """Return the host and port of the target's Service, which only a cluster can resolve."""
    endpoint = gateway.example.endpoints[0].place
    compiled = Place(GATEWAY.namespace, f"{endpoint.namespace}.{endpoint.name}")
    target = json.loads(gateway.cluster.secret(compiled)["endpoint.json"])["target"]
    return f"{target['host']}:{target['port']}"
