"""A gateway's side of an edge to a webhook's target, which WebhookEndpoints declare for it.

An endpoint counts if its gateway serves its namespace. An unreadable endpoint may be any of its
namespace, so as long as it exists, no such edge there opens or closes.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.unlisted import UNLISTED, unlisted_message
from troth.trust.declarations.webhooks import Route
from troth.trust.edges.candidate import EdgeCandidate, EdgeObstacle
from troth.trust.selectors import matches


def serves(registry: Registry, gateway: Ref, namespace: str) -> bool:
    """Return whether a gateway exists and serves the endpoints of a namespace."""
    identity, labels = registry.identities.get(gateway), registry.namespaces.get(namespace)
    served = identity.spec.serves_webhooks if identity else None
    return served is not None and labels is not None and matches(served.allowed_namespaces, labels)


def accepted_gateways(registry: Registry, target: Ref) -> Iterator[Ref]:
    """Yield the gateways that an identity accepts."""
    for peer in registry.declared(target).accepts:
        identity = registry.identities.get(peer)
        if identity is not None and identity.spec.serves_webhooks is not None:
            yield peer


def delivered_by(registry: Registry, gateway: Ref) -> Iterator[Route]:
    """Yield the routes through a gateway, sorted."""
    served: dict[str, bool] = {}
    for route in registry.webhooks.through(gateway):
        namespace = route.endpoint.namespace
        if namespace not in served:
            served[namespace] = serves(registry, gateway, namespace)
        if served[namespace]:
            yield route


def delivered_to(registry: Registry, target: Ref) -> Iterator[Route]:
    """Yield the routes to a target, sorted."""
    for route in registry.webhooks.to(target):
        if serves(registry, route.gateway, route.endpoint.namespace):
            yield route


def routes_on(registry: Registry, gateway: Ref, target: Ref, port: str) -> AbstractSet[Route]:
    """Return the routes from a gateway to one port of a target.

    The result is all routes of the target's namespace or none, as the gateway serves it or not.
    """
    served = serves(registry, gateway, target.namespace)
    return registry.webhooks.on(gateway, target, port) if served else frozenset()


def how_to_accept(candidate: EdgeCandidate) -> str:
    """Return what the callee must declare to accept the caller on the port."""
    caller, callee, port = candidate.caller, candidate.callee, candidate.port
    routes = routes_on(candidate.registry, caller, callee, port)
    if not routes or port in candidate.registry.declared(caller).calls.get(callee, ()):
        return "add it to its accepts"
    entry = f"{{from: {{name: {caller.name}, namespace: {caller.namespace}}}, ports: [{port}]}}"
    first = min(route.endpoint for route in routes)
    return f"add {entry} to its accepts for WebhookEndpoint {first}"


def gateway_delivers(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that a served endpoint declares the call, to a port that is only for webhooks."""
    registry, caller, callee = candidate.registry, candidate.caller, candidate.callee
    identity = candidate.callee_identity
    if identity is not None and identity.spec.authentication.certificate is None:
        message = f"{callee} is gatewayOnly and cannot verify a delivery; use mtls or token there"
        return EdgeObstacle(EdgeState.REFUSED, "TargetHasNoCertificate", message)
    if not serves(registry, caller, callee.namespace):
        message = (
            f"{caller} does not serve webhooks of namespace {callee.namespace}; label the "
            "namespace so that servesWebhooks.allowedNamespaces selects it"
        )
        return EdgeObstacle(EdgeState.REFUSED, "NamespaceNotAllowed", message)
    routes = registry.webhooks.on(caller, callee, candidate.port)
    unread = None if routes else registry.webhooks.first_unread_in(callee.namespace)
    unlisted = not routes and callee.namespace in registry.unlisted
    if not routes and unread is None and not unlisted:
        message = (
            f"no WebhookEndpoint leads from {caller} to {callee} on {candidate.port}; create one "
            f"in namespace {callee.namespace}, or remove the entry"
        )
        return EdgeObstacle(EdgeState.AWAITING_CALLER, "NotCalled", message)
    if identity is not None and _port_shared(identity, candidate):
        message = (
            f"{callee} accepts other callers than {caller} on {candidate.port}; give webhooks a "
            "port of their own"
        )
        return EdgeObstacle(EdgeState.REFUSED, "PortShared", message)
    if unlisted:
        return EdgeObstacle(EdgeState.SUSPENDED, UNLISTED, unlisted_message(callee.namespace))
    if not routes:
        message = f"WebhookEndpoint {unread} cannot be read; correct it"
        return EdgeObstacle(EdgeState.SUSPENDED, "EndpointInvalid", message)
    return None


def _port_shared(callee: ServiceIdentity, candidate: EdgeCandidate) -> bool:
    """Return whether the callee accepts another caller than the gateway on the port."""
    return any(
        candidate.port in each.ports
        and (each.from_ is None or each.from_.seen_from(callee.ref.namespace) != candidate.caller)
        for each in callee.spec.accepts
    )
