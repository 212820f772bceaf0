"""Declared resources of a scene, and patches of their lists, as several rules need them."""

from collections.abc import Iterator
from typing import Any

from troth.audit.finding import Object, Patch
from troth.audit.scene import Scene
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref


def identities_in(scene: Scene, namespace: str) -> Iterator[ServiceIdentity]:
    """Yield the readable ServiceIdentities of a namespace, by name."""
    registry = scene.world.registry
    for ref in sorted(registry.identities_in(namespace)):
        yield registry.identities[ref]


def identity_object(ref: Ref) -> Object:
    """Return an identity as the subject of a finding."""
    return Object("ServiceIdentity", ref)


def entries(scene: Scene, identity: Ref, name: str) -> list[dict[str, Any]]:
    """Return the entries of a list in an identity's spec as they are written."""
    manifest = scene.object("ServiceIdentity", identity) or {}
    return list((manifest.get("spec") or {}).get(name) or ())


def identity_patch(identity: Ref, **spec: Any) -> Patch:  # noqa: ANN401 - members of the spec
    """Return the patch of some members of an identity's spec."""
    return Patch(identity_object(identity), {"spec": spec})


def nested(path: str, value: object) -> dict[str, Any]:
    """Return a merge patch that sets the member at a dotted path."""
    *parents, name = path.split(".")
    patch: dict[str, Any] = {name: value}
    for each in reversed(parents):
        patch = {each: patch}
    return patch


PATCHED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob"})
"""Kinds whose pod template can change. The spec of a Pod and the template of a Job cannot."""


def again(workload: Object, account: str) -> str:
    """Return the step that gives a ServiceAccount to a workload that no patch can change."""
    if workload.kind in ("Pod", "Job"):
        return f"Create {workload} again with serviceAccountName: {account}."
    return f"Set serviceAccountName: {account} in the pod template of {workload}."


def to_mtls() -> dict[str, Any]:
    """Return the merge patch of an identity that replaces gateway-only trust by mtls."""
    return {"spec": {"authentication": {"gatewayOnly": None, "mtls": {}}}}
