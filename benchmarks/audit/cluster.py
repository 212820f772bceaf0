"""A large cluster as JSON, as the API server would send it: pods, identities and policies."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from troth.audit.network.closed import compiled
from troth.audit.scene import scene_of
from troth.planning.owned_objects import policy_manifest, policy_ref
from troth.world.facts.objects import MANAGED_BY

PODS, IDENTITIES, POLICIES, NAMESPACES = 10_000, 2_000, 500, 100
NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
CREATED = "2027-01-01T00:00:00Z"
MONITORING = "monitoring"

Manifest = dict[str, Any]


def place(number: int) -> tuple[str, str]:
    """Return the namespace and the name of an identity."""
    return f"team-{number % NAMESPACES}", f"service-{number}"


def cluster() -> Iterator[str]:
    """Yield all objects as JSON."""
    declared = list(_declared())
    yield from map(json.dumps, declared)
    for policy in _own(declared):
        yield json.dumps(policy)
    for number in range(POLICIES):
        yield json.dumps(_foreign(number))
    for number in range(IDENTITIES):
        for each in _workload(number):
            yield json.dumps(each)
    for number in range(PODS):
        yield json.dumps(pod(number))


def _declared() -> Iterator[Manifest]:
    yield {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "TrustDomain",
        "metadata": {"name": "production", "uid": "domain"},
        "spec": {
            "domain": "production.example",
            "environment": "production",
            "namespaceSelector": {"matchLabels": {"domain": "production"}},
            "authority": {"selfManaged": {}},
            "isolation": "Namespace",
        },
    }
    for name in (MONITORING, "kube-system"):
        yield _namespace(name)
    for number in range(NAMESPACES):
        yield _namespace(f"team-{number}", domain="production")
    for number in range(IDENTITIES):
        yield _identity(number)


def _namespace(name: str, **labels: str) -> Manifest:
    metadata = {"name": name, "labels": {"kubernetes.io/metadata.name": name, **labels}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _identity(number: int) -> Manifest:
    """Return an identity that calls the next three, the last of them in another namespace."""
    namespace, name = place(number)

    def peers(side: str, others: list[int]) -> list[Manifest]:
        return [
            {
                side: dict(zip(("namespace", "name"), place(each % IDENTITIES), strict=True)),
                "ports": ["https"],
            }
            for each in others
        ]

    steps = (NAMESPACES, 2 * NAMESPACES, 1)
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "ServiceIdentity",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"identity-{number}",
            "creationTimestamp": CREATED,
        },
        "spec": {
            "workload": {
                "serviceAccountName": name,
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": name}},
                "ports": [{"name": "https", "port": 8443}],
            },
            "authentication": {"mtls": {}},
            "calls": peers("to", [number + each for each in steps]),
            "accepts": peers("from", [number - each for each in steps]),
        },
    }


def _own(declared: list[Manifest]) -> Iterator[Manifest]:
    """Yield the NetworkPolicies that Troth writes for these resources."""
    scene = scene_of(declared, NOW)
    identities = scene.world.registry.identities
    owners = {policy_ref(ref): identity for ref, identity in identities.items()}
    for ref, spec in compiled(scene):
        if ref in owners:
            yield policy_manifest(ref, owners[ref], spec)
        else:
            metadata = {**ref._asdict(), "labels": {MANAGED_BY: "troth"}}
            yield {"kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def _foreign(number: int) -> Manifest:
    """Return a NetworkPolicy of somebody else. One in five of them widens what Troth closes."""
    namespace, name = place(number)
    _, caller = place(number - NAMESPACES + IDENTITIES)
    selected = {"matchLabels": {"app.kubernetes.io/name": name}}
    peer: Manifest = {"podSelector": {"matchLabels": {"app.kubernetes.io/name": caller}}}
    if number % 5 == 0:
        peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"before-{number}", "namespace": namespace},
        "spec": {
            "podSelector": selected if number % 10 else {},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [peer], "ports": [{"protocol": "TCP", "port": 8443}]}],
        },
    }


def _workload(number: int) -> Iterator[Manifest]:
    namespace, name = place(number)
    metadata = {"name": name, "namespace": namespace, "labels": _labels(number)}
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {"app.kubernetes.io/name": name}, "ports": [{"port": 443}]},
    }
    template = {"metadata": {"labels": _labels(number)}, "spec": _pod_spec(number)}
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {"replicas": PODS // IDENTITIES, "template": template},
    }


def _labels(number: int) -> dict[str, str]:
    _, name = place(number)
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/part-of": f"system-{number % 50}",
        "app.kubernetes.io/version": "1.2.3",
        "app.kubernetes.io/managed-by": "Helm",
    }


def _pod_spec(number: int) -> Manifest:
    _, name = place(number)
    values = {"DATABASE_URL": "postgres://database:5432/main", "LOG_LEVEL": "info"}
    return {
        "serviceAccountName": name,
        "containers": [
            {
                "name": "main",
                "image": f"registry.example/{name}:1.2.3",
                "env": [{"name": key, "value": value} for key, value in values.items()],
                "ports": [{"name": "https", "containerPort": 8443}],
            }
        ],
        "volumes": [{"name": "identity", "secret": {"secretName": f"{name}-identity"}}],
    }


def pod(number: int, *, generation: int = 0) -> Manifest:
    """Return a pod of an identity, or every hundredth time one in a namespace of its own kind."""
    of = number % IDENTITIES
    namespace, name = place(of)
    labels = {**_labels(of), "pod-template-hash": "6d4cf56db6"}
    if number % 100 == 0:
        namespace, name, labels = MONITORING, "agent", {"app": "agent", "pod-template-hash": "7"}
    replica_set = f"{name}-{labels['pod-template-hash']}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{replica_set}-{number}",
            "namespace": namespace,
            "resourceVersion": str(number + generation),
            "labels": labels,
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": replica_set, "uid": "1", "controller": True}
            ],
        },
        "spec": {**_pod_spec(of), "nodeName": f"node-{number % 100}"},
        "status": {
            "phase": "Running",
            "startTime": CREATED,
            "podIPs": [{"ip": f"10.{generation}.{number // 256}.{number % 256}"}],
        },
    }
