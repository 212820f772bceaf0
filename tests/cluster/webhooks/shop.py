"""A shop with a webhook gateway on a real API server, and the actions of its users."""

import base64
from dataclasses import dataclass
from typing import Any

from tests import builders
from tests.builders import Manifest
from tests.changed_manifests import changed
from tests.cluster.person import Person
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from tests.webhook_builders import INBOUND, keys, leading
from tests.webhook_scene import HOOKS, PROPAGATION
from troth.resources.references import Ref
from troth.webhooks.gateway.routes import Served, served

KIND = "WebhookEndpoint"
GATEWAY = "gate"


@dataclass
class Shop:
    """A gateway and its target, with all that deliveries need to arrive there."""

    stage: Stage
    gates: str
    """The gateway's namespace."""

    @property
    def person(self) -> Person:
        return self.stage.person

    @property
    def charges(self) -> Ref:
        return Ref(self.stage.shop, "stripe-charges")

    @property
    def compiled_ref(self) -> Ref:
        return Ref(self.gates, f"{self.stage.shop}.stripe-charges")

    @property
    def given(self) -> Ref:
        return Ref(self.stage.shop, "stripe-signing")

    def through_here(self, manifest: Manifest) -> Manifest:
        """Return the same endpoint, in this shop and through its gateway."""
        here = changed(manifest, "metadata.namespace", self.stage.shop)
        named = {"name": GATEWAY, "namespace": self.gates}
        return changed(here, f"{INBOUND}.gateway", named)

    async def ready(self) -> None:
        """Wait until the gateway, its target and their domain are ready."""
        await self.person.ready(DOMAIN, Ref("", self.stage.name))
        await self.person.ready(IDENTITY, Ref(self.gates, GATEWAY))

    async def declare(self, manifest: Manifest, *, waits: bool = True) -> None:
        there = await self.person.put(self.through_here(manifest))
        if waits:
            await self.hears_pending(Ref.of(there))
            await self.known(Ref.of(there))

    async def hears_pending(self, endpoint: Ref) -> None:
        """Wait until an endpoint waits only for its target to read about it."""
        await self.person.hears(KIND, endpoint, "TargetReachable", "TargetPending", "False")
        await self.stage.settled()

    async def known(self, endpoint: Ref) -> None:
        """Let time pass until the target must know of an endpoint, and the operator has settled."""
        await self.stage.later(PROPAGATION)
        await self.person.ready(KIND, endpoint)
        await self.stage.settled()

    async def give(self, **texts: str) -> None:
        """Write the Secret that a user gives to Troth."""
        await self.person.put(keys(namespace=self.stage.shop, **texts))

    async def has(self, *ids: str) -> Served:
        """Wait until the gateway has exactly these keys; return what it serves."""
        found = await self.person.sees(
            "Secret", self.compiled_ref, lambda each: set(as_served(each)) == set(ids)
        )
        return served(data_of(found))


def data_of(secret: Manifest) -> dict[str, bytes]:
    return {name: base64.b64decode(value) for name, value in secret["data"].items()}


def as_served(secret: Manifest) -> dict[str, bytes]:
    return {
        name.removeprefix("key."): value
        for name, value in data_of(secret).items()
        if name.startswith("key.")
    }


async def opened(stage: Stage, **domain: Any) -> Shop:
    """Declare a gateway, and a target with a port for the gateway only."""
    gates = await stage.namespace()
    allowed = {"allowedNamespaces": {"matchLabels": {"domain": stage.name}}}
    await stage.domain(**domain)
    await stage.identity(GATEWAY, gates, servesWebhooks=allowed)
    await stage.identity(
        "payments",
        ports=[(HOOKS, 9443)],
        accepts=[builders.accept(GATEWAY, HOOKS, namespace=gates)],
    )
    await stage.person.put(leading(namespace=stage.shop))
    return Shop(stage, gates)
