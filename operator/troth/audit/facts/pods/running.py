"""Workloads as they run: what their pods have, or in files what their pod templates have."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from troth.audit.facts.pods.pod_spec import PodSpec
from troth.audit.facts.pods.workloads import Pod, Workload
from troth.audit.finding import Object

OF_REVISIONS = frozenset(
    {
        "pod-template-hash",
        "controller-revision-hash",
        "pod-template-generation",
        "controller-uid",
        "batch.kubernetes.io/controller-uid",
    }
)
"""Labels whose values nobody knows in advance, so that no NetworkPolicy has them."""
OF_REPLICAS = OF_REVISIONS | {
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/job-completion-index",
    "job-name",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
}
"""Labels that controllers set, which differ between the pods or the revisions of a workload."""


@dataclass(frozen=True, slots=True)
class Running:
    """Pods of one workload that have the same labels and the same spec."""

    object: Object
    """The workload; the pod itself if nothing controls it."""
    labels: Mapping[str, str]
    """Labels of the pods, without those that controllers set."""
    spec: PodSpec
    path: str
    """Path to the pod spec in the workload, empty if the workload is not known."""


def running_pods(
    pods: Iterable[Pod],
    workload: Callable[[Object], Workload | None],
    workload_of: Callable[[Object], Object],
) -> list[Running]:
    """Return the workloads of pods, by kind and name.

    `workload_of` returns the workload of an object that controls pods.
    """
    found: dict[tuple[Object, frozenset[tuple[str, str]], PodSpec], Running] = {}
    for pod in pods:
        labels = lasting(pod.labels)
        place = workload_of(pod.workload)
        key = place, frozenset(labels.items()), pod.spec
        if key not in found:
            known = workload(place)
            found[key] = Running(place, labels, pod.spec, known.path if known else "")
    return sorted(found.values(), key=lambda each: each.object)


def running_templates(workloads: Iterable[Workload]) -> list[Running]:
    """Return workloads as their templates say."""
    return [Running(each.object, lasting(each.labels), each.spec, each.path) for each in workloads]


def lasting(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels without those that controllers set."""
    return {key: value for key, value in labels.items() if key not in OF_REPLICAS}
