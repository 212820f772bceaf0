"""Which gateway hands webhooks on to a workload, on which port, and by which keys it is known.

What `identity.json` tells a target, and `webhook-jwks.json` to whoever verifies with a library.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic_core import to_json

from troth.planning.owned_objects import is_child
from troth.resources.references import Ref
from troth.trust.deliveries import routes_on
from troth.trust.edges import CALLEE_NOT_NARROWED, Edge
from troth.world.facts.objects import TokenKey
from troth.world.facts.webhook_listed import listed_in
from troth.world.world import World

Entry = Mapping[str, Any]


def is_for_webhooks(edge: Edge, world: World) -> bool:
    """Say whether an edge is one of a gateway's on which nothing but webhooks comes.

    A call that the gateway declares itself is as any other, unless an endpoint asks for it too.
    """
    caller = world.registry.identities.get(edge.caller)
    if caller is None or caller.spec.serves_webhooks is None:
        return False
    called = world.registry.declared(edge.caller).calls.get(edge.callee, ())
    return edge.port not in called or bool(
        routes_on(world.registry, edge.caller, edge.callee, edge.port)
    )


def webhooks_of(
    edges: Iterable[tuple[Edge, bool]],
    ids: Mapping[Ref, str],
    world: World,
    standing: Mapping[str, Any],
) -> tuple[Entry, ...]:
    """Return what a target is told of the gateways of the edges in force towards it, sorted.

    Beside each edge is whether a conflict suspends it: then it has no endpoint that it has not
    already, and those as they are. An endpoint that cannot be read stays, where it is there.
    """
    found = []
    for edge, suspended in edges:
        before = _standing(standing, ids[edge.caller], edge.port)
        endpoints = sorted(_endpoints(edge, before, world, suspended=suspended))
        if endpoints or is_for_webhooks(edge, world):
            found.append(_entry(edge, ids[edge.caller], endpoints, world))
    return tuple(sorted(found, key=lambda entry: (entry["gateway"], entry["port"])))


def key_set(entries: Iterable[Entry]) -> str:
    """Return the keys of all gateways as one JWKS (RFC 7517), as text."""
    keys = {key["kid"]: key for entry in entries for key in entry["keys"]["keys"]}
    return _text({"keys": [key for _, key in sorted(keys.items())]})


Endpoint = tuple[str, str, str]
"""Its name with its namespace, its path at the target, and its workflow."""


def _endpoints(
    edge: Edge, before: Iterable[Endpoint], world: World, *, suspended: bool
) -> Iterator[Endpoint]:
    declared = {
        str(route.endpoint): (str(route.endpoint), route.path, route.workflow)
        for route in routes_on(world.registry, edge.caller, edge.callee, edge.port)
    }
    if (
        edge.reason == CALLEE_NOT_NARROWED
    ):  # closed until the document grants no more than is declared
        yield from (each for each in before if each in declared.values())
    elif suspended:  # its gateway hands on as before too
        yield from (each for each in before if each[0] in declared)
    else:
        yield from declared.values()
    unread = {str(ref) for ref in world.registry.webhooks.unread_in(edge.callee.namespace)}
    yield from (each for each in before if each[0] in unread)


def _entry(edge: Edge, gateway: str, endpoints: Iterable[Endpoint], world: World) -> Entry:
    return {
        "gateway": gateway,
        "issuer": gateway,
        "keys": {"keys": [_jwk(key) for key in _keys(edge.caller, world)]},
        "port": edge.port,
        "endpoints": [
            {"name": name, "path": path, "workflow": workflow} for name, path, workflow in endpoints
        ],
    }


def _keys(gateway: Ref, world: World) -> tuple[TokenKey, ...]:
    """Return the keys that a gateway signs with; none where the Secret is not its own, so that all
    it hands on is refused.
    """
    known = world.signing.of(gateway)
    identity = world.registry.identities[gateway]
    return known.keys if known is not None and is_child(known, identity) else ()


def _jwk(key: TokenKey) -> Mapping[str, str]:
    return {**key.jwk, "use": "sig", "alg": "ES256"}


def _standing(document: Mapping[str, Any], gateway: str, port: str) -> tuple[Endpoint, ...]:
    """Return the endpoints that a document has of a gateway for a port."""
    return tuple(
        (each.endpoint, each.path, each.workflow)
        for each in listed_in(document)
        if (each.gateway, each.port) == (gateway, port)
    )


def _text(document: Mapping[str, Any]) -> str:
    return to_json(document, indent=2).decode() + "\n"
