"""The workloads to which Services lead."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from troth.audit.exposure.running import with_labels
from troth.audit.facts.ingress.routes import Route
from troth.audit.facts.members import items, mapping, text
from troth.audit.facts.pods.pod_spec import PodSpec
from troth.audit.facts.pods.workloads import Workload
from troth.audit.facts.words import words
from troth.audit.scene import Scene

_DIGITS = 5
"""Digits of the highest port."""


@dataclass(frozen=True, slots=True)
class Target:
    """Port of a workload to which a route leads."""

    workload: Workload
    port: int
    """Port on which the pods listen, 0 if it is unknown."""
    port_name: str
    """Name of the port in the pod spec or the Service; empty without one."""
    route: Route


def targets(scene: Scene, route: Route) -> Iterator[Target]:
    """Yield the workloads to which a route leads."""
    service = scene.object("Service", route.service)
    if service is None:
        return
    behind = scene.derived(
        route.service.namespace,
        ("behind", route.service),
        lambda: with_labels(scene, route.service.namespace, mapping(service, "spec", "selector")),
    )
    for workload in behind:
        number, name = _listening(service, route.port, workload.spec)
        yield Target(workload, number, name, route)


def _listening(service: Mapping[str, Any], wanted: str, spec: PodSpec) -> tuple[int, str]:
    """Return number and name of the pods' port behind a port of a Service."""
    ports = [each for _, each in items(service, "spec", "ports")]
    fits = [each for each in ports if wanted in (str(each.get("port")), text(each, "name"))]
    chosen = next(iter(fits or (ports if not wanted or len(ports) == 1 else ())), None)
    if chosen is None:
        return 0, ""
    behind = chosen.get("targetPort", chosen.get("port"))
    named = text(chosen, "name")
    if isinstance(behind, str) and not _number(behind):
        return next((each.number for each in spec.ports if each.name == behind), 0), behind
    number = _number(behind)
    return number, next((each.name for each in spec.ports if each.number == number), "") or named


def _number(value: object) -> int:
    if isinstance(value, str):
        return int(value) if value.isascii() and value.isdecimal() and len(value) <= _DIGITS else 0
    return value if isinstance(value, int) else 0


def service_ports(scene: Scene, workload: Workload, aside: frozenset[str]) -> set[int]:
    """Return the TCP ports of a workload to which Services lead, without those named in `aside`."""
    found = set()
    for service in scene.services_to(workload.object.ref.namespace, workload.labels):
        for _, each in items(service, "spec", "ports"):
            number, name = _listening(service, str(each.get("port")), workload.spec)
            named = words(name, text(each, "name"))
            if each.get("protocol", "TCP") == "TCP" and aside.isdisjoint(named):
                found.add(number)
    return found - {0}
