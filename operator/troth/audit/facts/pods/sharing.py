"""One instance of what many pods have in common, so that a pod costs little memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from troth.audit.facts.pods.pod_spec import PodSpec
from troth.audit.facts.pods.workloads import Pod

_SPARE = 1024
"""Number of label sets below which those of deleted pods stay."""


@dataclass(slots=True)
class Pool:
    """Specs and labels of pods."""

    _specs: dict[PodSpec, PodSpec] = field(default_factory=dict)
    _labels: dict[frozenset[tuple[str, str]], Mapping[str, str]] = field(default_factory=dict)
    _limit: int = _SPARE
    """Number of label sets from which those of deleted pods are dropped."""

    def shared(self, pod: Pod, pods: Iterable[Mapping[str, Pod]]) -> Pod:
        """Return a pod that shares its spec and labels with equal ones of `pods`."""
        if len(self._labels) > self._limit:
            self._specs.clear()
            self._labels.clear()
            for there in pods:
                for each in there.values():
                    self._pooled(each)
            self._limit = 2 * len(self._labels) + _SPARE
        return self._pooled(pod)

    def _pooled(self, pod: Pod) -> Pod:
        labels = self._labels.setdefault(frozenset(pod.labels.items()), pod.labels)
        return replace(pod, spec=self._specs.setdefault(pod.spec, pod.spec), labels=labels)
