"""The demo's namespaces, which have a prefix on a cluster that is not the demo's own.

On another cluster, the names of `examples/` may belong to somebody else, and so may the label by
which the examples select namespaces. There, everything that the demo creates outside its own
namespaces has the prefix too, and all of it has the label `MARK`.
"""

import os
import re
from typing import Any

VARIABLE = "TROTH_DEMO_PREFIX"
"""The variable with the prefix. Services that the demo starts inherit it."""
PREFIX = os.environ.get(VARIABLE, "")
MARK = "troth.dev/demo"
"""The label of all objects that the demo creates on another cluster."""
NOT_OWN = frozenset({"default", "kube-public", "kube-system"})
"""Namespaces of the cluster that the manifests name."""

_ENVIRONMENT, _NAME = "troth.dev/environment", "kubernetes.io/metadata.name"
_TOP_LEVEL = frozenset(
    {
        *("Namespace", "ClusterRole", "ClusterRoleBinding"),
        *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    }
)
_ASKED_FOR = frozenset({"Lease"})
"""Kinds of objects for which the operator asks by their names."""
_ACCOUNT = re.compile(r"(system:serviceaccount:)([^:\"]+)")


def own(name: str) -> str:
    """Return the name of a namespace of the demo, such as `troth-demo-shop` for `shop`."""
    if not PREFIX or name in NOT_OWN:
        return name
    return PREFIX + name.removeprefix("troth-")


def applied(path: str) -> str:
    """Return the command that applies manifests, for a step of the output."""
    return f"kubectl apply -f {path}" + (f", with the prefix {PREFIX}" if PREFIX else "")


def shown(text: str) -> str:
    """Return a text without the prefix, as the demo's tables show it."""
    return text.replace(PREFIX, "") if PREFIX else text


def renamed(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest with the demo's names of namespaces; without a prefix, the same."""
    if not PREFIX:
        return manifest
    found: dict[str, Any] = _renamed(manifest)
    metadata = found["metadata"]
    metadata["labels"] = {**metadata.get("labels", {}), MARK: "true"}
    outside = metadata.get("namespace") in NOT_OWN
    if found["kind"] in _TOP_LEVEL or (outside and found["kind"] not in _ASKED_FOR):
        metadata["name"] = own(metadata["name"])
        if "roleRef" in found:
            found["roleRef"]["name"] = own(found["roleRef"]["name"])
        if "policyName" in found.get("spec", {}):
            found["spec"]["policyName"] = own(found["spec"]["policyName"])
        for rule in found.get("rules", ()):
            if "admissionregistration.k8s.io" in rule.get(
                "apiGroups", ()
            ):  # another of these objects
                rule["resourceNames"] = [own(each) for each in rule["resourceNames"]]
    return found


def _renamed(value: Any) -> Any:  # noqa: ANN401 - JSON is what it is
    if isinstance(value, list):
        return [_renamed(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        f"{MARK}-environment" if key == _ENVIRONMENT else key: _renamed_member(key, each)
        for key, each in value.items()
    }


def _renamed_member(key: str, value: Any) -> Any:  # noqa: ANN401 - JSON is what it is
    if not isinstance(value, str):
        return _renamed(value)
    if key == "expression":  # an admission policy names accounts
        return _ACCOUNT.sub(lambda found: found[1] + own(found[2]), value)
    return own(value) if key in {"namespace", _NAME} else value
