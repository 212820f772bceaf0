"""The gateways that deliver webhooks to a workload, with their ports and public keys.

A target reads them in `identity.json`. Verifiers that use a JWKS library read
`webhook-jwks.json`.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import to_json

from troth.documents.identity.deliveries import listed_in
from troth.planning.identity.facts import View
from troth.planning.owned_objects import is_child
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.edges.deliveries import routes_on
from troth.trust.edges.evaluation import CALLEE_NOT_NARROWED, Edge
from troth.world.facts.objects import TokenKey

Entry = Mapping[str, Any]


def is_for_webhooks(edge: Edge, registry: Registry) -> bool:
    """Return whether an edge from a gateway carries only webhook deliveries.

    A call that the gateway declares itself counts as an ordinary call, unless an endpoint needs it
    too.
    """
    caller = registry.identities.get(edge.caller)
    if caller is None or caller.spec.serves_webhooks is None:
        return False
    called = registry.declared(edge.caller).calls.get(edge.callee, ())
    return edge.port not in called or bool(routes_on(registry, edge.caller, edge.callee, edge.port))


def webhooks_of(
    edges: Iterable[tuple[Edge, bool]],
    ids: Mapping[Ref, str],
    view: View,
    current: Mapping[str, Any],
) -> tuple[Entry, ...]:
    """Return the `webhooks` entries for the edges in force towards a target, sorted.

    Each edge comes with a flag: true if it is suspended. A suspended edge keeps those of its
    current endpoints that are still declared, unchanged, and gains none. An endpoint that cannot be
    read stays if the document has it.
    """
    found = []
    for edge, suspended in edges:
        before = _listed_endpoints(current, ids[edge.caller], edge.port)
        endpoints = sorted(_endpoints(edge, before, view.registry, suspended=suspended))
        if endpoints or is_for_webhooks(edge, view.registry):
            found.append(_entry(edge, ids[edge.caller], endpoints, view))
    return tuple(sorted(found, key=lambda entry: (entry["gateway"], entry["port"])))


def key_set(entries: Iterable[Entry]) -> str:
    """Return the text of one JWKS (RFC 7517) with the keys of all gateways."""
    keys = {key["kid"]: key for entry in entries for key in entry["keys"]["keys"]}
    return _text({"keys": [key for _, key in sorted(keys.items())]})


Endpoint = tuple[str, str, str]
"""Name with namespace, path at the target, and workflow of an endpoint."""


def _endpoints(
    edge: Edge, before: Iterable[Endpoint], registry: Registry, *, suspended: bool
) -> Iterator[Endpoint]:
    declared = {
        str(route.endpoint): (str(route.endpoint), route.path, route.workflow)
        for route in routes_on(registry, edge.caller, edge.callee, edge.port)
    }
    if edge.reason == CALLEE_NOT_NARROWED:  # closed until the document is narrowed
        yield from (each for each in before if each in declared.values())
    elif suspended:  # its gateway also keeps its current endpoints
        yield from (each for each in before if each[0] in declared)
    else:
        yield from declared.values()
    unread = {str(ref) for ref in registry.webhooks.unread_in(edge.callee.namespace)}
    yield from (each for each in before if each[0] in unread)


def _entry(edge: Edge, gateway: str, endpoints: Iterable[Endpoint], view: View) -> Entry:
    return {
        "gateway": gateway,
        "issuer": gateway,
        "keys": {"keys": [_jwk(key) for key in _keys(edge.caller, view)]},
        "port": edge.port,
        "endpoints": [
            {"name": name, "path": path, "workflow": workflow} for name, path, workflow in endpoints
        ],
    }


def _keys(gateway: Ref, view: View) -> tuple[TokenKey, ...]:
    """Return the public keys of a gateway.

    There are none if the gateway does not own the Secret, so that targets reject all its
    deliveries.
    """
    known = view.gateways.get(gateway)
    identity = view.registry.identities[gateway]
    return known.keys if known is not None and is_child(known, identity) else ()


def _jwk(key: TokenKey) -> Mapping[str, str]:
    return {**key.jwk, "use": "sig", "alg": "ES256"}


def _listed_endpoints(document: Mapping[str, Any], gateway: str, port: str) -> tuple[Endpoint, ...]:
    """Return the endpoints that a document lists for a gateway on a port."""
    return tuple(
        (each.endpoint, each.path, each.workflow)
        for each in listed_in(document)
        if (each.gateway, each.port) == (gateway, port)
    )


def _text(document: Mapping[str, Any]) -> str:
    return to_json(document, indent=2).decode() + "\n"
