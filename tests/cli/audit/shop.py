"""A shop with findings, as manifests and as objects of a cluster."""

from typing import Any

from tests import builders
from tests.builders import Manifest
from tests.cli.running import Ended, troth
from troth.resources.kinds import EVERY_KIND
from troth.resources.manifests import dump


def deployment(name: str = "web", namespace: str = "shop", account: str = "") -> Manifest:
    """Return a Deployment; without an account it runs as the ServiceAccount default."""
    spec: Manifest = {"containers": [{"name": name, "image": "registry.example/web:1"}]}
    if account:
        spec["serviceAccountName"] = account
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }


PLURALS = (
    *("namespaces", "services", "endpointslices", "networkpolicies", "serviceaccounts"),
    *("configmaps", "pods", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"),
    "ingresses",
    *(kind.plural for kind in EVERY_KIND),
)
"""Plurals of what the cluster serves. It has no Gateway API, no Istio and no cert-manager."""


def cluster(**objects: list[Manifest]) -> dict[str, list[Manifest]]:
    """Return the objects of a cluster by plural."""
    shop = {"namespaces": [builders.namespace("shop")]}
    return {**{plural: [] for plural in PLURALS}, **shop, **objects}


def audited(*manifests: Manifest, arguments: tuple[str, ...] = ()) -> Ended:
    """Audit manifests from standard input."""
    text = "---\n".join(map(dump, manifests))
    return troth("audit", "-f", "-", *arguments, given=text.encode())


def subjects(document: Any) -> list[str]:
    """Return rule and subject of each finding in a report as JSON."""
    return [
        f"{each['rule']} {each['subject']['namespace']}/{each['subject']['name']}"
        for each in document["findings"]
    ]
