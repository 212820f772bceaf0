"""Recognises what collects metrics."""

import re
from dataclasses import dataclass
from typing import Any

from troth.audit.drafting.ends import Caller, Selected, Subject
from troth.audit.drafting.subjects import Directory, outside
from troth.audit.facts.pods.workloads import Workload
from troth.audit.scene import Scene
from troth.trust.selectors import matches

_PROGRAM = re.compile("(^|[-/])(prometheus|vmagent|victoria-metrics)([-/]|$)")
_NOT_ITSELF = re.compile("operator|exporter|adapter|pushgateway|node")


@dataclass(frozen=True, slots=True)
class Collector:
    """Pods without an identity that collect metrics."""

    namespace: str
    peer: Selected
    labels: tuple[tuple[str, str], ...]

    def manifest(self) -> dict[str, Any]:
        """Return it as `network.metrics` of a TrustDomain."""
        return {"namespace": self.namespace, "podSelector": self.peer.peer()["podSelector"]}


def collector_of(people: Directory) -> Collector | None:
    """Return the first workload without an identity that is a collector by its name."""
    for member in sorted(people.members, key=lambda each: each.object):
        if _collects(member) and people.subject_of(member.object) is None:
            namespace = member.object.ref.namespace
            peer = Selected.workload(namespace, outside(member))
            return Collector(namespace, peer, tuple(sorted(member.labels.items())))
    return None


def is_collected(
    scene: Scene, callee: Subject, caller: Caller, collector: Collector | None
) -> bool:
    """Return whether a caller may use `exceptions.metrics` of a callee.

    It may if the TrustDomain of the callee names it, or will name it because it is drafted. A
    caller with an identity never does, because its own policy opens declared calls alone.
    """
    if collector is None or caller != collector.peer:
        return False
    domain = scene.world.registry.governance(callee.ref.namespace).domain
    if domain is None:
        return True
    metrics = domain.spec.network.metrics
    return (
        metrics is not None
        and metrics.namespace == collector.namespace
        and matches(metrics.pod_selector, dict(collector.labels))
    )


def _collects(member: Workload) -> bool:
    names = (member.object.ref.name, member.labels.get("app.kubernetes.io/name", ""))
    return any(_PROGRAM.search(name) and not _NOT_ITSELF.search(name) for name in names)
