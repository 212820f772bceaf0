"""The demo's objects in a cluster that exists already: what it installs, and how it removes all."""

import json

from sandbox.cluster import Sandbox
from sandbox.demo import installation
from sandbox.demo.installation import Manifest
from sandbox.demo.namespaces import MARK
from troth.resources.metadata import GROUP

WITH_FINALIZERS = ("messagebrokers", "topicpolicies", "deadletterreviews")
CLUSTER_WIDE = "trustdomains"
SELECTOR = ("--selector", MARK)
ADMISSION = "validatingadmissionpolicies,validatingadmissionpolicybindings"
PATIENCE = "--timeout=120s"
EVENTS = ("events", "--namespace", "default", "--field-selector")
"""Events about resources without a namespace; the selector follows."""


def install(sandbox: Sandbox) -> int:
    """Apply the missing CRDs, and what the demo's programs need; return the number of those CRDs.

    A CRD that is there already stays as it is.
    """
    present = installed_crds(sandbox)
    new = [each for each in installation.crds() if each["metadata"]["name"] not in present]
    for each in new:
        each["metadata"]["labels"] = {**each["metadata"].get("labels", {}), MARK: "true"}
    installation.apply(sandbox, *new)
    return len(new)


def has_remains(sandbox: Sandbox) -> bool:
    """Whether an earlier demo was killed before it removed its objects."""
    kinds = f"namespaces,clusterroles,clusterrolebindings,crds,{ADMISSION}"
    return bool(_names(sandbox, kinds, *SELECTOR))


def remove(sandbox: Sandbox) -> bool:
    """Remove all objects of the demo after its operator has ended.

    Returns False if it leaves its CRDs because somebody else uses them. Raises `CommandError` if
    the API server denies it or takes too long.
    """
    kubectl, present = sandbox.kubectl, installed_crds(sandbox)
    for plural in WITH_FINALIZERS:
        if f"{plural}.{GROUP}" in present:
            _remove_finalizers(sandbox, plural)
    domains: list[str] = []
    if f"{CLUSTER_WIDE}.{GROUP}" in present:
        uids = "jsonpath={.items[*].metadata.uid}"
        domains = kubectl("get", CLUSTER_WIDE, *SELECTOR, "--output", uids).split()
        kubectl("delete", CLUSTER_WIDE, *SELECTOR, PATIENCE)
    for uid in domains:  # Events have no labels, and other domains have Events too
        kubectl("delete", *EVENTS, f"involvedObject.uid={uid}")
    kubectl("delete", "namespaces", *SELECTOR, PATIENCE)
    for namespace in ("default", "kube-public"):
        kubectl("delete", "roles,rolebindings,leases", f"--namespace={namespace}", *SELECTOR)
    kubectl("delete", "clusterroles,clusterrolebindings", *SELECTOR)
    kubectl("delete", ADMISSION, *SELECTOR)
    if not present:
        return True
    own = _names(sandbox, "crds", *SELECTOR)
    if own and _names(sandbox, ",".join(sorted(present)), "--all-namespaces"):
        return False
    kubectl("delete", "crds", *SELECTOR, PATIENCE)
    return True


def installed_crds(sandbox: Sandbox) -> dict[str, Manifest]:
    """Return the CRDs of Troth in the cluster by their names."""
    found = json.loads(sandbox.kubectl("get", "crds", "-o", "json"))["items"]
    return {each["metadata"]["name"]: each for each in found if each["spec"]["group"] == GROUP}


def _remove_finalizers(sandbox: Sandbox, plural: str) -> None:
    """Let the API server delete the resources whose grants were at a broker that has ended."""
    patch = json.dumps({"metadata": {"finalizers": None}})
    names = r'jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}'
    found = sandbox.kubectl("get", plural, "--all-namespaces", *SELECTOR, "--output", names)
    for namespace, name in map(str.split, found.splitlines()):
        sandbox.kubectl(
            *("patch", plural, name, "-n", namespace, "--type=merge", f"--patch={patch}")
        )


def _names(sandbox: Sandbox, *arguments: str) -> list[str]:
    return sandbox.kubectl("get", *arguments, "--output=name").split()
