"""The declarations of the benchmarks: one trust domain, and a ring of identities with edges."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from troth.resources.metadata import API_VERSION
from troth.resources.schema.scalars import format_duration
from troth.world.facts.objects import POLICY_SUFFIX, SECRET_SUFFIX

Manifest = dict[str, Any]

DOMAIN = "bench"
NAMESPACE = "bench"
PORT_NAME, PORT = "https", 8443
NEIGHBOURS = 4
"""Number of following identities that each accepts, and of preceding ones that it calls."""

COLLECTIONS = {
    "TrustDomain": f"/apis/{API_VERSION}/trustdomains",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "CredentialRotation": f"/apis/{API_VERSION}/namespaces/{{}}/credentialrotations",
    "ServiceIdentity": f"/apis/{API_VERSION}/namespaces/{{}}/serviceidentities",
    "MessageBroker": f"/apis/{API_VERSION}/namespaces/{{}}/messagebrokers",
    "TopicPolicy": f"/apis/{API_VERSION}/namespaces/{{}}/topicpolicies",
}


def declarations(
    identities: int, *, propagation: timedelta = timedelta(minutes=3)
) -> Iterator[Manifest]:
    """Yield the trust domain and its ring."""
    yield {
        "apiVersion": API_VERSION,
        "kind": "TrustDomain",
        "metadata": {"name": DOMAIN},
        "spec": {
            "domain": "bench.example",
            "environment": "bench",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "authority": {"selfManaged": {}},
            "bundle": {"propagation": format_duration(propagation)},
        },
    }
    for number in range(identities):
        yield identity(number, identities)


def identity(
    number: int, identities: int, *, callers: Iterable[int] = (), callees: Iterable[int] = ()
) -> Manifest:
    """Return one identity of a ring; `callers` and `callees` add edges to those of the ring."""
    steps = range(1, NEIGHBOURS + 1)
    accepted = [*((number + step) % identities for step in steps), *callers]
    called = [*((number - step) % identities for step in steps), *callees]
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceIdentity",
        "metadata": {"name": name(number), "namespace": NAMESPACE},
        "spec": {
            "workload": {
                "serviceAccountName": name(number),
                "podSelector": {"matchLabels": labels(number)},
                "ports": [{"name": PORT_NAME, "port": PORT}],
            },
            "authentication": {"mtls": {}},
            "accepts": [{"from": {"name": name(each)}, "ports": [PORT_NAME]} for each in accepted],
            "calls": [{"to": {"name": name(each)}, "ports": [PORT_NAME]} for each in called],
        },
    }


def alone(number: int) -> Manifest:
    """Return an identity without edges."""
    declared = identity(number, 1)
    del declared["spec"]["accepts"], declared["spec"]["calls"]
    return declared


def is_ready(resource: Manifest) -> bool:
    """Return whether a resource's status says that it is ready."""
    conditions = resource.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def name(number: int) -> str:
    """Return an identity's name, which is also its service account's and its pod's."""
    return f"s{number}"


def labels(number: int) -> dict[str, str]:
    """Return the labels of an identity's pods."""
    return {"app": name(number)}


def secret(number: int) -> str:
    """Return the name of an identity's Secret."""
    return name(number) + SECRET_SUFFIX


def policy(number: int) -> str:
    """Return the name of an identity's NetworkPolicy."""
    return name(number) + POLICY_SUFFIX


def path(kind: str, namespace: str = NAMESPACE, object_name: str = "") -> str:
    """Return the API server's path of an object, or of all objects of a kind in a namespace."""
    collection = COLLECTIONS[kind].format(namespace)
    return f"{collection}/{object_name}" if object_name else collection
