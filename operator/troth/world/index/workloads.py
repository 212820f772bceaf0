"""Index of the workloads that Troth may restart, and of the budgets that limit restarts."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from troth.resources.references import Ref
from troth.resources.selectors import LabelSelector, Operator, Requirement
from troth.trust.selectors import matches
from troth.world.facts.objects import RESTARTED_WITH, Budget, Manifest, RestartRecord, Workload

KINDS = ("Deployment", "StatefulSet", "DaemonSet")
BUDGET = "PodDisruptionBudget"
_BEFORE_ALL = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Workloads:
    """Known workloads and budgets; none unless Troth may restart."""

    enabled: bool = False
    """Whether workloads are watched and may be restarted."""
    _known: dict[tuple[str, Ref], Workload] = field(default_factory=dict)
    _budgets: dict[str, dict[str, Budget]] = field(default_factory=dict)

    def take(self, kind: str, ref: Ref, manifest: Manifest | None, uptime: float) -> bool:
        """Take in the current state of a workload; return whether it changed."""
        before = self._known.pop((kind, ref), None)
        after = workload(kind, manifest) if manifest else None
        if after is not None:
            after = self._known[kind, ref] = _with_first_seen(after, before, uptime)
        return before != after

    def take_budget(self, ref: Ref, manifest: Manifest | None) -> bool:
        """Take in the current state of a PodDisruptionBudget; return whether it changed."""
        here = self._budgets.setdefault(ref.namespace, {})
        before = here.pop(ref.name, None)
        after = budget(manifest) if manifest else None
        if after is not None:
            here[ref.name] = after
        return before != after

    def get(self, kind: str, ref: Ref) -> Workload | None:
        """Return a workload, None if there is none."""
        return self._known.get((kind, ref))

    def forbidding(self, target: Workload) -> Budget | None:
        """Return the first budget that allows no disruption of a workload's pods now."""
        here = self._budgets.get(target.ref.namespace, {}) if target.pods else {}
        for _, each in sorted(here.items()):
            protects = each.selector is not None and matches(each.selector, target.labels)
            if protects and not each.allows:
                return each
        return None


def _with_first_seen(now: Workload, before: Workload | None, uptime: float) -> Workload:
    """Return a workload with the time since which it is the same.

    Another rollout that leaves the evidence in the template does not bring back older pods.
    """
    same = before is not None and (before.uid, before.evidence) == (now.uid, now.evidence)
    if before is None or not same or now.replaced > before.replaced:
        return replace(now, since=uptime)
    return replace(now, replaced=before.replaced, since=before.since)


def workload(kind: str, manifest: Manifest) -> Workload | None:
    """Return the facts of a workload, None if it is being deleted."""
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    if metadata.get("deletionTimestamp"):
        return None
    template = (spec.get("template") or {}).get("metadata") or {}
    annotation = (template.get("annotations") or {}).get(RESTARTED_WITH)
    progress = _progress(kind, manifest["metadata"], spec, manifest.get("status") or {})
    created = metadata.get("creationTimestamp")
    return Workload(
        kind=kind,
        ref=Ref.of(manifest),
        uid=metadata.get("uid", ""),
        resource_version=metadata.get("resourceVersion", ""),
        created=datetime.fromisoformat(created) if created else _BEFORE_ALL,
        labels=template.get("labels") or {},
        evidence=None if annotation is None else RestartRecord.read(annotation),
        paused=bool(spec.get("paused")),
        **progress,
    )


def _progress(kind: str, metadata: Manifest, spec: Manifest, status: Manifest) -> dict[str, bool]:
    """Return the progress of a rollout, with the rules of `kubectl rollout status`."""
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        counts = ("currentNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    else:
        wanted = spec.get("replicas", 1)
        counts = ("replicas", "updatedReplicas", "availableReplicas")
    there, updated, available = (status.get(count, 0) for count in counts)
    seen = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    replaced = seen and updated >= there
    return {
        "pods": not seen or there > 0,
        "replaced": replaced,
        "complete": replaced and min(updated, available) >= wanted,
    }


def budget(manifest: Manifest) -> Budget:
    """Return the facts of a PodDisruptionBudget.

    If its controller has not observed its latest generation, it allows nothing, as for an eviction.
    """
    status = manifest.get("status") or {}
    current = status.get("observedGeneration", 0) >= manifest["metadata"].get("generation", 0)
    return Budget(
        ref=Ref.of(manifest),
        selector=_selector((manifest.get("spec") or {}).get("selector")),
        allows=current and status.get("disruptionsAllowed", 0) > 0,
    )


def _selector(written: Manifest | None) -> LabelSelector | None:
    """Return a selector of a Kubernetes object; an empty one selects every pod."""
    if written is None:
        return None
    requirements = tuple(
        Requirement.model_construct(
            key=each["key"],
            operator=Operator(each["operator"]),
            values=tuple(each.get("values") or ()),
        )
        for each in written.get("matchExpressions") or ()
    )
    return LabelSelector.model_construct(
        match_labels=written.get("matchLabels") or {}, match_expressions=requirements
    )
