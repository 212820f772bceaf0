"""Workloads and pods as rules see them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from troth.audit.facts.members import items, mapping, text
from troth.audit.facts.owners import owner_in
from troth.audit.facts.pods.pod_spec import PodSpec, pod_spec
from troth.audit.finding import Object
from troth.resources.references import Ref

TEMPLATES: dict[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}
"""Kinds with a pod template, and the path to it."""

_REPLICA_SET_HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Workload:
    """Object with a pod template, or a pod that nothing controls."""

    object: Object
    labels: Mapping[str, str]
    """Labels of its pods."""
    annotations: Mapping[str, str]
    """Annotations of its pods."""
    spec: PodSpec
    path: str
    """Path to the pod spec, such as `spec.template.spec`, to which paths of facts are relative."""
    owner: str = ""
    """Owner that its own metadata name, empty if they name none."""


@dataclass(frozen=True, slots=True)
class Pod:
    """Pod that exists."""

    ref: Ref
    labels: Mapping[str, str]
    spec: PodSpec
    workload: Object
    """Deployment, StatefulSet, DaemonSet, Job or another object that controls it; the pod itself if
    nothing does. `Scene.workload_of` returns the CronJob of such a Job."""
    addresses: tuple[str, ...]
    """IP addresses. Those of a pod in the host network are its node's."""
    node: str
    started_at: datetime | None
    running: bool
    """Whether it is not Succeeded or Failed."""
    ended_at: datetime | None = None
    """Time at which its last container ended; None if it runs or if it is not known."""


def workload(manifest: Mapping[str, Any]) -> Workload | None:
    """Return a manifest's workload; None for another kind or a pod that something controls."""
    path = TEMPLATES.get(manifest["kind"])
    if path is None or (manifest["kind"] == "Pod" and controller(manifest)):
        return None
    template: Any = manifest
    for name in path:
        template = template.get(name) if isinstance(template, dict) else None
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return None
    metadata = template.get("metadata") or {}
    return Workload(
        Object(manifest["kind"], Ref.of(manifest)),
        _texts(metadata.get("labels")),
        _texts(metadata.get("annotations")),
        pod_spec(template["spec"]),
        ".".join((*path, "spec")),
        owner_in(manifest),
    )


def cron_job(manifest: Mapping[str, Any]) -> Object | None:
    """Return the CronJob that controls a Job, None for another object."""
    owner = controller(manifest) if manifest["kind"] == "Job" else None
    if owner is None or owner.get("kind") != "CronJob":
        return None
    return Object("CronJob", Ref(manifest["metadata"].get("namespace", ""), str(owner["name"])))


def pod(manifest: Mapping[str, Any]) -> Pod:
    """Return the facts of a pod."""
    ref = Ref.of(manifest)
    labels = _texts(manifest["metadata"].get("labels"))
    spec = mapping(manifest, "spec")
    running = text(manifest, "status", "phase") not in ("Succeeded", "Failed")
    return Pod(
        ref,
        labels,
        pod_spec(spec),
        _controlling(manifest, ref, labels),
        tuple(ip for _, each in items(manifest, "status", "podIPs") if (ip := text(each, "ip"))),
        text(spec, "nodeName"),
        _time(text(manifest, "status", "startTime")),
        running,
        None if running else _ended_at(manifest),
    )


def _ended_at(manifest: Mapping[str, Any]) -> datetime | None:
    ends = (
        _time(text(each, "state", "terminated", "finishedAt"))
        for _, each in items(manifest, "status", "containerStatuses")
    )
    return max((each for each in ends if each is not None), default=None)


def _time(written: str) -> datetime | None:
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        return None


def controller(manifest: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the owner reference of an object's controller, None without one."""
    owners = manifest["metadata"].get("ownerReferences") or ()
    return next((each for each in owners if each.get("controller")), None)


def _controlling(manifest: Mapping[str, Any], ref: Ref, labels: Mapping[str, str]) -> Object:
    """Return what controls a pod; of a ReplicaSet of a Deployment, the Deployment.

    The name of such a ReplicaSet is the Deployment's, `-` and the value of a label of its pods.
    """
    owner = controller(manifest)
    if owner is None:
        return Object("Pod", ref)
    kind, name = str(owner.get("kind")), str(owner.get("name"))
    suffix = f"-{labels.get(_REPLICA_SET_HASH, '')}"
    if kind == "ReplicaSet" and len(suffix) > 1 and name.endswith(suffix):
        kind, name = "Deployment", name.removesuffix(suffix)
    return Object(kind, Ref(ref.namespace, name))


def _texts(value: object) -> Mapping[str, str]:
    """Return the members of a map that are text."""
    if not isinstance(value, dict):
        return {}
    return {key: each for key, each in value.items() if isinstance(each, str)}
