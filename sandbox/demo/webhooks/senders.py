"""Senders of webhooks: each signs with the library that it publishes."""

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
class Delivery:
    """A body and its headers."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def changed(self, before: bytes, after: bytes) -> "Delivery":
        """Return it with a part of its body replaced."""
        assert self.body.count(before) == 1
        return replace(self, body=self.body.replace(before, after))

    def unsigned(self) -> "Delivery":
        """Return it without a signature."""
        return replace(self, headers={"Content-Type": self.headers["Content-Type"]})


class Sign(Protocol):
    """Signs an event with a key, `age` seconds ago."""

    def __call__(self, secret: str, event: Mapping[str, object], age: float = 0) -> Delivery:
        """Return the delivery."""


def stripe_sign(secret: str, event: Mapping[str, object], age: float = 0) -> Delivery:
    """Sign as Stripe does."""
    body = json.dumps(event)
    header = stripe.WebhookSignature.generate_signature_header(
        body, secret, timestamp=int(time.time() - age)
    )
    return _delivery(body, {"Stripe-Signature": header})


def standard_sign(secret: str, event: Mapping[str, object], age: float = 0) -> Delivery:
    """Sign as Standard Webhooks specifies."""
    body, name = json.dumps(event), f"msg_{secrets.token_hex(12)}"
    moment = datetime.fromtimestamp(int(time.time() - age), UTC)
    return _delivery(
        body,
        {
            "webhook-id": name,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": standardwebhooks.Webhook(secret).sign(name, moment, body),
        },
    )


def charge() -> dict[str, object]:
    """Return a Stripe event with a new ID."""
    return {
        "id": f"evt_{secrets.token_hex(12)}",
        "object": "event",
        "type": "charge.succeeded",
        "data": {"object": {"id": "ch_1", "object": "charge", "amount": 4200}},
    }


def order() -> dict[str, object]:
    """Return a partner's order."""
    return {"type": "order.placed", "data": {"order": "1001", "items": ["a book"]}}


def _delivery(body: str, headers: Mapping[str, str]) -> Delivery:
    return Delivery(body.encode(), {"Content-Type": "application/json", **headers})
