"""Workloads behind gateways that add identity headers to requests."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from troth.audit.exposure.running import running
from troth.audit.exposure.targets import Target, targets
from troth.audit.facts.ingress import gateways
from troth.audit.facts.ingress.allowlists import middlewares_of
from troth.audit.facts.ingress.auth_proxies import Upstream
from troth.audit.facts.ingress.gateways import MESH_ROOT, Added
from troth.audit.facts.ingress.routes import Route, routes_of
from troth.audit.facts.members import items, mapping, text, texts
from troth.audit.facts.pods.workloads import Workload
from troth.audit.finding import Evidence, Object
from troth.audit.scene import Manifest, Scene
from troth.resources.references import Ref

_LOCAL = ("localhost", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class Injection:
    """Identity headers that a gateway adds to the requests for a workload."""

    gateway: Object
    """Object that configures the gateway, or the workload that is one."""
    evidence: Evidence
    headers: tuple[str, ...]
    workload: Workload
    port: int
    """Port to which the gateway forwards, 0 if it is unknown."""
    proxy: Workload | None = None
    """Workload of the gateway, None if only an object that configures it is known."""


def injections(scene: Scene) -> Iterator[Injection]:
    """Yield what every gateway of the scene adds, in a stable order."""
    middlewares = _middlewares(scene)
    for manifest in scene.objects("Ingress"):
        added = [(_place(manifest), each) for each in gateways.of_ingress(manifest)]
        added += [found for name in middlewares_of(manifest) for found in middlewares.get(name, ())]
        yield from _through(scene, routes_of(manifest), added)
    on_routes = _security_policies(scene)
    for manifest in scene.objects("HTTPRoute"):
        added = [found for name in middlewares_of(manifest) for found in middlewares.get(name, ())]
        added += on_routes.get(_place(manifest), [])
        for parent in _parents(manifest):
            added += on_routes.get(parent, [])
        yield from _through(scene, routes_of(manifest), added)
    yield from _behind_istio(scene)
    for namespace in scene.namespaces():
        for workload in running(scene, namespace):
            for proxy in workload.spec.proxies:
                for upstream in proxy.upstreams:
                    yield from _behind_proxy(scene, workload, proxy.field, upstream)


_Added = tuple[Object, Added]


def _through(
    scene: Scene, routes: tuple[Route, ...], added: list[_Added], proxy: Workload | None = None
) -> Iterator[Injection]:
    if not added:
        return
    headers = tuple(dict.fromkeys(header for _, each in added for header in each.headers))
    place, first = added[0]
    evidence = Evidence(place, first.field, f"adds {_listed(headers)}")
    for route in routes:
        for target in targets(scene, route):
            yield _injection(place, evidence, headers, target, proxy)


def _injection(
    place: Object,
    evidence: Evidence,
    headers: tuple[str, ...],
    target: Target,
    proxy: Workload | None,
) -> Injection:
    return Injection(place, evidence, headers, target.workload, target.port, proxy)


def _middlewares(scene: Scene) -> dict[str, list[_Added]]:
    """Return what the Middlewares add, by `namespace-name`."""
    found: dict[str, list[_Added]] = {}
    for manifest in scene.objects("Middleware"):
        place = _place(manifest)
        for each in gateways.of_middleware(manifest):
            found.setdefault(f"{place.ref.namespace}-{place.ref.name}", []).append((place, each))
    return found


def _security_policies(scene: Scene) -> dict[Object, list[_Added]]:
    """Return what the SecurityPolicies of Envoy Gateway add, by the object that each is for."""
    found: dict[Object, list[_Added]] = {}
    for kind, read in (
        ("SecurityPolicy", gateways.of_security_policy),
        ("RequestAuthentication", gateways.of_request_authentication),
    ):
        for manifest in scene.objects(kind):
            place = _place(manifest)
            for target in targets_of(manifest):
                found.setdefault(target, []).extend((place, each) for each in read(manifest))
    return found


def targets_of(manifest: Manifest) -> list[Object]:
    """Return the objects for which a policy is, in its own namespace."""
    spec, namespace = mapping(manifest, "spec"), text(manifest, "metadata", "namespace")
    named = [each for _, each in items(spec, "targetRefs")] + [mapping(spec, "targetRef")]
    return [
        Object(text(each, "kind"), Ref(namespace, text(each, "name")))
        for each in named
        if text(each, "name")
    ]


def _parents(manifest: Manifest) -> list[Object]:
    namespace = text(manifest, "metadata", "namespace")
    return [
        Object("Gateway", Ref(text(each, "namespace") or namespace, text(each, "name")))
        for _, each in items(manifest, "spec", "parentRefs")
        if (text(each, "kind") or "Gateway") == "Gateway"
    ]


def _behind_istio(scene: Scene) -> Iterator[Injection]:
    """Yield what RequestAuthentications of Istio's gateways add.

    One that selects the workload itself adds nothing that others can forge: the sidecar removes
    these headers from requests without a token.
    """
    for manifest in scene.objects("RequestAuthentication"):
        added = [(_place(manifest), each) for each in gateways.of_request_authentication(manifest)]
        if not added or targets_of(manifest):
            continue
        bound = {
            ref for ref, labels in _istio_gateways(scene) if _covers(scene, manifest, ref, labels)
        }
        for service in scene.objects("VirtualService") if bound else ():
            namespace = service["metadata"].get("namespace", "")
            named = {_gateway(each, namespace) for each in texts(service, "spec", "gateways")}
            if named & bound:
                yield from _through(scene, routes_of(service), added)


def _istio_gateways(scene: Scene) -> list[tuple[Ref, Mapping[str, Any]]]:
    return [
        (Ref.of(each), mapping(each, "spec", "selector"))
        for each in scene.objects("Gateway")
        if text(each, "apiVersion").startswith("networking.istio.io/")
    ]


def _covers(scene: Scene, manifest: Manifest, gateway: Ref, labels: Mapping[str, Any]) -> bool:
    """Return whether a RequestAuthentication is for the pods of a Gateway.

    Both select pods by labels, which need not be the same ones; then the pods' labels decide.
    """
    selected = mapping(manifest, "spec", "selector", "matchLabels")
    namespace = _place(manifest).ref.namespace
    if not selected:
        return namespace in (MESH_ROOT, gateway.namespace)
    if all(labels.get(key) == value for key, value in selected.items()):
        return True
    wanted = [*selected.items(), *labels.items()]
    return any(
        all(each.labels.get(key) == value for key, value in wanted)
        for each in running(scene, namespace)
    )


def _gateway(name: str, namespace: str) -> Ref:
    first, slash, second = name.partition("/")
    return Ref(first, second) if slash else Ref(namespace, first)


def _behind_proxy(
    scene: Scene, workload: Workload, container: str, upstream: Upstream
) -> Iterator[Injection]:
    place, field = workload.object, f"{workload.path}.{upstream.field}"
    added = Added(field, ("x-forwarded-user", "x-forwarded-email"))
    if upstream.host not in _LOCAL:
        name, _, rest = upstream.host.partition(".")
        service = Ref(rest.partition(".")[0] or place.ref.namespace, name)
        route = Route(place, field, service, str(upstream.port))
        yield from _through(scene, (route,), [(place, added)], workload)
    elif _listens_beside(workload, container, upstream.port):
        evidence = Evidence(place, field, f"adds {_listed(added.headers)}")
        yield Injection(place, evidence, added.headers, workload, upstream.port, workload)


def _listens_beside(workload: Workload, container: str, port: int) -> bool:
    """Return whether another container declares a port, and none binds it locally."""
    declared = any(
        each.number == port and container != f"containers[{each.container}]"
        for each in workload.spec.ports
    )
    local = any(
        each.port == port and each.host in _LOCAL and not each.field.startswith(f"{container}.")
        for each in workload.spec.addresses
    )
    return declared and not local


def _place(manifest: Manifest) -> Object:
    return Object(manifest["kind"], Ref.of(manifest))


def _listed(headers: tuple[str, ...]) -> str:
    shown = ", ".join(headers[:4])
    return f"{shown} and others" if len(headers) > 4 else shown  # noqa: PLR2004 - a short sentence
