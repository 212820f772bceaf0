"""The chart on a real API server: every object is accepted, and the RBAC is exactly as intended."""

import json
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import yaml

from sandbox import CommandError, Sandbox
from tests.chart.rendering import (
    AGENT_NAMESPACE,
    CHART,
    EVERYTHING_ON,
    GATEWAY_NAMESPACE,
    NAMESPACE,
    hooks,
    one,
    rendered,
)
from tests.cluster.conftest import await_crds, separate_sandbox
from tests.patience import PATIENCE
from troth.world.facts.objects import (
    BROKER_POLICY_SUFFIX,
    DENY_SUFFIX,
    ISOLATION_POLICY,
    POLICY_SUFFIX,
)

SID = "serviceidentities.troth.dev"
POLICY_NAMES = (
    *(f"payments{suffix}" for suffix in (POLICY_SUFFIX, DENY_SUFFIX, BROKER_POLICY_SUFFIX)),
    ISOLATION_POLICY,
)
MASTERS = "--as-group=system:masters"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:troth"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    yield from separate_sandbox()


@pytest.fixture(scope="module")
def installed(sandbox: Sandbox) -> Sandbox:
    sandbox.helm("install", "troth", str(CHART), "-n", NAMESPACE, "--create-namespace")
    await_crds(sandbox)
    return sandbox


def may(sandbox: Sandbox, who: str, *what: str) -> bool:
    answer = subprocess.run(
        ["kubectl", f"--kubeconfig={sandbox.kubeconfig}", "auth", "can-i", f"--as={who}", *what],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    return answer.stdout.strip() == "yes"


@pytest.mark.parametrize("values", [(), EVERYTHING_ON], ids=["defaults", "everything on"])
def test_api_server_accepts_every_object_of_the_chart(
    installed: Sandbox, namespace: str, values: tuple[str, ...]
) -> None:
    manifests = [*rendered(*values), *hooks(*values)]
    for each in manifests:  # so that the release's existing objects do not conflict
        if each["metadata"].get("namespace") in {NAMESPACE, GATEWAY_NAMESPACE, AGENT_NAMESPACE}:
            each["metadata"]["namespace"] = namespace
        if each["kind"] == "Pod":  # its ServiceAccount is not created
            each["spec"]["serviceAccountName"] = "default"
    installed.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"),
        *("-f", "-"),
        stdin=yaml.safe_dump_all(manifests),
    )


def test_its_pods_meet_the_restricted_pod_security_standard(
    installed: Sandbox, namespace: str
) -> None:
    installed.kubectl(
        "label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"
    )
    pod = one(rendered(), "Deployment")["spec"]["template"]
    pod["spec"]["serviceAccountName"] = "default"
    manifest = {"apiVersion": "v1", "kind": "Pod", **pod}
    manifest["metadata"] |= {"name": "troth", "namespace": namespace}
    installed.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(manifest))


def test_operator_cannot_write_the_specs_of_users(installed: Sandbox) -> None:
    assert may(installed, OPERATOR, "list", SID, "-A")
    assert may(installed, OPERATOR, "patch", SID, "--subresource=status", "-A")
    for verb in ("create", "update", "patch", "delete"):
        assert not may(installed, OPERATOR, verb, SID, "-A")
        assert not may(installed, OPERATOR, verb, "trustdomains.troth.dev")


def test_operator_cannot_escalate_its_rights(installed: Sandbox) -> None:
    for what in ("pods", "deployments.apps", "clusterroles.rbac.authorization.k8s.io", "crd"):
        assert not may(installed, OPERATOR, "create", what, "-A")
    assert not may(installed, OPERATOR, "create", "serviceaccounts", "--subresource=token", "-A")
    assert not may(
        installed, OPERATOR, "update", "leases.coordination.k8s.io/other", "-n", NAMESPACE
    )


@pytest.mark.parametrize(
    ("forged", "message"),
    [
        (
            {"kind": "Secret", "metadata": {"labels": {"app.kubernetes.io/managed-by": "troth"}}},
            "objects that only Troth writes",
        ),
        (
            {
                "kind": "ConfigMap",
                "metadata": {"labels": {"app.kubernetes.io/managed-by": "troth"}},
            },
            "objects that only Troth writes",
        ),
        ({"kind": "Secret", "type": "troth.dev/webhook"}, "written only by Troth"),
        *(
            (
                {
                    "apiVersion": "networking.k8s.io/v1",
                    "kind": "NetworkPolicy",
                    "metadata": {"name": name},
                    "spec": {"podSelector": {}},
                },
                "Troth gives its NetworkPolicies the name",
            )
            for name in POLICY_NAMES
        ),
    ],
    ids=["label", "label of a ConfigMap", "type", *POLICY_NAMES],
)
def test_objects_of_troth_are_written_by_the_operator_alone(
    installed: Sandbox, namespace: str, forged: dict[str, Any], message: str
) -> None:
    metadata = {"name": "forged", "namespace": namespace, **forged.get("metadata", {})}
    manifest = {"apiVersion": "v1", **forged, "metadata": metadata}
    refused = partial(refusal, installed, manifest)
    deadline = time.monotonic() + PATIENCE
    while message not in refused():  # the API server takes in a policy after a moment
        assert time.monotonic() < deadline
    assert not refused(f"--as={OPERATOR}", MASTERS)
    assert not refused("--as=system:serviceaccount:kube-system:namespace-controller", MASTERS)


def test_label_of_troth_can_be_neither_removed_nor_kept_over_other_content(
    installed: Sandbox, namespace: str
) -> None:
    label = {"app.kubernetes.io/managed-by": "troth"}
    made = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}}
    made["metadata"] = {"name": "made", "namespace": namespace, "labels": label}
    by_the_operator = (f"--as={OPERATOR}", MASTERS)
    installed.kubectl("apply", "-f", "-", *by_the_operator, stdin=yaml.safe_dump(made))
    for change in ({"metadata": {"labels": None}}, {"data": {"a": "2"}}):
        with pytest.raises(CommandError, match="objects that only Troth writes"):
            installed.kubectl(
                *("patch", "configmap", "made", "-n", namespace, "--type=merge"),
                *("-p", json.dumps(change)),
            )
    installed.kubectl("delete", "configmap", "made", "-n", namespace)


def refusal(sandbox: Sandbox, manifest: dict[str, Any], *options: str) -> str:
    """Return the API server's message about a new object, empty if it accepts it."""
    try:
        sandbox.kubectl(
            *("create", "--dry-run=server", "-f", "-", *options), stdin=yaml.safe_dump(manifest)
        )
    except CommandError as error:
        return str(error)
    return ""


def test_second_release_is_refused_with_the_name_of_the_first(installed: Sandbox) -> None:
    with pytest.raises(CommandError, match=f"release troth in the namespace {NAMESPACE} runs"):
        installed.helm("install", "other", str(CHART), "-n", "other", "--create-namespace")


def test_namespace_editor_declares_identities_there_and_nothing_wider(
    installed: Sandbox, namespace: str
) -> None:
    installed.kubectl(
        "create", "rolebinding", "team", "--clusterrole=edit", "--user=ann", "-n", namespace
    )
    assert may(installed, "ann", "create", SID, "-n", namespace)
    assert not may(installed, "ann", "create", SID, "-n", "default")
    assert not may(installed, "ann", "create", "trustdomains.troth.dev")
    assert not may(installed, "ann", "patch", SID, "--subresource=status", "-n", namespace)


def test_uninstall_keeps_declared_resources(installed: Sandbox) -> None:
    installed.kubectl("create", "namespace", "kept")
    installed.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(_identity("kept")))
    installed.helm("uninstall", "troth", "-n", NAMESPACE)
    assert "payments" in installed.kubectl("get", "serviceidentities", "-n", "kept", "-o", "name")
    # and the chart works with the CRDs that it left behind
    installed.helm("install", "troth", str(CHART), "-n", NAMESPACE)
    installed.kubectl("delete", "namespace", "kept", "--wait=false")


def _identity(namespace: str) -> dict[str, object]:
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "ServiceIdentity",
        "metadata": {"name": "payments", "namespace": namespace},
        "spec": {
            "workload": {
                "serviceAccountName": "payments",
                "podSelector": {"matchLabels": {"app": "payments"}},
            },
            "authentication": {"mtls": {}},
        },
    }


def test_upgrade_adds_an_issuer_and_a_gateway(installed: Sandbox) -> None:
    options = (
        *("issuers[0].domain=production", "gateway.enabled=true", "gateway.replicas=1"),
        "crds.upgrade=false",  # no node runs the Job here
    )
    settings = [part for option in options for part in ("--set", option)]
    installed.helm("upgrade", "troth", str(CHART), "-n", NAMESPACE, "--reuse-values", *settings)
    issuer = installed.kubectl("get", "deployments", "-n", NAMESPACE, "-o", "name")
    assert "deployment.apps/troth-issuer-production" in issuer.split()
    gateway = installed.kubectl("get", "deployments", "-n", GATEWAY_NAMESPACE, "-o", "name")
    assert gateway.split() == ["deployment.apps/troth-gateway"]
