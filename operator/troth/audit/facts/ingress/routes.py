"""Routes: the Services to which Ingresses, HTTPRoutes and VirtualServices lead."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from troth.audit.facts.members import items, mapping, member, text, texts
from troth.audit.finding import Object
from troth.resources.references import Ref

MOST_ROUTES = 2000
"""Routes of one object that rules read; the API server accepts fewer in any of these kinds."""


@dataclass(frozen=True, slots=True)
class Route:
    """Way from outside to a port of a Service."""

    source: Object
    field: str
    service: Ref
    port: str
    """Number or name of the Service's port; empty if the route names none."""
    hosts: tuple[str, ...] = ()
    path: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names that say what the route is for."""
        return (self.source.ref.name, self.service.name, self.path, *self.hosts)


def routes_of(manifest: Mapping[str, Any]) -> tuple[Route, ...]:
    """Return the routes of an Ingress, HTTPRoute, VirtualService, or Service with a port outside.

    It returns none for an object of another kind.
    """
    read = _READERS.get(manifest["kind"])
    if read is None:
        return ()
    source = Object(manifest["kind"], Ref.of(manifest))
    found = read(manifest, source)
    return tuple(route for route, _ in zip(found, range(MOST_ROUTES), strict=False))


def _ingress(manifest: Mapping[str, Any], source: Object) -> Iterator[Route]:
    spec = mapping(manifest, "spec")
    for number, rule in items(spec, "rules"):
        for position, each in items(rule, "http", "paths"):
            backend, field = (
                mapping(each, "backend"),
                f"spec.rules[{number}].http.paths[{position}]",
            )
            hosts = (text(rule, "host"),) if text(rule, "host") else ()
            yield from _to(backend, source, field, hosts, text(each, "path"))
    yield from _to(mapping(spec, "defaultBackend"), source, "spec.defaultBackend", (), "")


def _to(
    backend: Mapping[str, Any], source: Object, field: str, hosts: tuple[str, ...], path: str
) -> Iterator[Route]:
    name = text(backend, "service", "name")
    if name:
        port = mapping(backend, "service", "port")
        wanted = _port(port.get("number")) or text(port, "name")
        yield Route(source, field, Ref(source.ref.namespace, name), wanted, hosts, path)


def _http_route(manifest: Mapping[str, Any], source: Object) -> Iterator[Route]:
    hosts = tuple(texts(manifest, "spec", "hostnames"))
    for number, rule in items(manifest, "spec", "rules"):
        matched = (text(each, "path", "value") for _, each in items(rule, "matches"))
        path = next((each for each in matched if each), "")
        for position, each in items(rule, "backendRefs"):
            if text(each, "name") and (text(each, "kind") or "Service") == "Service":
                service = Ref(text(each, "namespace") or source.ref.namespace, text(each, "name"))
                field = f"spec.rules[{number}].backendRefs[{position}]"
                yield Route(source, field, service, _port(each.get("port")), hosts, path)


def _virtual_service(manifest: Mapping[str, Any], source: Object) -> Iterator[Route]:
    gateways = texts(manifest, "spec", "gateways")
    if not any(each != "mesh" for each in gateways):
        return
    hosts = tuple(texts(manifest, "spec", "hosts"))
    for number, rule in items(manifest, "spec", "http"):
        uris = [mapping(each, "uri") for _, each in items(rule, "match")]
        path = next((text(uri, how) for uri in uris for how in uri if text(uri, how)), "")
        for position, each in items(rule, "route"):
            host = text(each, "destination", "host")
            if host:
                name, _, rest = host.partition(".")
                service = Ref(rest.partition(".")[0] or source.ref.namespace, name)
                port = _port(member(each, "destination", "port", "number"))
                field = f"spec.http[{number}].route[{position}]"
                yield Route(source, field, service, port, hosts, path)


def _service(manifest: Mapping[str, Any], source: Object) -> Iterator[Route]:
    if text(manifest, "spec", "type") in ("LoadBalancer", "NodePort"):
        for number, each in items(manifest, "spec", "ports"):
            port = _port(each.get("port"))
            yield Route(source, f"spec.ports[{number}]", source.ref, port, (), text(each, "name"))


_READERS = {
    "Ingress": _ingress,
    "HTTPRoute": _http_route,
    "VirtualService": _virtual_service,
    "Service": _service,
}
ROUTING = frozenset(_READERS)
"""Kinds that lead to a Service from outside."""


def _port(value: object) -> str:
    return str(value) if isinstance(value, int) else ""
