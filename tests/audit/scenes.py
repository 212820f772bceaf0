"""Builders of scenes for the tests of rules."""

from typing import Any

from tests import builders
from tests.builders import NOW, Manifest
from troth.audit.evaluation import Evaluator, severity_of
from troth.audit.finding import Finding
from troth.audit.registry import RULE_BY_ID
from troth.audit.scene import Scene, scene_of
from troth.resources.reported import Severity

GOVERNED = (builders.domain(), builders.namespace("shop", domain="production"))


def pod(
    owner: str,
    namespace: str = "shop",
    *,
    number: int = 0,
    kind: str = "StatefulSet",
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> Manifest:
    """Return a running pod of a workload, labelled `app: <owner>`."""
    controller = {"kind": kind, "name": owner, "uid": "1", "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{owner}-{number}",
            "namespace": namespace,
            "labels": {"app": owner} if labels is None else labels,
            "ownerReferences": [controller],
        },
        "spec": {"serviceAccountName": owner, **spec},
        "status": {
            "phase": "Running",
            "startTime": "2027-02-01T00:00:00Z",
            "podIPs": [{"ip": f"172.20.0.{number + 1}"}],
        },
    }


def job(name: str, cron: str, **spec: Any) -> Manifest:
    """Return a Job of a CronJob, whose pods are labelled `app: <cron>`."""
    owner = {"kind": "CronJob", "name": cron, "uid": "1", "controller": True}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "shop", "ownerReferences": [owner]},
        "spec": {"template": _template(cron, spec)},
    }


def cron_job(name: str, **spec: Any) -> Manifest:
    """Return a CronJob, whose pods are labelled `app: <name>`."""
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "schedule": "@daily",
            "jobTemplate": {"spec": {"template": _template(name, spec)}},
        },
    }


def _template(app: str, spec: Manifest) -> Manifest:
    return {"metadata": {"labels": {"app": app}}, "spec": spec}


def network_policy(name: str, namespace: str = "shop", **spec: Any) -> Manifest:
    """Return a NetworkPolicy that selects every pod, unless the spec says otherwise."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {}} | spec,
    }


def live(*manifests: Manifest) -> Scene:
    """Return the scene of a cluster with the governed namespace `shop`."""
    return scene_of((*GOVERNED, *manifests), NOW, in_cluster=True)


def files(*manifests: Manifest) -> Scene:
    """Return the scene of files with the governed namespace `shop`."""
    return scene_of((*GOVERNED, *manifests), NOW)


def findings(rule: str, scene: Scene) -> list[Finding]:
    """Return the findings of one rule."""
    return list(Evaluator((RULE_BY_ID[rule],)).evaluate(scene).findings)


def severities(rule: str, scene: Scene) -> list[Severity]:
    """Return the severities of the findings of one rule."""
    return [severity_of(each) for each in findings(rule, scene)]
