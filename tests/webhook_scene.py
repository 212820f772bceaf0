"""A shop with webhooks: the gateway, a target, and their namespaces."""

from typing import Any

from tests import builders
from tests.builders import Manifest, parsed_domain
from tests.webhook_builders import endpoint

GATEWAY = "troth-gateway"
HOOKS = "webhooks"
PROPAGATION = parsed_domain(builders.domain()).spec.bundle.propagation
"""Propagation delay: time until a target has read its Secret."""
SERVED = {"allowedNamespaces": {"matchLabels": {"webhooks": "yes"}}}
OTHER = {"name": "edge", "namespace": "edge"}
"""Reference to another gateway, for an endpoint or a target."""


def namespaces(**shop: str) -> list[Manifest]:
    """Return the namespaces of both gateways and of the shop, which is served by default."""
    return [
        builders.namespace(GATEWAY, domain="production"),
        builders.namespace("edge", domain="production"),
        builders.namespace("shop", **({"domain": "production", "webhooks": "yes"} | shop)),
    ]


def gateway(name: str = GATEWAY, namespace: str = GATEWAY, **spec: Any) -> Manifest:
    """Return an identity that serves webhooks of labelled namespaces."""
    served: dict[str, Any] = {"servesWebhooks": SERVED}
    return builders.identity(name, namespace, **served | spec)


def accepts_gateway(*ports: str, name: str = GATEWAY, namespace: str = GATEWAY) -> Manifest:
    """Return the entry with which a target accepts a gateway."""
    return builders.accept(name, *(ports or (HOOKS,)), namespace=namespace)


def target(**spec: Any) -> Manifest:
    """Return an identity with a port for webhooks only, on which it accepts the gateway."""
    declared: dict[str, Any] = {"ports": ["https", (HOOKS, 9443)], "accepts": [accepts_gateway()]}
    return builders.identity("payments", "shop", **declared | spec)


def scene(*instead: Manifest) -> list[Manifest]:
    """Return every object that a delivery needs; a given manifest replaces the one of its name."""
    usual = [*namespaces(), builders.domain(), gateway(), target(), endpoint()]
    given = {_name(each): each for each in instead}
    return [*(each for each in usual if _name(each) not in given), *instead]


def _name(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]
