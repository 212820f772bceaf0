"""Workloads and budgets for the tests, as the API server returns them.

`rolled` simulates the controller manager: it updates the counts in a status.
"""

import copy
from datetime import datetime
from typing import Any

from tests.builders import NOW, YEAR, Manifest, stamp

APPS = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1"}


def workload(
    name: str = "payments",
    kind: str = "Deployment",
    namespace: str = "shop",
    *,
    app: str = "payments",
    replicas: int = 2,
    created: datetime = NOW - YEAR,
    annotations: Manifest | None = None,
    **spec: Any,
) -> Manifest:
    """Return a workload whose pods all run and are labelled `app`."""
    template: Manifest = {"metadata": {"labels": {"app": app}}, "spec": {"containers": []}}
    if annotations:
        template["metadata"]["annotations"] = annotations
    scale = {} if kind == "DaemonSet" else {"replicas": replicas}
    return {
        "apiVersion": APPS[kind],
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": stamp(created)},
        "spec": {"template": template, **scale, **spec},
        "status": status(kind, replicas, updated=replicas, available=replicas, generation=1),
    }


def status(kind: str, there: int, *, updated: int, available: int, generation: int) -> Manifest:
    if kind == "DaemonSet":
        return {
            "observedGeneration": generation,
            "desiredNumberScheduled": there,
            "currentNumberScheduled": there,
            "updatedNumberScheduled": updated,
            "numberAvailable": available,
        }
    return {
        "observedGeneration": generation,
        "replicas": there,
        "updatedReplicas": updated,
        "availableReplicas": available,
    }


def rolled(manifest: Manifest, updated: int = 2, available: int = 2, there: int = 2) -> Manifest:
    """Return the workload after its controller has observed it, at this point of its rollout."""
    manifest = copy.deepcopy(manifest)
    generation = manifest["metadata"]["generation"]
    manifest["status"] = status(
        manifest["kind"], there, updated=updated, available=available, generation=generation
    )
    return manifest


def budget(
    name: str = "payments",
    namespace: str = "shop",
    *,
    allowed: int = 0,
    selector: Manifest | None = None,
    seen: bool = True,
) -> Manifest:
    """Return a PodDisruptionBudget that allows this many disruptions now."""
    chosen = {"matchLabels": {"app": name}} if selector is None else selector
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"minAvailable": 2, "selector": chosen},
        "status": {"observedGeneration": int(seen), "disruptionsAllowed": allowed},
    }
