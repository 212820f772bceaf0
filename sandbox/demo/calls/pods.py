"""The shop's services as Deployments, whose pods mount the Secret of their identity."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from sandbox.demo.calls.table import Call
from sandbox.demo.cast import (
    API_SERVER,
    OUTSIDE_PORT,
    PROVIDER,
    PROVIDERS_ADDRESS,
    VISITORS,
    VISITORS_PORT,
)
from sandbox.demo.cluster import Cluster
from sandbox.demo.shop import Manifest, Place, Shop
from sandbox.node.manifests import workload_spec
from sandbox.node.node import Node
from sandbox.node.workload import Files, Outcome, Target, Workload

SECONDS = 60
HTTPS = 443
PART_OF = {"app.kubernetes.io/part-of": "shop"}
OURS = ("--all-namespaces", "--selector", "app.kubernetes.io/part-of=shop")


class Pods:
    """The services in pods, and the calls between them."""

    filtered = True

    def __init__(self, cluster: Cluster, shop: Shop) -> None:
        self._cluster = cluster
        self._shop = shop
        self._pods: dict[Place, str] = {}
        self._addresses: dict[Place, str] = {}
        self._outside: dict[Place, str] = {}
        self._secrets: Mapping[Place, Files] = {}

    @property
    def node(self) -> Node:
        """The node that runs them."""
        return self._cluster.sandbox.node

    def start(self, secrets: Mapping[Place, Files]) -> str:
        """Apply the Deployments; return when all are available and each NetworkPolicy is enforced.

        Raises `CommandError` after a minute.
        """
        self._secrets = secrets
        kubectl = self._cluster.sandbox.kubectl
        kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(self._deployments()))
        available = "--for=condition=Available", f"--timeout={SECONDS}s"
        kubectl("wait", "deployments", *OURS, *available)
        for pod in self._cluster.items("pods", *OURS):
            place = Place(pod["metadata"]["namespace"], pod["metadata"]["labels"]["app"])
            self._pods[place] = f"{place.namespace}/{pod['metadata']['name']}"
            self._addresses[place] = pod["status"]["podIP"]
        self._outside[API_SERVER] = self._cluster.api_server()
        self._outside[PROVIDER] = f"{PROVIDERS_ADDRESS}:{HTTPS}"
        listens = "--plain", f"{OUTSIDE_PORT}={HTTPS}"
        self.node.add_outsider(PROVIDER.name, PROVIDERS_ADDRESS, *listens)
        self.node.caught_up()
        return f"{len(self._pods)} Deployments; each mounts the Secret of its identity"

    def call(self, call: Call) -> Outcome:
        """Make a call from its caller's pod."""
        with self._impostor(call):
            return self.workload(call.caller).call([self.target(call)], present=call.shows)[0]

    def workload(self, place: Place) -> Workload:
        """Return the workload in a service's pod."""
        return self.node.workload(self._pods[place])

    def target(self, call: Call) -> Target:
        """Return a call as its caller's workload makes it."""
        return Target(
            self._address(call.callee, call.port),
            port=call.port,
            mode=call.mode,
            service=str(call.callee) if call.is_honest else "",
            expect="" if call.is_honest else call.expect,
            scope=call.scope,
        )

    @contextmanager
    def _impostor(self, call: Call) -> Iterator[None]:
        """Have the impostor of a call, if it has one, answer in the callee's place meanwhile."""
        if call.impostor is None:
            yield
            return
        callee = self.workload(call.callee)
        callee.pose(self._secrets[call.impostor])
        try:
            yield
        finally:
            callee.pose(None)

    def _address(self, place: Place, port: str) -> str:
        if place in self._outside:
            return self._outside[place]
        ports = self._shop.ports(place) if place in self._shop.identities else dict([VISITORS_PORT])
        return f"{self._addresses[place]}:{ports[port]}"

    def _deployments(self) -> Iterator[Manifest]:
        for place, manifest in self._shop.identities.items():
            workload = manifest["spec"]["workload"]
            ports, plain = self._shop.ports(place), self._shop.plain(place)
            spec = workload_spec(
                ports={name: number for name, number in ports.items() if name not in plain},
                plain={name: number for name, number in ports.items() if name in plain},
                identity=f"{place.name}-identity" if self._shop.is_mutual(place) else None,
                service_account=workload["serviceAccountName"],
            )
            yield _deployment(place, workload["podSelector"]["matchLabels"], spec)
        for place in VISITORS:
            spec = workload_spec(plain=dict([VISITORS_PORT]))
            yield _deployment(place, {"app": place.name}, spec)


def _deployment(place: Place, labels: dict[str, str], spec: dict[str, Any]) -> Manifest:
    metadata = {"namespace": place.namespace, "name": place.name, "labels": PART_OF}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels | PART_OF}, "spec": spec},
        },
    }
