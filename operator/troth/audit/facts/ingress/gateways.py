"""Identity headers that gateways add to requests, as their annotations and resources say."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from troth.audit.facts.ingress.identity_headers import says_who_calls
from troth.audit.facts.members import annotations, items, mapping, text, texts
from troth.audit.facts.ranges import split

MESH_ROOT = "istio-system"
"""Namespace whose policies hold for all of a mesh, unless its installation says otherwise."""

_NGINX = "nginx.ingress.kubernetes.io/"
_RESPONSES = (f"{_NGINX}auth-response-headers", "haproxy-ingress.github.io/auth-headers-succeed")
_AUTH_URLS = (f"{_NGINX}auth-url", "haproxy-ingress.github.io/auth-url")
_SNIPPET = f"{_NGINX}configuration-snippet"
_SET_HEADER = re.compile(r"proxy_set_header\s{1,8}\"?([A-Za-z0-9-]{1,64})")
_ALB = "alb.ingress.kubernetes.io/auth-type"
_ALB_HEADERS = ("x-amzn-oidc-identity", "x-amzn-oidc-data")
_NAME = re.compile("[A-Za-z0-9-]{1,64}", re.ASCII)
_MOST_HEADERS = 32


class Added(NamedTuple):
    """Headers that a gateway adds, and the field that says so."""

    field: str
    headers: tuple[str, ...]


def of_ingress(manifest: Mapping[str, Any]) -> Iterator[Added]:
    """Yield what nginx, HAProxy or an AWS load balancer adds for an Ingress."""
    found = annotations(manifest)
    if any(found.get(name) for name in _AUTH_URLS):
        for name in _RESPONSES:
            yield from _added(f"metadata.annotations[{name}]", split(found.get(name, "")))
        set_here = _SET_HEADER.findall(found.get(_SNIPPET, ""))
        yield from _added(f"metadata.annotations[{_SNIPPET}]", set_here)
    if found.get(_ALB) in ("oidc", "cognito"):
        yield Added(f"metadata.annotations[{_ALB}]", _ALB_HEADERS)


def of_middleware(manifest: Mapping[str, Any]) -> Iterator[Added]:
    """Yield what a Middleware of Traefik adds."""
    field = "spec.forwardAuth.authResponseHeaders"
    yield from _added(field, texts(manifest, "spec", "forwardAuth", "authResponseHeaders"))


def of_request_authentication(manifest: Mapping[str, Any]) -> Iterator[Added]:
    """Yield what a RequestAuthentication of Istio adds. Each is a claim, whatever its name is."""
    for number, rule in items(manifest, "spec", "jwtRules"):
        field = f"spec.jwtRules[{number}]"
        claims = [text(each, "header") for _, each in items(rule, "outputClaimToHeaders")]
        yield from _added(f"{field}.outputClaimToHeaders", claims, named=False)
        payload = text(rule, "outputPayloadToHeader")
        yield from _added(f"{field}.outputPayloadToHeader", [payload], named=False)


def of_security_policy(manifest: Mapping[str, Any]) -> Iterator[Added]:
    """Yield what a SecurityPolicy of Envoy Gateway adds."""
    for number, each in items(manifest, "spec", "jwt", "providers"):
        claims = [text(one, "header") for _, one in items(each, "claimToHeaders")]
        yield from _added(f"spec.jwt.providers[{number}].claimToHeaders", claims, named=False)
    for protocol in ("http", "grpc"):
        headers = texts(mapping(manifest, "spec", "extAuth"), protocol, "headersToBackend")
        yield from _added(f"spec.extAuth.{protocol}.headersToBackend", headers)


def _added(field: str, headers: Iterable[str], *, named: bool = True) -> Iterator[Added]:
    """Yield the headers that are names and, with `named`, say who calls; nothing if none is."""
    kept = [
        each.lower()
        for each in headers
        if _NAME.fullmatch(each) and (says_who_calls(each) or not named)
    ]
    if kept:
        yield Added(field, tuple(dict.fromkeys(kept))[:_MOST_HEADERS])
