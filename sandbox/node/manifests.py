"""Pods of the sandbox's workload, as manifests."""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.node.settings import WORKLOAD_IMAGE


def workload_pod(
    namespace: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    ports: Mapping[str, int] | None = None,
    plain: Mapping[str, int] | None = None,
    identity: str | None = None,
    service_account: str = "default",
    token: bool = False,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a Pod that runs the workload.

    `ports` serve mutual TLS with the Secret `identity`; `plain` ports serve HTTP to all clients.
    The Pod starts once the Secret exists. With `token`, the Pod has a token of its service account.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": dict(labels or {}),
            "annotations": dict(annotations or {}),
        },
        "spec": workload_spec(
            ports=ports,
            plain=plain,
            identity=identity,
            service_account=service_account,
            token=token,
        ),
    }


def workload_spec(
    *,
    ports: Mapping[str, int] | None = None,
    plain: Mapping[str, int] | None = None,
    identity: str | None = None,
    service_account: str = "default",
    token: bool = False,
) -> dict[str, Any]:
    """Return the specification of such a Pod, also for a Deployment's template."""
    named = {**(ports or {}), **(plain or {})}
    container: dict[str, Any] = {
        "name": "workload",
        "image": WORKLOAD_IMAGE,
        "imagePullPolicy": "Never",
        "args": ["serve", *_flags("--port", ports), *_flags("--plain", plain)],
        "ports": [{"name": port, "containerPort": number} for port, number in named.items()],
    }
    spec: dict[str, Any] = {
        "serviceAccountName": service_account,
        "automountServiceAccountToken": token,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    if identity:
        container["volumeMounts"] = [{"name": "identity", "mountPath": "/identity"}]
        spec["volumes"] = [{"name": "identity", "secret": {"secretName": identity}}]
    return spec


def _flags(flag: str, ports: Mapping[str, int] | None) -> Sequence[str]:
    return [part for name, number in (ports or {}).items() for part in (flag, f"{name}={number}")]
