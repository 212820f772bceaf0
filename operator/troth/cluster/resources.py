"""The API resources that Troth reads and writes."""

from dataclasses import dataclass

from troth.resources.kinds import EVERY_KIND
from troth.resources.metadata import API_VERSION


@dataclass(frozen=True, slots=True)
class Resource:
    """An API resource; `name` is its plural, and the group of the core API is empty."""

    group: str
    api_version: str
    kind: str
    name: str
    namespaced: bool

    @property
    def group_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.api_version}" if self.group else self.api_version

    def path(self, name: str | None = None, namespace: str | None = None) -> str:
        """Return the path of one object, or of all in a namespace or in the cluster."""
        root = "/apis" if self.group else "/api"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}/{self.group_version}{place}/{self.name}" + (f"/{name}" if name else "")


def _resource(api_version: str, kind: str, plural: str, *, namespaced: bool = True) -> Resource:
    group, _, version = api_version.rpartition("/")
    return Resource(group, version, kind, plural, namespaced)


RESOURCES: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        _resource("v1", "Namespace", "namespaces", namespaced=False),
        _resource("v1", "Secret", "secrets"),
        _resource("v1", "ConfigMap", "configmaps"),
        _resource("v1", "Service", "services"),
        _resource("v1", "Pod", "pods"),
        _resource("v1", "Node", "nodes", namespaced=False),
        _resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
        _resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
        _resource("apps/v1", "Deployment", "deployments"),
        _resource("apps/v1", "StatefulSet", "statefulsets"),
        _resource("apps/v1", "DaemonSet", "daemonsets"),
        _resource("batch/v1", "Job", "jobs"),
        _resource("batch/v1", "CronJob", "cronjobs"),
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
            for kind in EVERY_KIND
        ),
    )
}

AUDITED: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        _resource("v1", "Pod", "pods"),
        _resource("v1", "ServiceAccount", "serviceaccounts"),
        _resource("batch/v1", "Job", "jobs"),
        _resource("batch/v1", "CronJob", "cronjobs"),
        _resource("networking.k8s.io/v1", "Ingress", "ingresses"),
        _resource("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
        _resource("gateway.networking.k8s.io/v1", "Gateway", "gateways"),
        _resource(
            "gateway.networking.k8s.io/v1", "GatewayClass", "gatewayclasses", namespaced=False
        ),
        _resource("cert-manager.io/v1", "Certificate", "certificates"),
        _resource("networking.istio.io/v1", "VirtualService", "virtualservices"),
        _resource("security.istio.io/v1", "AuthorizationPolicy", "authorizationpolicies"),
        _resource("security.istio.io/v1", "RequestAuthentication", "requestauthentications"),
        _resource("traefik.io/v1alpha1", "Middleware", "middlewares"),
        _resource("gateway.envoyproxy.io/v1alpha1", "SecurityPolicy", "securitypolicies"),
        _resource(API_VERSION, "FindingException", "findingexceptions"),
        _resource("openreports.io/v1alpha1", "Report", "reports"),
        _resource("openreports.io/v1alpha1", "ClusterReport", "clusterreports", namespaced=False),
        _resource("wgpolicyk8s.io/v1alpha2", "PolicyReport", "policyreports"),
        _resource(
            *("wgpolicyk8s.io/v1alpha2", "ClusterPolicyReport", "clusterpolicyreports"),
            namespaced=False,
        ),
    )
}
"""Resources besides `RESOURCES` that an audit reads, and the reports that the auditor writes. The
operator uses none of them. A cluster may lack those of other API groups."""

REVIEWS: dict[str, Resource] = {
    kind: _resource(f"{group}.k8s.io/v1", kind, f"{kind.lower()}s", namespaced=False)
    for group, kind in (
        ("authentication", "TokenReview"),
        ("authentication", "SelfSubjectReview"),
        ("authorization", "SubjectAccessReview"),
    )
}
"""Resources that only answer a create request and are not stored."""

ADMISSION: dict[str, Resource] = {
    kind: _resource("admissionregistration.k8s.io/v1", kind, plural, namespaced=False)
    for kind, plural in (
        ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
        ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
    )
}
"""Resources that the worker of reviews compares with the chart's."""


def resource_of(kind: str) -> Resource:
    """Return the API resource of a kind that Troth reads or writes; raises `KeyError`."""
    return RESOURCES.get(kind) or AUDITED.get(kind) or ADMISSION.get(kind) or REVIEWS[kind]
