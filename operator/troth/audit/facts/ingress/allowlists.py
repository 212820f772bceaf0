"""Allowlists of addresses: annotations and fields that admit callers by their address alone."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from troth.audit.facts.members import annotations, items, mapping, text, texts
from troth.audit.facts.ranges import split
from troth.audit.finding import Object
from troth.resources.references import Ref

LISTS = (
    "nginx.ingress.kubernetes.io/whitelist-source-range",
    "nginx.ingress.kubernetes.io/allowlist-source-range",
    "ingress.kubernetes.io/whitelist-source-range",
    "traefik.ingress.kubernetes.io/whitelist-source-range",
    "haproxy.org/whitelist",
    "haproxy.org/allow-list",
    "haproxy-ingress.github.io/whitelist-source-range",
    "haproxy-ingress.github.io/allowlist-source-range",
    "alb.ingress.kubernetes.io/inbound-cidrs",
)
"""Annotations of an Ingress that list ranges."""
_CONDITIONS = "alb.ingress.kubernetes.io/conditions."
_MIDDLEWARES = "traefik.ingress.kubernetes.io/router.middlewares"
_BALANCERS = (
    "service.beta.kubernetes.io/load-balancer-source-ranges",
    "service.beta.kubernetes.io/azure-allowed-ip-ranges",
)
"""Annotations of a Service of type LoadBalancer that list ranges."""
_AUTHENTICATES = (
    "nginx.ingress.kubernetes.io/auth-url",
    "nginx.ingress.kubernetes.io/auth-type",
    "nginx.ingress.kubernetes.io/auth-tls-secret",
    "haproxy.org/auth-type",
    "haproxy-ingress.github.io/auth-url",
    "haproxy-ingress.github.io/auth-tls-secret",
    "ingress.kubernetes.io/auth-type",
    "alb.ingress.kubernetes.io/auth-type",
)
"""Annotations of an Ingress that require something besides an address."""
_LONGEST_JSON = 16 * 1024
_SOURCES, _NOT_SOURCES = ("ipBlocks", "remoteIpBlocks"), ("notIpBlocks", "notRemoteIpBlocks")


@dataclass(frozen=True, slots=True)
class Allowlist:
    """Ranges that an object admits."""

    object: Object
    field: str
    ranges: tuple[str, ...]


def of_ingress(manifest: Mapping[str, Any]) -> Iterator[Allowlist]:
    """Yield the allowlists in the annotations of an Ingress."""
    found = annotations(manifest)
    for name in LISTS:
        if name in found:
            yield _list(manifest, _field(name), split(found[name]))
    for name, value in found.items():
        if name.startswith(_CONDITIONS):
            yield _list(manifest, _field(name), _source_ips(value))


def of_service(manifest: Mapping[str, Any]) -> Iterator[Allowlist]:
    """Yield the allowlists of a Service of type LoadBalancer."""
    if text(manifest, "spec", "type") != "LoadBalancer":
        return
    ranges = texts(manifest, "spec", "loadBalancerSourceRanges")
    if ranges:
        yield _list(manifest, "spec.loadBalancerSourceRanges", ranges)
    found = annotations(manifest)
    for name in _BALANCERS:
        if name in found and not ranges:  # the API server and the controllers prefer the field
            yield _list(manifest, _field(name), split(found[name]))


def of_middleware(manifest: Mapping[str, Any]) -> Iterator[Allowlist]:
    """Yield the allowlists of a Middleware of Traefik."""
    for name in ("ipAllowList", "ipWhiteList"):
        ranges = texts(manifest, "spec", name, "sourceRange")
        if ranges:
            yield _list(manifest, f"spec.{name}.sourceRange", ranges)


def of_authorization(manifest: Mapping[str, Any]) -> Iterator[Allowlist]:
    """Yield the allowlist of an AuthorizationPolicy of Istio that judges by addresses alone."""
    action, rules = text(manifest, "spec", "action") or "ALLOW", items(manifest, "spec", "rules")
    if action not in ("ALLOW", "DENY") or not rules:
        return
    wanted = _SOURCES if action == "ALLOW" else _NOT_SOURCES
    ranges: list[str] = []
    for _, rule in rules:
        sources = [mapping(each, "source") for _, each in items(rule, "from")]
        if not sources or rule.get("when") or not all(_only(each, wanted) for each in sources):
            return
        ranges += [each for source in sources for name in wanted for each in texts(source, name)]
    yield _list(manifest, "spec.rules", ranges)


def of_security_policy(manifest: Mapping[str, Any]) -> Iterator[Allowlist]:
    """Yield the allowlist of a SecurityPolicy of Envoy Gateway that judges by addresses alone."""
    spec = mapping(manifest, "spec")
    if spec.keys() & {"jwt", "oidc", "basicAuth", "apiKeyAuth", "extAuth"}:
        return
    if text(spec, "authorization", "defaultAction") != "Deny":
        return
    ranges: list[str] = []
    for _, rule in items(spec, "authorization", "rules"):
        principal = mapping(rule, "principal")
        if principal.keys() != {"clientCIDRs"} or text(rule, "action") != "Allow":
            return
        ranges += texts(principal, "clientCIDRs")
    yield _list(manifest, "spec.authorization.rules", ranges)


def middlewares_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the Middlewares that an Ingress or HTTPRoute names, as `namespace-name`."""
    namespace = text(manifest, "metadata", "namespace")
    named = split(annotations(manifest).get(_MIDDLEWARES, ""))
    found = [
        each.removesuffix("@kubernetescrd") for each in named if each.endswith("@kubernetescrd")
    ]
    for _, rule in items(manifest, "spec", "rules"):
        for _, each in items(rule, "filters"):
            if text(each, "extensionRef", "kind") == "Middleware":
                found.append(f"{namespace}-{text(each, 'extensionRef', 'name')}")
    return tuple(found)


def authenticates(manifest: Mapping[str, Any]) -> bool:
    """Return whether an Ingress requires something besides an address."""
    found = annotations(manifest)
    return any(found.get(name, "none") not in ("", "none") for name in _AUTHENTICATES)


def _only(source: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return bool(source) and source.keys() <= set(names)


def _list(manifest: Mapping[str, Any], field: str, ranges: list[str]) -> Allowlist:
    found = Object(manifest["kind"], Ref.of(manifest))
    return Allowlist(found, field, tuple(ranges))


def _field(annotation: str) -> str:
    return f"metadata.annotations[{annotation}]"


def _source_ips(value: str) -> list[str]:
    """Return the ranges of the conditions of an ALB, none if they cannot be read."""
    if len(value) > _LONGEST_JSON:
        return []
    try:
        conditions = json.loads(value)
    except (ValueError, RecursionError):  # it nests too deeply
        return []
    return [
        each
        for _, condition in items({"all": conditions}, "all")
        if text(condition, "field") == "source-ip"
        for each in texts(condition, "sourceIpConfig", "values")
    ]
