"""A shop with a webhook gateway: the gateway, a target of it, and the namespaces of both."""

from typing import Any

from tests import builders
from tests.builders import Manifest, parsed_domain
from tests.webhook_builders import endpoint

GATEWAY = "troth-gateway"
HOOKS = "webhooks"
PROPAGATION = parsed_domain(builders.domain()).spec.bundle.propagation
"""How long a target may take to read what it is told."""
SERVED = {"allowedNamespaces": {"matchLabels": {"webhooks": "yes"}}}
OTHER = {"name": "edge", "namespace": "edge"}
"""Another gateway, as an endpoint or a target names it."""


def namespaces(**shop: str) -> list[Manifest]:
    """The gateway's namespace, another gateway's, and the shop, which is served by default."""
    return [
        builders.namespace(GATEWAY, domain="production"),
        builders.namespace("edge", domain="production"),
        builders.namespace("shop", **({"domain": "production", "webhooks": "yes"} | shop)),
    ]


def gateway(name: str = GATEWAY, namespace: str = GATEWAY, **spec: Any) -> Manifest:
    """An identity that serves webhooks of namespaces labelled for it."""
    served: dict[str, Any] = {"servesWebhooks": SERVED}
    return builders.identity(name, namespace, **served | spec)


def accepts_gateway(*ports: str, name: str = GATEWAY, namespace: str = GATEWAY) -> Manifest:
    """An entry by which a target accepts a gateway."""
    return builders.accept(name, *(ports or (HOOKS,)), namespace=namespace)


def target(**spec: Any) -> Manifest:
    """An identity with a port for webhooks alone, on which it accepts the gateway."""
    declared: dict[str, Any] = {"ports": ["https", (HOOKS, 9443)], "accepts": [accepts_gateway()]}
    return builders.identity("payments", "shop", **declared | spec)


def scene(*instead: Manifest) -> list[Manifest]:
    """All that it takes for deliveries to reach the target; what is given takes the place of its
    namesake.
    """
    usual = [*namespaces(), builders.domain(), gateway(), target(), endpoint()]
    given = {_name(each): each for each in instead}
    return [*(each for each in usual if _name(each) not in given), *instead]


def _name(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]
