"""What the demo installs of the chart: with helm, or from `installation.yaml` where there is none.

The file has the chart's ServiceAccounts, their rights, and the admission policy of reviews.
Programs outside the cluster need no more. After a change of the chart, render it again:

    python -m sandbox.demo.installation
"""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from sandbox import tools
from sandbox.cluster import Sandbox
from sandbox.demo.namespaces import renamed
from sandbox.demo.programs import NAME
from sandbox.demo.tokens.services import DOMAIN
from sandbox.demo.webhooks.example import STORE
from sandbox.errors import CommandError

CHART = Path(__file__).parents[2] / "charts" / "troth"
CRDS = CHART / "crds"
NAMESPACE = "troth-system"
SETTINGS = (
    f"issuers[0].domain={DOMAIN}",
    "gateway.enabled=true",
    f"gateway.valkey.secretName={STORE}",
    # the act of events creates its ServiceIdentity
    "review.enabled=true",
    # it edits a NetworkPolicy of Troth by hand, which the chart's admission policy denies to others
    "admissionPolicy.exemptUsers={troth-sandbox-administrator}",
    rf"gateway.namespaceLabels.troth\.dev/environment={DOMAIN}",
)
RIGHTS = (
    *("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Lease"),
    *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
)
WITHOUT_PODS = ("crds.upgrade=false", "rbac.userRoles=false", "admissionPolicy.enabled=false")
HELM_S_OWN = ("app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart")
"""Labels of a release of the chart, which these objects are not."""
FILE = Path(__file__).with_suffix(".yaml")

Manifest = dict[str, Any]


def crds() -> list[Manifest]:
    """Return the CRDs of this version."""
    return [yaml.safe_load(file.read_text()) for file in sorted(CRDS.glob("*.yaml"))]


def rights() -> list[Manifest]:
    """Return the namespaces, ServiceAccounts and rights of `installation.yaml`."""
    return [renamed(each) for each in yaml.safe_load_all(FILE.read_text())]


def apply(sandbox: Sandbox, *manifests: Manifest) -> None:
    """Apply CRDs as `apply_crds` does, then `rights`.

    Raises `CommandError` if the API server rejects one.
    """
    if manifests:
        apply_crds(sandbox, *manifests)
    sandbox.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(rights()))


def apply_crds(sandbox: Sandbox, *manifests: Manifest) -> None:
    """Apply CRDs server-side; return once the API server serves them."""
    sandbox.kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(manifests))
    sandbox.await_crds(*(each["metadata"]["name"] for each in manifests))


def words(crds: int) -> str:
    """Return what `apply` does with this number of CRDs, for a step of the output."""
    applied = f"{crds} CRDs, " if crds else ""
    return f"kubectl apply --server-side: {applied}ServiceAccounts and their rights"


def render() -> str:
    """Return the content of `installation.yaml`, as helm renders it from the chart."""
    values = [part for each in (*SETTINGS, *WITHOUT_PODS) for part in ("--set", each)]
    command = [str(tools.ensure("helm")), "template", NAME, str(CHART), "--namespace", NAMESPACE]
    done = subprocess.run(
        [*command, "--kube-version", "1.36.0", "--no-hooks", *values],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CommandError("helm template", done.returncode, done.stderr)
    found = [each for each in yaml.safe_load_all(done.stdout) if each]
    namespaces = [each for each in found if each["kind"] == "Namespace"]
    release = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    kept = [release, *namespaces, *(each for each in found if each["kind"] in RIGHTS)]
    for each in kept:
        labels = each["metadata"].get("labels", {})
        for name in HELM_S_OWN:
            labels.pop(name, None)
    return (
        "# Rendered from charts/troth by `python -m sandbox.demo.installation`; do not edit.\n"
        + yaml.safe_dump_all(kept, sort_keys=False)
    )


if __name__ == "__main__":
    FILE.write_text(render())
