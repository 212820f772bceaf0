"""Two workloads that exchange events: checkout publishes orders, and fulfilment consumes them."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.edge import mounts
from tests.edge.mounts import (
    DOMAIN,
    PARTNER,
    SVID,
    Mounts,
    workload,
)
from tests.pki.builders import own_root
from troth.edge.events.event import Event
from troth.edge.events.message import Message, Sealed
from troth.edge.events.opening import Opener
from troth.edge.events.rejection import Rejection
from troth.edge.events.sealing import Sealer
from troth.edge.identity.files import Identity
from troth.pki.certificates.authorities import SigningAuthority
from troth.pki.certificates.issuing import LeafProfile, issue
from troth.pki.keys.private import generate_key, private_key_pem
from troth.resources.algorithms import KeyAlgorithm

CHECKOUT, FULFILMENT = workload("checkout"), workload("fulfilment")
POLICY, BROKER, TOPIC = "shop/orders", "shop/main", "prod.orders.v1"
NOW = 1_795_867_200.0
"""2026-11-28T12:00:00Z."""
LONG_AGO = datetime.fromtimestamp(NOW, UTC) - timedelta(days=90)
ROOT = own_root(which="trade", now=LONG_AGO)
PARTNER_ROOT = own_root(domain=PARTNER, which="trade abroad", now=LONG_AGO)
SCHEMA = (
    '{"properties":{"quantity":{"minimum":1,"type":"integer"},"sku":{"type":"string"}},'
    '"required":["sku","quantity"],"type":"object"}'
)
ORDER = b'{"sku":"A-1","quantity":2}'


def bundle_map(roots: Mapping[str, SigningAuthority] | None = None, **keys: Any) -> dict[str, Any]:
    """The bundles of both trust domains, with the roots of this module."""
    known = {DOMAIN: ROOT, PARTNER: PARTNER_ROOT} | dict(roots or {})
    return mounts.bundle_map(roots=known, **keys)


def digest(text: str) -> str:
    """Return the digest of a schema, as identity.json has it."""
    value = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def schema(text: str = SCHEMA) -> dict[str, Any]:
    return {"type": "JSONSchema", "digest": digest(text), "text": text}


def published(**changed: Any) -> dict[str, Any]:
    """Checkout's entry in `messages`."""
    entry = {
        "policy": POLICY,
        "action": "Publish",
        "broker": BROKER,
        "type": "kafka",
        "topic": TOPIC,
        "principal": "troth-prod-shop-checkout",
        "environment": "prod",
        "context": {"require": ["Actor"], "evidence": "Producer", "maxAge": 604800},
        "schemas": [schema()],
    } | changed
    return {name: each for name, each in entry.items() if each is not None}


def consumed(**changed: Any) -> dict[str, Any]:
    """Fulfilment's entry in `messages`."""
    return published(
        **{
            "action": "Consume",
            "group": "prod.fulfilment",
            "principal": "troth-prod-shop-fulfilment",
            "producers": [CHECKOUT],
            "deadLetter": {"topic": "prod.orders.v1.dlq", "review": "Required"},
        }
        | changed
    )


def leaf(
    spiffe_id: str,
    *,
    at: float = NOW,
    lifetime: timedelta = timedelta(days=1),
    authority: SigningAuthority = ROOT,
    algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256,
) -> SVID:
    """A certificate, issued at a time in seconds since the epoch."""
    key = generate_key(algorithm)
    profile = LeafProfile(spiffe_id, (), lifetime)
    moment = datetime.fromtimestamp(at, UTC)
    return SVID(issue(profile, key, authority, moment), private_key_pem(key))


class Trade:
    """Checkout and fulfilment with their mounted files, and one clock."""

    def __init__(self, path: Path) -> None:
        self.now = NOW
        self._looks = 0.0
        self.checkout = Mounts(path / "checkout")
        self.fulfilment = Mounts(path / "fulfilment")
        self.publish()
        self.consume()

    def clock(self) -> float:
        return self.now

    def publish(self, own: SVID | None = None, *, bundles: Any = None, **changed: Any) -> None:
        """Write checkout's files; `changed` are members of its entry."""
        self.write(
            self.checkout,
            own or leaf(CHECKOUT, at=self.now),
            CHECKOUT,
            bundles,
            [published(**changed)],
        )

    def consume(self, *, bundles: Any = None, event_bundles: Any = None, **changed: Any) -> None:
        """Write fulfilment's files; `changed` are members of its entry."""
        own = leaf(FULFILMENT, at=self.now)
        self.write(self.fulfilment, own, FULFILMENT, bundles, [consumed(**changed)])
        if event_bundles is not None:
            self.fulfilment.write_bundle(bundles or bundle_map(), for_events=event_bundles)

    def write(
        self,
        files: Mounts,
        own: SVID,
        spiffe_id: str,
        bundles: Any,
        messages: list[dict[str, Any]],
    ) -> None:
        files.write(
            own, bundles=bundles or bundle_map(), spiffeID=spiffe_id, accepts=[], messages=messages
        )

    def identity(self, files: Mounts) -> Identity:
        """The identity of a mount, whose files are read every time."""
        return Identity(files.identity.path, files.bundle.path, clock=self._tick)

    def _tick(self) -> float:
        self._looks += 10.0
        return self._looks

    def sealer(self, **options: Any) -> Sealer:
        return Sealer(self.identity(self.checkout), POLICY, clock=self.clock, **options)

    def opener(self, **options: Any) -> Opener:
        return Opener(self.identity(self.fulfilment), POLICY, clock=self.clock, **options)

    def seal(self, data: bytes = ORDER, **options: Any) -> Sealed:
        return self.sealer().seal(data, **({"type": "shop.order.placed"} | options))

    def open(self, message: Message, **options: Any) -> Event | Rejection:
        return self.opener(**options).open(message)


def delivered(sealed: Sealed, **changed: Any) -> Message:
    """A sealed event as the broker delivers it."""
    given: dict[str, Any] = {
        "topic": sealed.topic,
        "attributes": dict(sealed.attributes),
        "data": sealed.data,
    }
    return Message(**(given | changed))


def edited(sealed: Sealed, **attributes: str | None) -> Message:
    """A sealed event with other attributes; None removes one."""
    mixed: Mapping[str, str | None] = {**sealed.attributes, **attributes}
    return delivered(sealed, attributes={k: v for k, v in mixed.items() if v is not None})
