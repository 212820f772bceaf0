"""The declarations of a large cluster: namespaces, each with a ring of identities and pods."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.fleet.topology import DOMAIN, Manifest, declarations, identity, labels, name
from benchmarks.harness.client import APPLY, MERGE, Write
from troth.cluster.resources import RESOURCES

GOVERNED = {"troth.dev/bench": DOMAIN}
SHAPES = {"Pod": "v1", "Deployment": "apps/v1"}


@dataclass(frozen=True, slots=True)
class Fleet:
    """`size` identities in equal parts in `namespaces` namespaces, each a ring of its own."""

    size: int
    namespaces: int

    @property
    def ring(self) -> int:
        """Number of identities in a namespace."""
        return self.size // self.namespaces

    def domain(self) -> Manifest:
        """Return the trust domain of all namespaces."""
        (domain, *_) = declarations(0)
        return {
            **domain,
            "spec": {**domain["spec"], "namespaceSelector": {"matchLabels": GOVERNED}},
        }

    def declared(self) -> Iterator[Write]:
        """Yield the trust domain, the namespaces and the identities."""
        yield write(self.domain())
        yield from (write(namespace(number)) for number in range(self.namespaces))
        for number in range(self.namespaces):
            for member in range(self.ring):
                yield write(self.identity(number, member))

    def identity(self, number: int, member: int, **more: Any) -> Manifest:  # noqa: ANN401
        """Return one identity of a namespace; `more` adds edges."""
        return moved(identity(member, self.ring, **more), number)

    def workloads(self) -> Iterator[Write]:
        """Yield a pod and a Deployment for each identity."""
        for number in range(self.namespaces):
            for member in range(self.ring):
                for kind in SHAPES:
                    yield write(workload(kind, number, member))


def space(number: int) -> str:
    """Return the name of a namespace."""
    return f"bench-{number}"


def namespace(number: int) -> Manifest:
    """Return a namespace of the trust domain."""
    named = {"kubernetes.io/metadata.name": space(number), **GOVERNED}
    metadata = {"name": space(number), "labels": named}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def moved(manifest: Manifest, number: int) -> Manifest:
    """Return an object in another namespace."""
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": space(number)}}


def workload(kind: str, number: int, member: int) -> Manifest:
    """Return the pod or the Deployment of an identity, of about the size of a real one."""
    pod = {
        "serviceAccountName": name(member),
        "containers": [
            {
                "name": "app",
                "image": f"registry.example/{name(member)}:1.0.0",
                "env": [{"name": f"SETTING_{each}", "value": "x" * 20} for each in range(10)],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
            }
        ],
    }
    template = {"metadata": {"labels": labels(member)}, "spec": pod}
    deployment = {"selector": {"matchLabels": labels(member)}, "template": template}
    made: Manifest = {
        "apiVersion": SHAPES[kind],
        "kind": kind,
        "metadata": {"name": name(member), "labels": labels(member)},
        "spec": pod if kind == "Pod" else {"replicas": 2, **deployment},
    }
    return moved(made, number)


def pod_changes(fleet: Fleet, number: int) -> Iterator[Write]:
    """Yield the writes of one change of a pod: its status, and that of its Deployment."""
    place, member = divmod(number % fleet.size, fleet.ring)
    ready = {"observedGeneration": 1, "replicas": 2, "readyReplicas": number % 2 + 1}
    started = {"phase": "Running", "startTime": f"2026-01-01T00:{number // 60 % 60:02}:00Z"}
    for kind, status in (("Pod", started), ("Deployment", ready)):
        path = write(workload(kind, place, member)).path
        yield Write(f"{path}/status", {"status": status}, MERGE)


def write(manifest: Manifest) -> Write:
    """Return the write that applies an object."""
    metadata = manifest["metadata"]
    resource = RESOURCES[manifest["kind"]]
    path = resource.path(name=metadata["name"], namespace=metadata.get("namespace"))
    return Write(path, manifest, APPLY)
