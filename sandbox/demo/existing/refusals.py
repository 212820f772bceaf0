"""Why the demo does not run on a cluster: each reason is a sentence that says what to do.

The demo's operator acts on all resources of Troth in the cluster, so it runs where there are none.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import yaml

from sandbox.cluster import Sandbox
from sandbox.demo import installation
from sandbox.demo.errors import DemoError
from sandbox.demo.namespaces import MARK, own
from sandbox.demo.shop import Shop
from sandbox.errors import CommandError
from troth.cluster.leases.claim import CLAIM
from troth.resources.kinds import KINDS
from troth.resources.metadata import GROUP, VERSION
from troth.resources.schema.fields import fields_of_crd, missing

LEASE = "troth-operator"
NAMED = 3
"""Maximum number of objects or fields that a sentence names."""

Manifest = Mapping[str, Any]


class Right(NamedTuple):
    """A right that the demo needs in every namespace."""

    verb: str
    group: str
    resource: str


RIGHTS = (
    Right("list", "apiextensions.k8s.io", "customresourcedefinitions"),
    Right("create", "apiextensions.k8s.io", "customresourcedefinitions"),
    Right("delete", "apiextensions.k8s.io", "customresourcedefinitions"),
    Right("create", "", "namespaces"),
    Right("delete", "", "namespaces"),
    Right("create", "rbac.authorization.k8s.io", "clusterroles"),
    Right("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    Right("delete", "rbac.authorization.k8s.io", "clusterroles"),
    Right("list", "rbac.authorization.k8s.io", "clusterroles"),
    Right("create", "rbac.authorization.k8s.io", "roles"),
    Right("create", "admissionregistration.k8s.io", "validatingadmissionpolicies"),
    Right("create", "admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    Right("impersonate", "", "users"),
    Right("create", "", "serviceaccounts"),
    Right("create", "", "serviceaccounts/token"),
    Right("list", "coordination.k8s.io", "leases"),
    Right("list", "", "secrets"),
    Right("patch", "networking.k8s.io", "networkpolicies"),
    Right("create", GROUP, "trustdomains"),
)
"""The first rights that the demo uses; an administrator of the cluster has them."""


def check_access(sandbox: Sandbox) -> str:
    """Return the API server's version; raises `DemoError` if it does not answer or denies access.

    The message names each missing right.
    """
    try:
        version = json.loads(sandbox.kubectl("version", "-o", "json", "--request-timeout=10s"))
    except CommandError as error:
        raise DemoError(f"the API server does not answer: {error.stderr.strip()}") from error
    if denied := _denied(sandbox):
        listed = ", ".join(f"{each.verb} {each.resource}" for each in denied)
        raise DemoError(
            f"the user of this kubeconfig may not {listed}; use that of an administrator of the "
            "cluster"
        )
    return str(version["serverVersion"]["gitVersion"])


def _denied(sandbox: Sandbox) -> list[Right]:
    """Return the rights that the user does not have."""
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": _attributes(right)},
        }
        for right in RIGHTS
    ]
    # to validate them, kubectl would list the CRDs, which may be denied
    create = ("create", "--validate=false", "-f", "-", "-o", r'jsonpath={.status.allowed}{"\n"}')
    allowed = sandbox.kubectl(*create, stdin=yaml.safe_dump_all(reviews)).split()
    return [right for right, each in zip(RIGHTS, allowed, strict=True) if each != "true"]


def _attributes(right: Right) -> dict[str, str]:
    resource, _, subresource = right.resource.partition("/")
    return {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
    }


def check_operators(sandbox: Sandbox) -> None:
    """Raise `DemoError` if an operator of Troth is installed or runs, or another demo."""
    selector = f"troth.dev/component=operator,!{MARK}"
    if installed := _items(sandbox, "clusterroles", "--selector", selector):
        raise DemoError(
            f"Troth is installed in this cluster (ClusterRole {_name(installed[0])}), and two "
            "operators would write the same objects; uninstall it first, or use another cluster"
        )
    fields = f"metadata.name={LEASE}"
    for lease in _items(sandbox, "leases", "--all-namespaces", "--field-selector", fields):
        namespace, is_own = lease["metadata"]["namespace"], _is_in_demo(lease)
        spec = lease.get("spec") or {}
        if is_own and _is_held(spec):
            raise DemoError(
                "another demo runs in this cluster; wait until it ends, or use another cluster"
            )
        if not is_own and spec.get("holderIdentity"):
            raise DemoError(
                f"an operator of Troth runs in this cluster: {spec['holderIdentity']} holds the "
                f"Lease {namespace}/{LEASE}; stop it, or delete the Lease if it does not run"
            )
    _check_claim(sandbox)


def _check_claim(sandbox: Sandbox) -> None:
    """Raise `DemoError` if an installation has the claim, beside which the demo's does not act.

    The claim of a namespace that is gone is free.
    """
    claim = ("--namespace", CLAIM.namespace, "--field-selector", f"metadata.name={CLAIM.name}")
    for lease in _items(sandbox, "leases", *claim):
        holder = (lease.get("spec") or {}).get("holderIdentity")
        if holder in {None, "", own(installation.NAMESPACE)}:
            continue
        if _items(sandbox, "namespaces", "--field-selector", f"metadata.name={holder}"):
            raise DemoError(
                f"the namespace {holder} has the claim of an operator of Troth, Lease {CLAIM}; use "
                "another cluster, or delete the Lease if Troth no longer runs there"
            )


def _is_in_demo(lease: Manifest) -> bool:
    return bool(lease["metadata"]["namespace"] == own(installation.NAMESPACE))


def _is_held(lease: Manifest) -> bool:
    """Whether somebody holds a Lease; `lease` is its spec."""
    if not lease.get("holderIdentity"):
        return False
    renewed = datetime.fromisoformat(lease["renewTime"])
    return datetime.now(UTC) < renewed + timedelta(seconds=lease["leaseDurationSeconds"])


def check_objects(sandbox: Sandbox) -> None:
    """Raise `DemoError` if something in the cluster conflicts with the demo.

    That is a CRD of another version, a resource of Troth, or a namespace of the demo's name.
    """
    present = {_name(each): each for each in _items(sandbox, "crds") if _is_troths(each)}
    for kind in KINDS:
        if installed := present.get(f"{kind.plural}.{GROUP}"):
            _check_crd(kind.plural, installed)
    names = _own_namespaces()
    if taken := [each for each in _items(sandbox, "namespaces") if _name(each) in names]:
        raise DemoError(
            f"the cluster has namespaces that the demo would create: {_listed(taken)}; delete "
            "them, or use another cluster"
        )
    if present:
        resources = _items(sandbox, ",".join(present), "--all-namespaces")
        if resources:
            raise DemoError(
                f"the cluster has resources of Troth: {_listed(resources)}; the demo's operator "
                "would act on them, so use another cluster"
            )


def _own_namespaces() -> set[str]:
    """Return the names of the namespaces that the demo creates."""
    manifests = (*Shop.read().manifests, *installation.rights())
    found = {_name(each) for each in manifests if each["kind"] == "Namespace"}
    return found | {own("messaging")}


def _is_troths(crd: Manifest) -> bool:
    return bool(crd["spec"]["group"] == GROUP)


def _check_crd(plural: str, installed: Manifest) -> None:
    (wanted,) = (each for each in installation.crds() if each["spec"]["names"]["plural"] == plural)
    ours, theirs = (fields_of_crd(each, VERSION) for each in (wanted, installed))
    lacks, adds = missing(ours, theirs), missing(theirs, ours)
    if lacks or adds:
        what = f"lacks {lacks[0]}" if lacks else f"has {adds[0]}, which this version does not know"
        raise DemoError(
            f"the CRD {_name(installed)} is of another version of Troth: it {what}; apply "
            "charts/troth/crds with `kubectl apply --server-side`, or use another cluster"
        )


def _items(sandbox: Sandbox, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]]
    found = json.loads(sandbox.kubectl("get", *arguments, "-o", "json"))["items"]
    return found


def _name(manifest: Manifest) -> str:
    return str(manifest["metadata"]["name"])


def _listed(manifests: list[dict[str, Any]]) -> str:
    names = [f"{each['kind']} {_name(each)}" for each in manifests]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
