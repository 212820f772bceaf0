"""A release of the chart on a node: its values, helm, and queries about its pods."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from sandbox import CommandError, Sandbox, image
from sandbox.components import ADVERTISED
from sandbox.demo.cluster import Cluster
from sandbox.demo.webhooks.example import STORE
from tests.chart.rendering import CHART, GATEWAY_NAMESPACE, NAMESPACE, REPOSITORY
from tests.patience import PATIENCE
from tests.sandbox.nodes import is_ready, pods
from tests.sandbox.servers import VALKEY

SHOP = REPOSITORY / "examples" / "shop"
DOMAINS = yaml.safe_load_all((SHOP / "10-trust-domains.yaml").read_text())
DOMAIN = next(each for each in DOMAINS if each["metadata"]["name"] == "production")
PRODUCTION = {"troth.dev/environment": "production"}
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
REPOSITORY_NAME, _, TAG = image.NAME.partition(":")
PATIENCE_OF_HELM = "300s"
DEPLOYMENTS = (
    (NAMESPACE, "troth", 2),
    (NAMESPACE, "troth-issuer-production", 2),
    (GATEWAY_NAMESPACE, "troth-gateway", 2),
)


def values(sandbox: Sandbox) -> dict[str, Any]:
    """Return the values of a release with everything: issuer, gateway, Valkey, NetworkPolicies."""
    port = int(Cluster(sandbox).api_server().rpartition(":")[2])
    return {
        "image": {"repository": REPOSITORY_NAME, "tag": TAG, "pullPolicy": "Never"},
        "trustDomains": [{"name": "production", "spec": DOMAIN["spec"]}],
        "issuers": [{"domain": "production"}],
        "gateway": {
            "enabled": True,
            "createNamespace": False,  # it exists before, with the Secret of the Valkey
            "valkey": {
                "secretName": STORE,
                "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": VALKEY}}],
            },
            "trustedProxies": ["127.0.0.1/32"],  # the tests reach it by `kubectl port-forward`
            "identity": {"create": True, "allowedNamespaces": {"matchLabels": PRODUCTION}},
        },
        "networkPolicy": {
            "enabled": True,
            "apiServer": {"cidrs": [f"{ADVERTISED}/32"], "port": port},
        },
        # the demo edits a NetworkPolicy of Troth by hand
        "admissionPolicy": {"exemptUsers": ["troth-sandbox-administrator"]},
    }


def helm(sandbox: Sandbox, command: str, **changed: Any) -> None:
    """Install or upgrade the release, with changed values; return once all its pods are ready."""
    try:
        _helm(sandbox, command, "--wait", "--timeout", PATIENCE_OF_HELM, **changed)
    except CommandError as error:
        told = [
            sandbox.kubectl(what, *which, "-n", space)
            for space in (NAMESPACE, GATEWAY_NAMESPACE)
            for what, *which in (("describe", "pods"), ("get", "events"))
        ]
        pytest.fail("\n".join((str(error), *told)))
    rolled_out(sandbox)


def install(sandbox: Sandbox) -> None:
    """Install the release; do not wait for its pods."""
    _helm(sandbox, "install")


def upgrade(sandbox: Sandbox, patience: str, **changed: Any) -> None:
    """Upgrade the release, with changed values; raises `CommandError` if that fails."""
    _helm(sandbox, "upgrade", "--wait", "--timeout", patience, **changed)


def _helm(sandbox: Sandbox, command: str, *options: str, **changed: Any) -> None:
    arguments = (command, "troth", str(CHART), "-n", NAMESPACE, *options, "--values", "-")
    sandbox.helm(*arguments, stdin=yaml.safe_dump(values(sandbox) | changed))


def backup(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return what the operator wrote to its own namespace, as a backup tool restores it."""
    chosen = ("-n", NAMESPACE, "-l", "app.kubernetes.io/managed-by=troth", "-o", "json")
    found = json.loads(sandbox.kubectl("get", "secrets,configmaps", *chosen))["items"]
    for each in found:
        for name in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
            each["metadata"].pop(name, None)
    return list(found)


def running(sandbox: Sandbox) -> set[str]:
    """Return the UIDs of the release's pods that are ready."""
    return {
        pod["metadata"]["uid"]
        for space in (NAMESPACE, GATEWAY_NAMESPACE)
        for pod in pods(sandbox, space).values()
        if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]
    }


def rolled_out(sandbox: Sandbox) -> None:
    """Wait for all pods; Helm waits only for as many as an update keeps available."""
    for space, name, _ in DEPLOYMENTS:
        patience = f"--timeout={PATIENCE_OF_HELM}"
        sandbox.kubectl("rollout", "status", "-n", space, f"deployment/{name}", patience)


def revisions(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the release's revisions, the oldest first."""
    found: list[dict[str, Any]] = json.loads(
        sandbox.helm("history", "troth", "-n", NAMESPACE, "-o", "json")
    )
    return found


def leader(sandbox: Sandbox) -> str:
    """Return the name of the pod that holds the Lease, empty if none does."""
    path = "jsonpath={.spec.holderIdentity}"
    holder = sandbox.kubectl("get", "lease", "troth-operator", "-n", NAMESPACE, "-o", path)
    return holder.partition("_")[0]


def leaf(sandbox: Sandbox) -> str:
    """Return checkout's certificate."""
    path = "jsonpath={.data.tls\\.crt}"
    return sandbox.kubectl("get", "secret", "checkout-identity", "-n", "shop", "-o", path)


def policies(sandbox: Sandbox) -> str:
    """Return the NetworkPolicies of the shop, with their UIDs."""
    path = "jsonpath={range .items[*]}{.metadata.uid} {.spec}{end}"
    return sandbox.kubectl("get", "networkpolicies", "-n", "shop", "-o", path)


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
