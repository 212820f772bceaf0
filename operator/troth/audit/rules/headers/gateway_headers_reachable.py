"""Workloads behind a gateway that adds identity headers, which others can reach as well."""

from collections.abc import Iterator
from dataclasses import dataclass

from troth.audit.exposure.injection import Injection, injections
from troth.audit.exposure.reach import Opening, opening
from troth.audit.facts.ingress.routes import ROUTING
from troth.audit.finding import Finding, Fix, Object
from troth.audit.rule import Rule, Scope
from troth.audit.rules.headers import gateway_draft
from troth.audit.scene import Scene
from troth.resources.reported import Severity


@dataclass(frozen=True, slots=True)
class _Reachable:
    injection: Injection
    opening: Opening

    @property
    def about(self) -> str:
        return f"port {self.injection.port}" if self.injection.port else "unknown port"


def _find(scene: Scene, _: str) -> Iterator[Finding]:
    seen: set[tuple[object, str]] = set()
    for each in _reachable(scene):
        workload = each.injection.workload.object
        if (workload, each.about) in seen:  # two gateways lead to one port
            continue
        seen.add((workload, each.about))
        yield Finding(
            RULE.id,
            workload,
            f"the gateway that {each.injection.gateway} configures tells it in headers who calls, "
            f"and {each.opening.who} can reach it without the gateway and forge them; admit the "
            "gateway alone, or verify tokens",
            (each.injection.evidence, each.opening.evidence),
            about=each.about,
        )


def _reachable(scene: Scene) -> Iterator[_Reachable]:
    openings: dict[tuple[Object, int], Opening | None] = {}  # many routes lead to one port
    for each in injections(scene):
        if each.workload.spec.proxies and each.proxy is None:
            continue  # it is a proxy itself, behind another gateway
        place = each.workload.object, each.port
        if place not in openings:
            openings[place] = opening(scene, each.workload, each.port)
        found = openings[place]
        if found is not None:
            yield _Reachable(each, found)


def _fix(scene: Scene, finding: Finding) -> Fix:
    found = (
        each.injection
        for each in _reachable(scene)
        if (each.injection.workload.object, each.about) == (finding.subject, finding.about)
    )
    return gateway_draft.fix(scene, next(found))


RULE = Rule(
    id="TR401",
    name="GatewayHeadersReachable",
    title="A workload gets identity headers from a gateway, and others can reach it as well.",
    severity=Severity.HIGH,
    reads=ROUTING
    | {"Middleware", "RequestAuthentication", "AuthorizationPolicy", "SecurityPolicy", "Gateway"}
    | {"NetworkPolicy", "ServiceIdentity", "TrustDomain", "Namespace"}
    | {"Pod", "Deployment", "StatefulSet"},
    find=_find,
    fix=_fix,
    scope=Scope.CLUSTER,  # gateways, their policies and workloads are in several namespaces
)
