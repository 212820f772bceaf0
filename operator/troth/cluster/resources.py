"""The API resources that Troth reads and writes."""

from kubernetes.aio.dynamic.resource import Resource

from troth.resources.kinds import KINDS
from troth.resources.metadata import API_VERSION


def _resource(api_version: str, kind: str, plural: str, *, namespaced: bool = True) -> Resource:
    group, _, version = api_version.rpartition("/")
    return Resource(
        prefix="apis" if group else "api",
        group=group,
        api_version=version,
        kind=kind,
        name=plural,
        namespaced=namespaced,
    )


RESOURCES: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        _resource("v1", "Namespace", "namespaces", namespaced=False),
        _resource("v1", "Secret", "secrets"),
        _resource("v1", "ConfigMap", "configmaps"),
        _resource("v1", "Service", "services"),
        _resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
        _resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
        _resource("apps/v1", "Deployment", "deployments"),
        _resource("apps/v1", "StatefulSet", "statefulsets"),
        _resource("apps/v1", "DaemonSet", "daemonsets"),
        _resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
        _resource("events.k8s.io/v1", "Event", "events"),
        _resource("coordination.k8s.io/v1", "Lease", "leases"),
        _resource(
            "apiextensions.k8s.io/v1",
            *("CustomResourceDefinition", "customresourcedefinitions"),
            namespaced=False,
        ),
        *(
            _resource(API_VERSION, kind.name, kind.plural, namespaced=kind.namespaced)
            for kind in KINDS
        ),
    )
}

REVIEWS: dict[str, Resource] = {
    "TokenReview": _resource(
        "authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False
    ),
}
"""Resources that only answer a create request and are not stored."""
