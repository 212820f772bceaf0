"""Keys that a change of a WebhookEndpoint affects."""

from collections.abc import Iterator

from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.trust.declarations.registry import Registry
from troth.trust.edges.deliveries import accepted_gateways
from troth.trust.edges.gateway_shares import changed_shares
from troth.world.keys import Keys, identity_key, webhook_key


def take_webhook(registry: Registry, ref: Ref, after: WebhookEndpoint | None, fault: str) -> Keys:
    """Take in the current state of an endpoint; return the affected keys.

    An unreadable endpoint may be any of its namespace, so it affects all gateways that are accepted
    there, both when it appears and when it disappears.
    """
    webhooks = registry.webhooks
    before = webhooks.endpoints.get(ref) or webhooks.terminating.get(ref)
    route = webhooks.route(ref)
    unread = ref in webhooks.invalid
    if after is not None and before is not None and _declares_the_same(before, after):
        webhooks.refresh(after)
        return {webhook_key(ref)}
    if after is not None:
        registry.put_webhook(after)
    elif fault:
        registry.refuse_webhook(ref, fault)
    else:
        registry.drop_webhook(ref)
    concerned: set[Ref] = set()
    for each in (route, webhooks.route(ref)):
        if each is not None:
            concerned |= {each.gateway, each.target}
    if unread or ref in webhooks.invalid:
        concerned.update(_around_gateways(registry, ref.namespace))
    return {webhook_key(ref)} | {
        identity_key(each) for each in concerned if each in registry.identities
    }


def _declares_the_same(before: WebhookEndpoint, after: WebhookEndpoint) -> bool:
    """Return whether two versions of an endpoint differ only in status and metadata."""
    return before.spec == after.spec and is_terminating(before) == is_terminating(after)


def gateways_of(registry: Registry, target: Ref) -> Keys:
    """Return the gateways that call an identity or that it accepts.

    They depend on all callers that the identity accepts on the same port.
    """
    beside = {*registry.webhooks.beside(target), *registry.declared(target).accepts}
    return {
        identity_key(each)
        for each in beside
        if (identity := registry.identities.get(each)) is not None
        and identity.spec.serves_webhooks is not None
    }


def around_shares(registry: Registry) -> Keys:
    """Return the identities and endpoints for which a gateway now has, or no longer has, room."""
    affected: Keys = set()
    for gateway, targets in changed_shares(registry).items():
        identities = registry.identities.keys() & {gateway, *targets}
        affected |= {identity_key(each) for each in identities}
        affected |= {
            webhook_key(route.endpoint)
            for target in targets
            for route in registry.webhooks.to(target)
            if route.gateway == gateway
        }
    return affected


def _around_gateways(registry: Registry, namespace: str) -> Iterator[Ref]:
    """Yield the identities of a namespace that accept gateways, and those gateways."""
    for target in registry.identities_in(namespace):
        for gateway in accepted_gateways(registry, target):
            yield target
            yield gateway
