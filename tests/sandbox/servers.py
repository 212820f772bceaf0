"""Servers that Troth needs and does not bring, as pods: a DNS resolver and a Valkey."""

import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox import Sandbox, image
from sandbox.components import RESOLVER_ADDRESS
from sandbox.node.images import Image
from sandbox.valkey import DURABLE, program
from tests.sandbox import resolver
from tests.sandbox.nodes import Manifest, apply, namespace

VALKEY = {"app": "valkey"}
VALKEY_IMAGE = "sandbox.troth.dev/valkey:local"
VALKEY_PORT = 6379
RESOLVER = {"k8s-app": "kube-dns"}
"""The labels of the resolver's pods in most clusters, and in the defaults of Troth."""


def add_resolver(sandbox: Sandbox) -> None:
    """Run a resolver for Services at the address that the kubelet gives to pods."""
    metadata = {"name": "kube-dns", "namespace": "kube-system"}
    container = {
        "name": "dns",
        "image": image.NAME,
        "imagePullPolicy": "Never",
        "command": ["python", "-c", Path(resolver.__file__).read_text()],
        "securityContext": {"runAsUser": 0},  # for port 53
    }
    apply(
        sandbox,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "kube-dns"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "view",
            },
            "subjects": [{"kind": "ServiceAccount", **metadata}],
        },
        _service(metadata, RESOLVER, port=53, protocol="UDP", address=RESOLVER_ADDRESS),
        _pod(metadata, RESOLVER, container, serviceAccountName="kube-dns"),
    )


def add_valkey(sandbox: Sandbox, directory: Path) -> str:
    """Run a Valkey that persists each write and evicts nothing; return its URL.

    `directory` is for the archive of its image.
    """
    archive = directory / "valkey.tar"
    binary = Path(program())
    Image(VALKEY_IMAGE, {"/valkey-server": binary, **_libraries(binary)}).write_archive(archive)
    sandbox.node.load_image(archive)
    password = secrets.token_hex(16)
    settings = {**DURABLE, "bind": "0.0.0.0", "dir": "/data", "requirepass": password}
    metadata = {"name": "replay", "namespace": "valkey"}
    container = {
        "name": "valkey",
        "image": VALKEY_IMAGE,
        "imagePullPolicy": "Never",
        "command": ["/valkey-server", *(part for each in _flags(settings) for part in each)],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    apply(
        sandbox,
        namespace("valkey"),
        _service(metadata, VALKEY, port=VALKEY_PORT, protocol="TCP"),
        _pod(metadata, VALKEY, container, volumes=[{"name": "data", "emptyDir": {}}]),
    )
    return f"valkey://:{password}@replay.valkey.svc:{VALKEY_PORT}"


def _flags(settings: dict[str, str]) -> Iterator[tuple[str, str]]:
    return ((f"--{name}", value) for name, value in settings.items())


def _libraries(binary: Path) -> dict[str, Path]:
    """Return the shared libraries of a program by the path at which it looks for them."""
    listed = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    return {path: Path(path) for path in re.findall(r"(/\S+) \(0x", listed)}


def _service(
    metadata: Manifest, selector: Manifest, *, port: int, protocol: str, address: str | None = None
) -> dict[str, Any]:
    spec: dict[str, Any] = {"selector": selector, "ports": [{"port": port, "protocol": protocol}]}
    if address:
        spec["clusterIP"] = address
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _pod(metadata: Manifest, labels: Manifest, container: Manifest, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "labels": labels},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }
