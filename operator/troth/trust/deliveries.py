"""What a webhook gateway may hand on: its side of an edge, which endpoints declare for it.

An endpoint counts where it is in a namespace that its gateway serves. One that cannot be read might
be any of its namespace's: as long as it is there, nothing opens by it and nothing closes.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.edge_question import Obstacle, Question
from troth.trust.registry import Registry
from troth.trust.selectors import matches
from troth.trust.webhooks import Route


def serves(registry: Registry, gateway: Ref, namespace: str) -> bool:
    """Say whether a gateway is there and serves the endpoints of a namespace."""
    identity, labels = registry.identities.get(gateway), registry.namespaces.get(namespace)
    served = identity.spec.serves_webhooks if identity else None
    return served is not None and labels is not None and matches(served.allowed_namespaces, labels)


def delivered_by(registry: Registry, gateway: Ref) -> Iterator[Route]:
    """Yield what a gateway is to hand on, sorted."""
    for route in registry.webhooks.through(gateway):
        if serves(registry, gateway, route.endpoint.namespace):
            yield route


def delivered_to(registry: Registry, target: Ref) -> Iterator[Route]:
    """Yield what gateways are to hand on to a target, sorted."""
    for route in registry.webhooks.to(target):
        if serves(registry, route.gateway, route.endpoint.namespace):
            yield route


def routes_on(registry: Registry, gateway: Ref, target: Ref, port: str) -> AbstractSet[Route]:
    """Return what a gateway is to hand on to one port of a target: its namespace's endpoints are
    served all, or none.
    """
    served = serves(registry, gateway, target.namespace)
    return registry.webhooks.on(gateway, target, port) if served else frozenset()


def how_to_accept(question: Question) -> str:
    """Say what the callee has to write to accept the caller on the port."""
    caller, callee, port = question.caller, question.callee, question.port
    routes = routes_on(question.registry, caller, callee, port)
    if not routes or port in question.registry.declared(caller).calls.get(callee, ()):
        return "add it to its accepts"
    entry = f"{{from: {{name: {caller.name}, namespace: {caller.namespace}}}, ports: [{port}]}}"
    first = min(route.endpoint for route in routes)
    return f"add {entry} to its accepts for WebhookEndpoint {first}"


def gateway_delivers(question: Question) -> Obstacle | None:
    """An endpoint that the gateway serves asks for the call, to a port for webhooks alone."""
    registry, caller, callee = question.registry, question.caller, question.callee
    routes = routes_on(registry, caller, callee, question.port)
    unread = registry.webhooks.unread_in(callee.namespace)
    identity = question.callee_identity
    assert identity is not None
    if identity.spec.authentication.certificate is None:
        message = f"{callee} is gatewayOnly and cannot verify a delivery; use mtls or token there"
        return Obstacle(EdgeState.REFUSED, "TargetHasNoCertificate", message)
    if not serves(registry, caller, callee.namespace):
        message = (
            f"{caller} does not serve webhooks of namespace {callee.namespace}; label the "
            "namespace so that servesWebhooks.allowedNamespaces selects it"
        )
        return Obstacle(EdgeState.REFUSED, "NamespaceNotAllowed", message)
    if not routes and not unread:
        message = (
            f"no WebhookEndpoint leads from {caller} to {callee} on {question.port}; create one "
            f"in namespace {callee.namespace}, or remove the entry"
        )
        return Obstacle(EdgeState.AWAITING_CALLER, "NotCalled", message)
    if _port_shared(identity, question):
        message = (
            f"{callee} accepts other callers than {caller} on {question.port}; give webhooks a "
            "port of their own"
        )
        return Obstacle(EdgeState.REFUSED, "PortShared", message)
    if not routes:
        message = f"WebhookEndpoint {unread[0]} cannot be read; correct it"
        return Obstacle(EdgeState.SUSPENDED, "EndpointInvalid", message)
    return None


def _port_shared(callee: ServiceIdentity, question: Question) -> bool:
    """Say whether the callee lets anybody but the gateway in on the port."""
    return any(
        question.port in each.ports
        and (each.from_ is None or each.from_.seen_from(callee.ref.namespace) != question.caller)
        for each in callee.spec.accepts
    )
