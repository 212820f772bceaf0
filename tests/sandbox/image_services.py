"""The demo's services beside the pods of a release: ports, logs, and a target of webhooks."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox import Sandbox, image, tools
from sandbox.control_plane import free_port
from sandbox.demo.cluster import Cluster
from sandbox.demo.mounts import mounted
from sandbox.demo.programs import await_listening
from sandbox.demo.tokens.services import BUNDLE
from sandbox.demo.webhooks.example import GATEWAY, Example
from sandbox.demo.webhooks.gateway import Gateway, declared, mounts
from sandbox.processes import Tether
from tests.chart.rendering import REPOSITORY
from tests.sandbox.nodes import apply, is_ready, pods
from tests.sandbox.release import until

PROPAGATION = "10s"
"""The propagation delay of mounted files: the kubelet looks for changes every second."""
WEBHOOKS = 8443


@dataclass(frozen=True)
class Beside:
    """Processes beside a cluster, which connect it to this machine."""

    sandbox: Sandbox
    tether: Tether
    forwarded: dict[str, int] = field(default_factory=dict)

    def forward(self, namespace: str, target: str, port: int) -> int:
        """Return a port on loopback that leads to a port of a pod, or of one of a Deployment."""
        local = free_port()
        name = f"port {port} of {target}"
        log = self.tether.directory / f"{name.replace('/', '.')}.log"
        self._kubectl(name, log, "port-forward", "-n", namespace, target, f"{local}:{port}")
        await_listening(self.tether, name, local, log)
        return local

    def follow(self, namespace: str, pod: str, log: Path) -> None:
        """Append a pod's log to a file from now on; return once the file has what is there."""
        before = self.sandbox.kubectl("logs", "-n", namespace, pod)
        self._kubectl(f"log of {pod}", log, "logs", "--follow", "-n", namespace, pod)
        until(lambda: log.exists() and log.stat().st_size >= len(before.encode()))

    def _kubectl(self, name: str, log: Path, *arguments: str) -> None:
        argv: list[str | Path] = [tools.ensure("kubectl"), *arguments]
        environment = os.environ | {"KUBECONFIG": str(self.sandbox.kubeconfig)}
        self.tether.start(name, argv, log=log, env=environment)


@contextmanager
def gateways(sandbox: Sandbox, tether: Tether) -> Iterator[list[Gateway]]:
    """Declare the example of webhooks; yield the gateway pods, which deliver to a target's pod."""
    cluster, beside = Cluster(sandbox), Beside(sandbox, tether)
    example = Example.read().without_gateway()
    with ExitStack() as stack:
        stack.enter_context(declared(cluster, example, PROPAGATION))
        apply(sandbox, target_pod(example, tether.directory))
        target = ("pod", example.target.name, "-n", example.target.namespace)
        stack.callback(lambda: sandbox.kubectl("delete", *target))
        until(lambda: is_ready(pods(sandbox, example.target.namespace)[example.target.name]))
        sandbox.node.caught_up()
        at = beside.forward(example.target.namespace, f"pod/{example.target.name}", example.port)
        found = []
        for name, pod in pods(sandbox, GATEWAY.namespace).items():
            if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]:
                port = beside.forward(GATEWAY.namespace, f"pod/{name}", WEBHOOKS)
                gateway = Gateway(cluster, tether, example, name, port, at)
                beside.follow(GATEWAY.namespace, name, gateway.log)
                found.append(gateway)
        stack.enter_context(mounted(sandbox.kubeconfig, mounts(found[0])))
        yield found


def target_pod(example: Example, directory: Path) -> dict[str, Any]:
    """Return a pod of the demo's target of webhooks, with `troth.edge` of the operator's image.

    It writes its output to `directory`, where `Gateway.target_log` is.
    """
    settings = {
        "host": "0.0.0.0",
        "port": example.port,
        "identity": "/identity",
        "bundle": "/bundle",
    }
    program = 'exec python -m sandbox.demo.webhooks.target "$0" >> /out/webhook-target.log'
    volumes = {
        "identity": ("/identity", {"secret": {"secretName": f"{example.target.name}-identity"}}),
        "bundle": ("/bundle", {"configMap": {"name": BUNDLE}}),
        "sandbox": ("/checkout/sandbox", {"hostPath": {"path": str(REPOSITORY / "sandbox")}}),
        "out": ("/out", {"hostPath": {"path": str(directory)}}),
    }
    container = {
        "name": "target",
        "image": image.NAME,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", program, json.dumps(settings)],
        "env": [
            {"name": "PYTHONPATH", "value": "/checkout"},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ],
        "readinessProbe": {"tcpSocket": {"port": example.port}, "periodSeconds": 1},
        "securityContext": {"runAsUser": 0},  # to write to the directory
        "volumeMounts": [{"name": name, "mountPath": path} for name, (path, _) in volumes.items()],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**example.target._asdict(), "labels": {"app": example.target.name}},
        "spec": {
            "serviceAccountName": example.target.name,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [{"name": name, **source} for name, (_, source) in volumes.items()],
        },
    }
