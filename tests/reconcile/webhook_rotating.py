"""A cluster in which the key of a webhook gateway is replaced, simulated as in `rotating`.

A gateway may sign with what its Secret held `bundle.propagation` ago, and a target read its files
as late. At every moment every token that may be about must have its key at every target, and every
delivery that the gateway hands on its endpoint at the target.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

from tests import builders, webhook_builders
from tests.builders import stamp
from tests.reconcile.rotating import (
    IDENTITIES,
    Files,
    Manifest,
    Scene,
    begun,
    namespaced,
    trust_domain,
)
from tests.webhook_scene import GATEWAY, accepts_gateway
from troth.pki.tokens import LEEWAY
from troth.pki.webhook_tokens import LIFETIME
from troth.resources.references import Ref
from troth.world.facts.objects import SigningSecret
from troth.world.observation import objects as observe
from troth.world.observation.secret_data import SecretData
from troth.world.observation.signing_keys import GATEWAYS, signing_keys
from troth.world.observation.webhook_secrets import DOCUMENT

AT_GATEWAY = Ref(GATEWAY, GATEWAY)
KEYS = "Secret", Ref(GATEWAY, f"{GATEWAY}-webhook-signing")
TARGETS = IDENTITIES[:3]
MINUTE = timedelta(minutes=1)
EVERYBODY = {"matchLabels": {"environment": "production"}}


def target(ref: Ref, **spec: Any) -> Manifest:
    """One of the identities, which takes webhooks."""
    accepts = [accepts_gateway()]
    return builders.identity(
        ref.name, ref.namespace, ports=[("webhooks", 9443)], **{"accepts": accepts} | spec
    )


def endpoint(ref: Ref) -> Manifest:
    """An endpoint that leads to a target."""
    to = {"identity": {"name": ref.name}, "port": "webhooks", "path": "/", "workflow": "work"}
    return webhook_builders.endpoint(ref.name, ref.namespace, target=to)


def service(ref: Ref) -> Manifest:
    """A Service that leads to a target."""
    return webhook_builders.leading(ref.name, ref.namespace, selector={"app": ref.name})


def gateway() -> Manifest:
    return builders.identity(GATEWAY, GATEWAY, servesWebhooks={"allowedNamespaces": EVERYBODY})


class WebhookScene(Scene):
    """A scene that looks at what a gateway signs."""

    def __init__(self, *more: Manifest) -> None:
        super().__init__(
            trust_domain(authority={"selfManaged": {"lifetime": "8000h"}}),
            namespaced(GATEWAY),
            gateway(),
            *map(target, TARGETS),
            *map(endpoint, TARGETS),
            *map(service, TARGETS),
            *more,
        )
        self._signing: list[str] = []
        self._known: list[dict[Ref, frozenset[str]]] = []
        self._listed: list[dict[Ref, frozenset[str]]] = []

    @property
    def keys(self) -> SigningSecret:
        """What the gateway's Secret holds."""
        secret = self.server.objects[KEYS]
        held = signing_keys(SecretData(secret), GATEWAYS, KEYS[1])
        return SigningSecret(**observe.fact_of(secret), **held)

    @property
    def signing(self) -> str:
        """The ID of the key that signs."""
        assert self.keys.active is not None
        return self.keys.active.kid

    def files(self) -> Iterator[tuple[Ref, Files]]:
        """Yield nothing: certificates have their own scenes."""
        yield from ()

    def known_at(self, ref: Ref) -> frozenset[str]:
        """The IDs of the keys that a target knows."""
        found = self.server.objects.get(("Secret", Ref(ref.namespace, f"{ref.name}-identity")))
        text = observe.decoded(found).get(observe.WEBHOOK_KEYS) if found else None
        return frozenset(each["kid"] for each in json.loads(text)["keys"]) if text else frozenset()

    def listed_at(self, ref: Ref) -> frozenset[str]:
        """The names of the endpoints that a target takes deliveries of."""
        found = self.server.objects.get(("Secret", Ref(ref.namespace, f"{ref.name}-identity")))
        text = observe.decoded(found).get(observe.PEERS) if found else None
        entries = json.loads(text).get("webhooks", ()) if text else ()
        return frozenset(each["name"] for entry in entries for each in entry["endpoints"])

    def delivered(self) -> frozenset[Ref]:
        """The targets that the gateway hands deliveries on to."""
        places = {ref: Ref(GATEWAY, f"{ref.namespace}.{ref.name}") for ref in TARGETS}
        found = {ref: self.server.objects.get(("Secret", at)) for ref, at in places.items()}
        return frozenset(
            ref
            for ref, secret in found.items()
            if secret and json.loads(observe.decoded(secret)[DOCUMENT])["target"]
        )

    async def ask(self) -> None:
        """Have somebody ask for other credentials of the gateway."""
        await self.user_puts(
            builders.rotation(
                target=GATEWAY, namespace=GATEWAY, requestedAt=stamp(self.clock.now())
            )
        )

    def waits(self) -> tuple[str, str]:
        """The reason and the message of the gateway's condition about its key."""
        found = self.server.condition("ServiceIdentity", AT_GATEWAY, "WebhooksSigned")
        return found["reason"], found["message"]

    def _look(self) -> None:
        super()._look()
        self._signing.append(self.signing)
        self._known.append({ref: self.known_at(ref) for ref in TARGETS})
        self._listed.append({ref: self.listed_at(ref) for ref in TARGETS})
        life = (LIFETIME + LEEWAY + self.propagation) // self.step
        alive = frozenset(self._signing[-life:])
        lag = self.propagation // self.step - 1
        for at in (-1, max(0, len(self._known) - 1 - lag)):
            for ref in self.delivered():
                keys, endpoints = self._known[at][ref], self._listed[at][ref]
                self.broken += [f"{ref} refuses a token of {kid}" for kid in alive - keys]
                if str(ref) not in endpoints:
                    self.broken.append(f"{ref} refuses its endpoint")


def opening(*more: Manifest) -> AbstractAsyncContextManager[WebhookScene]:
    """Begin with what is declared, and more, of which the targets know nothing yet."""
    return begun(WebhookScene(*more))


@asynccontextmanager
async def scene(*more: Manifest) -> AsyncIterator[WebhookScene]:
    """Begin where every target is delivered to."""
    async with opening(*more) as it:
        await it.live(it.propagation)
        assert it.delivered() == set(TARGETS)
        yield it
