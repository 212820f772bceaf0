"""Targets for which a webhook gateway has no room, because their namespace exceeds its share."""

from functools import partial

from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.gateway_loads import Load, load_of
from troth.trust.declarations.registry import Registry
from troth.trust.edges.candidate import EdgeCandidate, EdgeObstacle
from troth.trust.edges.deliveries import serves

SHARE_EXCEEDED = "ShareExceeded"


def over_share(registry: Registry, gateway: Ref) -> frozenset[Ref]:
    """Return the targets for which a gateway has no room, none if it is no webhook gateway.

    Only targets that accept the gateway take room.
    """
    identity = registry.identities.get(gateway)
    if identity is None or identity.spec.serves_webhooks is None:
        return frozenset()
    return registry.webhooks.loads.over_share(
        gateway,
        lambda: (route.target for route in registry.webhooks.through(gateway)),
        partial(_load, registry, gateway),
        partial(serves, registry, gateway),
    )


def _load(registry: Registry, gateway: Ref, target: Ref) -> Load | None:
    identity, ports = registry.identities.get(target), registry.webhooks.ports(gateway, target)
    if identity is not None:
        ports &= registry.declared(target).accepts.get(gateway, frozenset())
    elif target not in registry.invalid_identities:
        return None
    return load_of(target, identity, ports) if ports else None


def gateway_has_room(candidate: EdgeCandidate) -> EdgeObstacle | None:
    """Check that a gateway has room for a target that only WebhookEndpoints declare for it."""
    gateway, target = candidate.caller, candidate.callee
    if candidate.is_called or target not in over_share(candidate.registry, gateway):
        return None
    message = (
        f"{gateway} has no room for all targets of webhooks, and namespace {target.namespace} uses "
        f"more than its share, so the newest targets there, among them {target}, get no "
        "deliveries; remove WebhookEndpoints of this namespace, or use another gateway"
    )
    return EdgeObstacle(EdgeState.REFUSED, SHARE_EXCEEDED, message)


def changed_shares(registry: Registry) -> dict[Ref, frozenset[Ref]]:
    """Return the targets that gained or lost their place since the last call, by gateway."""
    found = {
        gateway: before ^ over_share(registry, gateway)
        for gateway, before in registry.webhooks.loads.changed()
    }
    return {gateway: targets for gateway, targets in found.items() if targets}
