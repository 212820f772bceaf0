"""API resources that an API server serves, from aggregated discovery (Kubernetes 1.30)."""

from troth.cluster.api import ApiServer

_ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

Served = frozenset[tuple[str, str]]
"""Group and version such as `apps/v1`, in the core group `v1`, and the plural of a resource."""


async def served(server: ApiServer) -> Served:
    """Return the served API resources; raises `ApiError`.

    Resources of an aggregated API server that does not answer are left out.
    """
    found: set[tuple[str, str]] = set()
    for path in ("/api", "/apis"):
        answer = await server.document("discovery", path, _ACCEPT)
        for group in answer.get("items") or ():
            name = (group.get("metadata") or {}).get("name") or ""
            for version in group.get("versions") or ():
                place = f"{name}/{version['version']}" if name else version["version"]
                found |= {(place, each["resource"]) for each in version.get("resources") or ()}
    return frozenset(found)
