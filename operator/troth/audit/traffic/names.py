"""Workloads by the names of their pods, as flow logs have them."""

import re
from dataclasses import dataclass

from troth.audit.finding import Object
from troth.audit.scene import Scene
from troth.resources.references import Ref

_DEPLOYMENT = re.compile(r"(.+)-[a-z0-9]{6,10}-")
"""Name of a Deployment with the suffix of its ReplicaSet, as pods' names begin."""
_CRON_JOB = re.compile(r"(.+)-[0-9]{8,}-")
"""Name of a CronJob with the minute of its Job, as pods' names begin."""


@dataclass(frozen=True, slots=True)
class PodNames:
    """Pods and workloads of a scene, to find the workload of a pod, also of one that is gone."""

    scene: Scene

    def workload(self, namespace: str, name: str) -> Object | None:
        """Return the workload of a pod."""
        for pod in self.scene.pods_in(namespace):
            if pod.ref.name == name:
                return self.scene.workload_of(pod.workload)
        return self._by_prefix(namespace, re.sub("[a-z0-9]+$", "", name))

    def workload_of_prefix(self, namespace: str, prefix: str) -> Object | None:
        """Return the workload whose pods' names begin with `prefix`, None if there are several."""
        found = {
            self.scene.workload_of(pod.workload)
            for pod in self.scene.pods_in(namespace)
            if pod.ref.name.startswith(prefix)
        }
        return found.pop() if len(found) == 1 else self._by_prefix(namespace, prefix)

    def _by_prefix(self, namespace: str, prefix: str) -> Object | None:
        names = [(kind, prefix[:-1]) for kind in ("StatefulSet", "DaemonSet", "Job")]
        if found := _DEPLOYMENT.fullmatch(prefix):
            names.insert(0, ("Deployment", found[1]))
        if found := _CRON_JOB.fullmatch(prefix):
            names.append(("CronJob", found[1]))
        places = [Object(kind, Ref(namespace, name)) for kind, name in names]
        known = next((each for each in places if self.scene.workload(each)), None)
        return self.scene.workload_of(known) if known is not None else None
