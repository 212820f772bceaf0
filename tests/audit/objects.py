"""Objects of a cluster, for scenes."""

from datetime import datetime
from typing import Any

from tests import builders
from tests.builders import stamp

Manifest = dict[str, Any]


def template(
    labels: dict[str, str],
    *,
    account: str = "",
    ports: dict[str, int] | None = None,
    env: dict[str, str] | None = None,
    host_network: bool = False,
) -> Manifest:
    """Return a pod template with one container."""
    container = {
        "name": "program",
        "image": "registry.example/program:1",
        "ports": [{"name": name, "containerPort": port} for name, port in (ports or {}).items()],
        "env": [{"name": name, "value": value} for name, value in (env or {}).items()],
    }
    spec: Manifest = {"containers": [container]}
    if account:
        spec["serviceAccountName"] = account
    if host_network:
        spec["hostNetwork"] = True
    return {"metadata": {"labels": labels}, "spec": spec}


def deployment(name: str, namespace: str = "shop", **described: Any) -> Manifest:
    """Return a Deployment with the label `app`, and a ServiceAccount of its own."""
    labels = described.pop("labels", {"app": name})
    described.setdefault("account", name)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": template(labels, **described),
        },
    }


def pod(
    workload: str,
    address: str,
    namespace: str = "shop",
    *,
    started: datetime,
    labels: dict[str, str] | None = None,
    **described: Any,
) -> Manifest:
    """Return a running pod of a Deployment."""
    made = template({"app": workload, "pod-template-hash": "5d8f9"} | (labels or {}), **described)
    owner = {"kind": "ReplicaSet", "name": f"{workload}-5d8f9", "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{workload}-5d8f9-{address.rpartition('.')[2]}",
            "namespace": namespace,
            "labels": made["metadata"]["labels"],
            "ownerReferences": [owner],
        },
        "spec": made["spec"],
        "status": {
            "phase": "Running",
            "startTime": stamp(started),
            "podIPs": [{"ip": address}],
        },
    }


def service(
    name: str, namespace: str = "shop", *, port: int, target: int | str, cluster_ip: str = ""
) -> Manifest:
    """Return a Service of the pods with the label `app`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"app": name},
            "ports": [{"port": port, "targetPort": target}],
            **({"clusterIP": cluster_ip} if cluster_ip else {}),
        },
    }


def web_and_payments(enforcement: str = "Enforce") -> list[Manifest]:
    """Return the resources of a shop whose web calls its payments."""
    return [
        builders.domain(),
        builders.namespace("shop", domain="production"),
        builders.identity(
            "payments",
            "shop",
            ports=["https"],
            accepts=[builders.accept("web")],
            enforcement=enforcement,
        ),
        builders.identity(
            "web", "shop", calls=[builders.call("payments")], enforcement=enforcement
        ),
    ]
