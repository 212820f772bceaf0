"""Pods for the tests of the node, and queries about them."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import yaml

from sandbox import Sandbox, Tier, unavailable
from sandbox.node.workload import Mode, Target
from tests.patience import PATIENCE

Manifest = Mapping[str, Any]


def skip_without(tier: Tier) -> None:
    if reason := unavailable(tier):
        pytest.skip(reason)


def apply(sandbox: Sandbox, *manifests: Manifest) -> None:
    sandbox.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(map(dict, manifests)))


def pods(sandbox: Sandbox, namespace: str) -> dict[str, Any]:
    found = json.loads(sandbox.kubectl("get", "pods", "-n", namespace, "-o", "json"))
    return {pod["metadata"]["name"]: pod for pod in found["items"]}


def is_ready(pod: Manifest) -> bool:
    conditions = pod["status"].get("conditions", [])
    return {"Ready": "True"} in [{each["type"]: each["status"]} for each in conditions]


def addresses(sandbox: Sandbox, namespace: str, names: Iterable[str]) -> dict[str, str]:
    """Return the addresses of pods, once all are ready and the firewall has their policies."""

    names = list(names)
    patience = "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s"
    sandbox.kubectl("wait", "pods", *names, "-n", namespace, *patience)
    sandbox.node.caught_up()
    found = pods(sandbox, namespace)
    return {name: found[name]["status"]["podIP"] for name in names}


def connects(sandbox: Sandbox, caller: str, address: str, port: int) -> str:
    """Return the outcome of a TCP connection: "answered", or the reason of the failure."""
    target = Target(f"{address}:{port}", mode=Mode.CONNECT)
    (outcome,) = sandbox.node.workload(caller).call([target])
    return outcome.reason or outcome.layer


def policy(namespace: str, name: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"podSelector": {}, **spec},
    }


def namespace(name: str, **labels: str) -> Manifest:
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
