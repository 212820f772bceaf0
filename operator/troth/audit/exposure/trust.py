"""Workloads to which a route leads that admits callers by their addresses alone."""

from collections.abc import Iterator
from dataclasses import dataclass

from troth.audit.exposure.injection import targets_of
from troth.audit.exposure.targets import Target, targets
from troth.audit.facts.ingress import allowlists
from troth.audit.facts.ingress.allowlists import Allowlist
from troth.audit.facts.ingress.routes import ROUTING, Route, routes_of
from troth.audit.facts.members import mapping, member
from troth.audit.facts.pods.workloads import Workload
from troth.audit.finding import Object
from troth.audit.scene import Manifest, Scene
from troth.resources.references import Ref

_AUTHENTICATING = frozenset({"forwardAuth", "basicAuth", "digestAuth", "plugin"})
"""Members of a Middleware by which more than an address may be required."""


@dataclass(frozen=True, slots=True)
class AddressTrust:
    """Allowlist that alone decides who reaches a workload through a route."""

    allowlist: Allowlist
    target: Target


def address_trusts(scene: Scene) -> Iterator[AddressTrust]:
    """Yield each allowlist of a route, once for every target that it decides about."""
    middlewares = {
        f"{each['metadata'].get('namespace', '')}-{each['metadata']['name']}": each
        for each in scene.objects("Middleware")
    }
    policies = _security_policies(scene)
    for kind in sorted(ROUTING):
        for manifest in scene.objects(kind):
            used = [
                middlewares[name]
                for name in allowlists.middlewares_of(manifest)
                if name in middlewares
            ]
            if allowlists.authenticates(manifest) or any(map(_authenticates, used)):
                continue
            found = [
                *(each for middleware in used for each in allowlists.of_middleware(middleware)),
                *(allowlists.of_ingress(manifest) if kind == "Ingress" else ()),
                *(allowlists.of_service(manifest) if kind == "Service" else ()),
                *policies.get(Object(kind, Ref.of(manifest)), ()),
            ]
            yield from _decided(scene, routes_of(manifest), found)


def _decided(
    scene: Scene, routes: tuple[Route, ...], found: list[Allowlist]
) -> Iterator[AddressTrust]:
    """Yield the first allowlist of each target, else the one of an AuthorizationPolicy."""
    meshed = bool(scene.objects("AuthorizationPolicy"))
    if not found and not meshed:
        return
    for route in routes:
        for target in targets(scene, route):
            for each in found or _of_mesh(scene, target.workload):
                yield AddressTrust(each, target)
                break


def _of_mesh(scene: Scene, workload: Workload) -> Iterator[Allowlist]:
    for manifest in scene.objects("AuthorizationPolicy", workload.object.ref.namespace):
        selected = mapping(manifest, "spec", "selector", "matchLabels")
        applies = not targets_of(manifest) and all(
            workload.labels.get(key) == value for key, value in selected.items()
        )
        if applies:
            yield from allowlists.of_authorization(manifest)


def _security_policies(scene: Scene) -> dict[Object, list[Allowlist]]:
    found: dict[Object, list[Allowlist]] = {}
    for manifest in scene.objects("SecurityPolicy"):
        for target in targets_of(manifest):
            found.setdefault(target, []).extend(allowlists.of_security_policy(manifest))
    return found


def _authenticates(middleware: Manifest) -> bool:
    spec = member(middleware, "spec")
    return isinstance(spec, dict) and not _AUTHENTICATING.isdisjoint(spec)
