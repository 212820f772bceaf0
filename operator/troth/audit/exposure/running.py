"""Workloads as rules judge them: those with a template, and those that only their pods show."""

from collections.abc import Mapping

from troth.audit.facts.pods.workloads import Workload
from troth.audit.scene import Scene

_OF_PODS = "pods[*].spec"


def running(scene: Scene, namespace: str) -> list[Workload]:
    """Return the workloads of a namespace, also those of kinds that the scene does not have.

    A pod shows the workload that controls it. So an Argo Rollout, or a ReplicaSet without a
    Deployment, counts once, with the labels and the spec of its first pod. The Jobs of a CronJob
    are the CronJob.

    `Scene.workloads_in` has those with a template alone, which a fix can change.
    `Scene.running_in` has them as their pods are, in a cluster only those that have pods.
    """
    return scene.derived(namespace, "running workloads", lambda: _running(scene, namespace))


def with_labels(scene: Scene, namespace: str, wanted: Mapping[str, object]) -> list[Workload]:
    """Return the workloads of a namespace whose pods have some labels, at least one."""
    by_label = scene.derived(namespace, "workloads by label", lambda: _by_label(scene, namespace))
    texts = [(key, value) for key, value in wanted.items() if isinstance(value, str)]
    if not texts or len(texts) < len(wanted):
        return []
    fewest = min((by_label.get(each, []) for each in texts), key=len)
    return [each for each in fewest if all(each.labels.get(key) == of for key, of in texts)]


def _running(scene: Scene, namespace: str) -> list[Workload]:
    known = {each.object: each for each in scene.workloads_in(namespace)}
    for pod in scene.pods_in(namespace):
        place = scene.workload_of(pod.workload)
        if place not in known:
            known[place] = Workload(place, pod.labels, {}, pod.spec, _OF_PODS)
    return [each for _, each in sorted(known.items(), key=lambda item: item[0])]


def _by_label(scene: Scene, namespace: str) -> dict[tuple[str, str], list[Workload]]:
    found: dict[tuple[str, str], list[Workload]] = {}
    for each in running(scene, namespace):
        for label in each.labels.items():
            found.setdefault(label, []).append(each)
    return found
