"""Simulated cluster for rotations of a webhook gateway's key, built on `rotating`.

A gateway may sign with the key that its Secret held `bundle.propagation` ago, and a target reads
its files as late. At every moment every target must know the key of every token that may still be
in use, and the endpoint of every delivery that the gateway forwards.
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
from troth.documents.secret_keys import IDENTITY_JSON, WEBHOOK_KEYS
from troth.pki.tokens.signing import LEEWAY
from troth.pki.tokens.webhook import LIFETIME
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
    """Return an identity that receives webhooks."""
    accepts = [accepts_gateway()]
    return builders.identity(
        ref.name, ref.namespace, ports=[("webhooks", 9443)], **{"accepts": accepts} | spec
    )


def endpoint(ref: Ref) -> Manifest:
    """Return an endpoint that delivers to a target."""
    to = {"identity": {"name": ref.name}, "port": "webhooks", "path": "/", "workflow": "work"}
    return webhook_builders.endpoint(ref.name, ref.namespace, target=to)


def service(ref: Ref) -> Manifest:
    """Return a Service that selects a target."""
    return webhook_builders.leading(ref.name, ref.namespace, selector={"app": ref.name})


def gateway() -> Manifest:
    return builders.identity(GATEWAY, GATEWAY, servesWebhooks={"allowedNamespaces": EVERYBODY})


class WebhookScene(Scene):
    """Scene that verifies the gateway's signatures at its targets."""

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
        self._histories += [self._signing, self._known, self._listed]

    @property
    def keys(self) -> SigningSecret:
        """Signing keys in the gateway's Secret."""
        secret = self.server.objects[KEYS]
        held = signing_keys(SecretData(secret), GATEWAYS, KEYS[1])
        return SigningSecret(**observe.fact_of(secret), **held)

    @property
    def signing(self) -> str:
        """ID of the key that signs."""
        assert self.keys.active is not None
        return self.keys.active.kid

    def files(self) -> Iterator[tuple[Ref, Files]]:
        """Yield nothing: other scenes verify certificates."""
        yield from ()

    def known_at(self, ref: Ref) -> frozenset[str]:
        """Return the IDs of the keys that a target knows."""
        found = self.server.objects.get(("Secret", Ref(ref.namespace, f"{ref.name}-identity")))
        text = observe.decoded(found).get(WEBHOOK_KEYS) if found else None
        return frozenset(each["kid"] for each in json.loads(text)["keys"]) if text else frozenset()

    def listed_at(self, ref: Ref) -> frozenset[str]:
        """Return the names of the endpoints from which a target accepts deliveries."""
        found = self.server.objects.get(("Secret", Ref(ref.namespace, f"{ref.name}-identity")))
        text = observe.decoded(found).get(IDENTITY_JSON) if found else None
        entries = json.loads(text).get("webhooks", ()) if text else ()
        return frozenset(each["name"] for entry in entries for each in entry["endpoints"])

    def delivered(self) -> frozenset[Ref]:
        """Return the targets to which the gateway forwards deliveries."""
        places = {ref: Ref(GATEWAY, f"{ref.namespace}.{ref.name}") for ref in TARGETS}
        found = {ref: self.server.objects.get(("Secret", at)) for ref, at in places.items()}
        return frozenset(
            ref
            for ref, secret in found.items()
            if secret and json.loads(observe.decoded(secret)[DOCUMENT])["target"]
        )

    async def ask(self) -> None:
        """Request a rotation of the gateway's credentials."""
        await self.user_puts(
            builders.rotation(
                target=GATEWAY, namespace=GATEWAY, requestedAt=stamp(self.clock.now())
            )
        )

    def waits(self) -> tuple[str, str]:
        """Return the reason and the message of the gateway's condition `WebhooksSigned`."""
        found = self.server.condition("ServiceIdentity", AT_GATEWAY, "WebhooksSigned")
        return found["reason"], found["message"]

    def _look(self) -> None:
        super()._look()
        self._signing.append(self.signing)
        self._known.append({ref: self.known_at(ref) for ref in TARGETS})
        self._listed.append({ref: self.listed_at(ref) for ref in TARGETS})
        life = (LIFETIME + LEEWAY + self.propagation) // self.step
        alive = frozenset(self._signing[-life:])
        for at in (-1, max(0, len(self._known) - 1 - self._lag)):
            for ref in self.delivered():
                keys, endpoints = self._known[at][ref], self._listed[at][ref]
                self.broken += [f"{ref} refuses a token of {kid}" for kid in alive - keys]
                if str(ref) not in endpoints:
                    self.broken.append(f"{ref} refuses its endpoint")


def opening(*more: Manifest) -> AbstractAsyncContextManager[WebhookScene]:
    """Start a scene with more objects, before the targets know the gateway's key."""
    return begun(WebhookScene(*more))


@asynccontextmanager
async def scene(*more: Manifest) -> AsyncIterator[WebhookScene]:
    """Start a scene in which the gateway delivers to every target."""
    async with opening(*more) as it:
        await it.live(it.propagation)
        assert it.delivered() == set(TARGETS)
        yield it
