"""Label selectors of a workload's pods that stay the same over releases and restarts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from troth.audit.facts.pods.running import OF_REPLICAS

_UNSTABLE = OF_REPLICAS | {
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "chart",
    "helm.sh/chart",
    "heritage",
    "version",
}
"""Labels that controllers and releases set."""
_PREFERRED = (
    "app",
    "app.kubernetes.io/name",
    "k8s-app",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "component",
)
"""Labels that name a workload by convention, the best first."""

Labels = Mapping[str, str]


def stable(labels: Labels) -> dict[str, str]:
    """Return the labels by which a selector may select, the best first."""
    ranks = {name: rank for rank, name in enumerate(_PREFERRED)}
    kept = sorted(labels.keys() - _UNSTABLE, key=lambda name: (ranks.get(name, len(ranks)), name))
    return {name: labels[name] for name in kept}


def selector_for(own: Sequence[Labels], others: Sequence[Labels]) -> dict[str, Any] | None:
    """Return the shortest selector that selects all of `own`, and none of `others` if possible.

    Returns None if the workloads have no label by which a selector could select all of them.
    """
    first, *rest = [stable(each) for each in own]
    common = {
        name: value
        for name, value in first.items()
        if all(each.get(name) == value for each in rest)
    }
    chosen = _narrowed(common, others)
    if chosen and not any(_selects(chosen, each) for each in others):
        return {"matchLabels": chosen}
    for name in first:
        values = sorted({each[name] for each in (first, *rest) if name in each})
        if rest and all(name in each for each in rest):
            alike = [each for each in others if each.get(name) in values]
            if not alike:
                listed = {"key": name, "operator": "In", "values": values}
                return {"matchExpressions": [listed]}
    return {"matchLabels": chosen} if chosen else None


def overlapping(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Return whether a selector of this module selects a pod with these labels."""
    if not _selects(selector.get("matchLabels") or {}, labels):
        return False
    return all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions") or ()
    )


def _narrowed(common: Labels, others: Iterable[Labels]) -> dict[str, str]:
    """Return as few labels as needed to select no others; all of them if that does not help."""
    chosen: dict[str, str] = {}
    left = list(others)
    for name, value in common.items():
        if chosen and not left:
            break
        narrower = [each for each in left if each.get(name) == value]
        if not chosen or len(narrower) < len(left):
            chosen[name] = value
            left = narrower
    return chosen


def _selects(wanted: Labels, labels: Labels) -> bool:
    return all(labels.get(name) == value for name, value in wanted.items())
