"""Those who send webhooks: each signs with the library that it publishes itself."""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Protocol

import standardwebhooks
import stripe


@dataclass(frozen=True, slots=True)
class Sent:
    """What is sent: a body, and headers."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def tampered(self, before: bytes, after: bytes) -> "Sent":
        """Return it with something of its body in other words."""
        assert self.body.count(before) == 1
        return replace(self, body=self.body.replace(before, after))

    def unsigned(self) -> "Sent":
        """Return it without what is signed."""
        return replace(self, headers={"Content-Type": self.headers["Content-Type"]})


class Signs(Protocol):
    """Signs an event with a secret, as of so many seconds ago."""

    def __call__(self, secret: str, event: Mapping[str, object], age: float = 0) -> Sent:
        """Return what is sent."""


def stripe_signs(secret: str, event: Mapping[str, object], age: float = 0) -> Sent:
    """Sign as Stripe does."""
    body = json.dumps(event)
    header = stripe.WebhookSignature.generate_signature_header(
        body, secret, timestamp=int(time.time() - age)
    )
    return _sent(body, {"Stripe-Signature": header})


def standard_signs(secret: str, event: Mapping[str, object], age: float = 0) -> Sent:
    """Sign as Standard Webhooks has it."""
    body, name = json.dumps(event), f"msg_{secrets.token_hex(12)}"
    moment = datetime.fromtimestamp(int(time.time() - age), UTC)
    return _sent(
        body,
        {
            "webhook-id": name,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": standardwebhooks.Webhook(secret).sign(name, moment, body),
        },
    )


def charge() -> dict[str, object]:
    """Return an event as Stripe has it, another one each time."""
    return {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "type": "charge.succeeded",
        "data": {"object": {"id": "ch_1", "object": "charge", "amount": 4200}},
    }


def order() -> dict[str, object]:
    """Return what a partner orders."""
    return {"type": "order.placed", "data": {"order": "1001", "items": ["a book"]}}


def _sent(body: str, headers: Mapping[str, str]) -> Sent:
    return Sent(body.encode(), {"Content-Type": "application/json", **headers})
