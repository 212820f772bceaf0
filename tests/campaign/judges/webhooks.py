"""Judge of webhooks, from the oracle and the files of gateways and targets.

It does not ask the operator. `Hooks` is one view of all declarations. An operator that lags behind
may act on any mixture of views.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.builders import Manifest
from tests.campaign.judges.declared import View
from tests.networkpolicy import selects
from tests.oracle import Place as Identity
from troth.documents.secret_keys import IDENTITY_JSON, WEBHOOK_KEYS
from troth.pki.keys.jwk import public_jwk
from troth.pki.keys.private import load_private_key
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.world.observation import objects as observe

COMPILED, GENERATED = "troth.dev/webhook", "troth.dev/webhook-keys"
SIGNING = "troth.dev/webhook-signing"
"""Types of the Secrets that Troth makes for webhooks."""
GATEWAY = "troth.dev/webhook-gateway"
GIVEN = "troth.dev/webhook-keys"
"""Label with which a user gives a Secret."""
SUFFIX, SIGNING_SUFFIX = "-webhook", "-webhook-signing"
PEM, NEXT_PEM, BEFORE = "key.pem", "next.pem", "retiring.jwk"
BY_SENDER = ("Stripe",)
"""Declared schemes for which the sender issues the key. SNS has no key."""
TOKEN_LIFE = timedelta(seconds=60)
"""Lifetime of a gateway's token."""
LONGEST_UNSIGNED = timedelta(days=90)


def seconds(text: str) -> int:
    """Return the seconds of a duration with one number and its unit."""
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


def usable(scheme: str, text: bytes) -> bool:
    """Return whether a scheme can use a key, for the keys and schemes of this campaign."""
    if scheme in ("StandardWebhooks", "Stripe"):
        return text.startswith(b"whsec_")
    return len(text) > len(b"junk")


def kid_of(pem: bytes) -> str | None:
    """Return the kid of a gateway's key, or None if it is not a key."""
    try:
        key = load_private_key(pem).public_key()
    except ValueError:
        return None
    return public_jwk(key)["kid"] if isinstance(key, ec.EllipticCurvePublicKey) else None


class Hooks:
    """The declared endpoints in one view of all declarations."""

    def __init__(self, view: View, manifests: list[Manifest]) -> None:
        self.view = view
        self.endpoints = {
            Ref.of(each): each for each in manifests if each["kind"] == "WebhookEndpoint"
        }

    def inbound(self, ref: Ref) -> Manifest | None:
        found: Manifest | None = self.endpoints.get(ref, {}).get("spec", {}).get("inbound")
        return found

    def gateway(self, ref: Ref) -> Identity:
        gateway = self._inbound(ref)["gateway"]
        return gateway["namespace"], gateway["name"]

    def target(self, ref: Ref) -> Identity:
        return ref.namespace, self._inbound(ref)["target"]["identity"]["name"]

    def _inbound(self, ref: Ref) -> Manifest:
        inbound = self.inbound(ref)
        assert inbound is not None
        return inbound

    def generates(self, ref: Ref) -> bool:
        """Return whether Troth generates the endpoint's keys."""
        inbound = self.inbound(ref)
        return (
            inbound is not None
            and "secretRef" not in inbound
            and inbound["scheme"] not in (*BY_SENDER, "SNS")
        )

    def source(self, ref: Ref) -> Ref | None:
        """Return the name of the Secret with the endpoint's keys, if there is one."""
        named = self._inbound(ref).get("secretRef")
        if named is not None:
            return Ref(ref.namespace, named["name"])
        return Ref(ref.namespace, ref.name + SUFFIX) if self.generates(ref) else None

    def reads(self, ref: Ref, secret: Manifest) -> bool:
        """Return whether Troth may read the Secret that has the name of the endpoint's."""
        if self.generates(ref):
            owners = secret["metadata"].get("ownerReferences") or []
            mine = any(each["uid"] == self.uid(ref) for each in owners)
            return mine and secret.get("type") == GENERATED
        return GIVEN in (secret["metadata"].get("labels") or {})

    def uid(self, ref: Ref) -> str:
        uid: str = self.endpoints[ref]["metadata"]["uid"]
        return uid

    def _asked(self, ref: Ref) -> bool:
        """Return whether the endpoint exists and its gateway serves its namespace."""
        if self.inbound(ref) is None:
            return False
        served = self.view.identities.get(self.gateway(ref), {}).get("servesWebhooks")
        labels = self.view.namespaces.get(ref.namespace)
        return (
            served is not None
            and labels is not None
            and selects(served["allowedNamespaces"], labels)
        )

    def served(self, ref: Ref) -> bool:
        """Return whether the gateway should have the endpoint: it may call the namespace."""
        return self._asked(ref) and self.view.together(self.gateway(ref)[0], ref.namespace)

    def torn(self, ref: Ref) -> bool:
        """Return whether a namespace conflict suspends the endpoint.

        The gateway's document then stays as it is, except for removed keys.
        """
        if not self._asked(ref):
            return False
        ends = (self.gateway(ref)[0], ref.namespace)
        in_conflict = any(len(self.view.claims(end)) > 1 for end in ends)
        return in_conflict and replace(self.view, suspended_too=True).together(*ends)

    def place(self, ref: Ref) -> Place:
        """Return the place of the endpoint's compiled Secret."""
        return "Secret", Ref(self.gateway(ref)[0], f"{ref.namespace}.{ref.name}")

    # Targets of deliveries

    def live(self, ref: Ref) -> bool:
        port = self._inbound(ref)["target"]["port"]
        return self.served(ref) and self.view.live(self.gateway(ref), self.target(ref), port)

    def suspended(self, ref: Ref) -> bool:
        """Return whether only a conflict keeps the edge from being live; it may then stay open."""
        inbound = self.inbound(ref)
        if inbound is None or not self._asked(ref) or self.live(ref):
            return False
        view, port = replace(self.view, suspended_too=True), inbound["target"]["port"]
        return view.live(self.gateway(ref), self.target(ref), port)

    def accepts_now(self, ref: Ref) -> bool:
        """Return whether the scheme's deliveries are accepted at all."""
        unsigned = self._inbound(ref).get("acceptUnsigned")
        if unsigned is None:
            return True
        until = datetime.fromisoformat(unsigned["expiresAt"])
        return self.view.now < until <= self.view.now + LONGEST_UNSIGNED

    def targets(self, ref: Ref) -> list[Manifest]:
        """Return the targets that the gateway may have, one for each Service that leads there."""
        if not self.live(ref):
            return []
        me, to = self.target(ref), self._inbound(ref)["target"]
        return [
            {
                "callee": "/".join(me),
                "spiffeID": self.view.named(me),
                "host": host,
                "port": port,
                "path": to["path"],
                "workflow": to["workflow"],
            }
            for host, port in self._doors(me, to["port"])
        ]

    def _doors(self, me: Identity, port: str) -> Iterator[tuple[str, int]]:
        """Yield the Services that reach only the target's pods, on its port."""
        protocol, number = self.view.ports(me)[port]
        for service in self.view.services_of(me) if protocol == "TCP" else ():
            for each in service["spec"]["ports"]:
                if each["targetPort"] in (number, port):
                    yield f"{service['metadata']['name']}.{me[0]}.svc", each["port"]

    def routes(self, target: Identity) -> set[tuple[str, ...]]:
        """Return the routes that a target should know: gateway, port, and the endpoint."""
        return {
            (
                self.view.named(self.gateway(ref)),
                self._inbound(ref)["target"]["port"],
                str(ref),
                self._inbound(ref)["target"]["path"],
                self._inbound(ref)["target"]["workflow"],
            )
            for ref in self.endpoints
            if self.inbound(ref) is not None and self.target(ref) == target and self.live(ref)
        }

    def gateways_of(self, target: Identity) -> set[Identity]:
        """Return the gateways that deliver to a target now."""
        refs = [ref for ref in self.endpoints if self.inbound(ref) is not None]
        return {self.gateway(ref) for ref in refs if self.target(ref) == target and self.live(ref)}

    def targets_of(self, gateway: Identity) -> set[Identity]:
        refs = [ref for ref in self.endpoints if self.inbound(ref) is not None]
        return {self.target(ref) for ref in refs if self.gateway(ref) == gateway and self.live(ref)}

    # Documents of the gateway

    def said(self, ref: Ref, secret: Manifest) -> bool:
        """Return whether a compiled endpoint is as declared, except for its keys and target."""
        inbound = self._inbound(ref)
        document = document_of(secret)
        unsigned = inbound.get("acceptUnsigned")
        until = datetime.fromisoformat(unsigned["expiresAt"]) if unsigned else None
        expected = {
            "endpoint": str(ref),
            "uid": self.uid(ref),
            "path": f"/{ref.namespace}/{ref.name}",
            "tolerance": seconds(inbound["tolerance"]),
            "replayWindow": seconds(inbound["replayWindow"]),
            "acceptsUnsignedUntil": int(until.timestamp()) if until else None,
        }
        signing = {"name": inbound["scheme"], "url": inbound["publicURL"]}
        topics = (inbound.get("sns") or {}).get("topicARNs", [])
        return (
            secret["metadata"]["labels"].get(GATEWAY) == self.gateway(ref)[1]
            and expected.items() <= document.items()
            and signing.items() <= document["signing"].items()
            and document["signing"]["topics"] == topics
            and document["source"]["cidrs"] == inbound["source"]["cidrs"]
        )


def endpoint_of(secret: Manifest) -> Ref:
    """Return the endpoint of a Secret in a gateway's namespace."""
    namespace, _, name = secret["metadata"]["name"].partition(".")
    return Ref(namespace, name)


def document_of(secret: Manifest) -> dict[str, Any]:
    """Return a gateway's document of an endpoint; empty if it is unreadable."""
    try:
        document = json.loads(observe.decoded(secret)["endpoint.json"])
    except (KeyError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def keys_of(compiled: Manifest) -> dict[str, bytes]:
    """Return the keys that a gateway tries."""
    return {
        name.removeprefix("key."): text
        for name, text in observe.decoded(compiled).items()
        if name.startswith("key.")
    }


def key_ids(secret: Manifest) -> set[str]:
    """Return the kids of the gateways' keys that a target knows."""
    try:
        document = json.loads(observe.decoded(secret)[WEBHOOK_KEYS])
        return {each["kid"] for each in document["keys"]}
    except (KeyError, ValueError, TypeError):
        return set()


def routes_in(secret: Manifest) -> set[tuple[str, ...]]:
    """Return the routes from which a target accepts deliveries."""
    try:
        document = json.loads(observe.decoded(secret)[IDENTITY_JSON])
    except (KeyError, ValueError):
        return set()
    return {
        (entry["gateway"], entry["port"], each["name"], each["path"], each["workflow"])
        for entry in document.get("webhooks", [])
        for each in entry["endpoints"]
    }


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()
