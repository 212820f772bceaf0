"""A producer and a consumer without a cluster, and the cryptography that the floors do."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from jsonschema_rs import validator_for

from benchmarks.harness.domain import NAME, SVID, Domain, write_tls
from benchmarks.harness.servers import new_directory
from troth.edge.events.message import Sealed
from troth.edge.events.opening import Opener
from troth.edge.events.sealing import Sealer
from troth.edge.identity.files import Identity
from troth.pki.bundles.spiffe_bundle import bundle_map_document
from troth.pki.keys.private import load_private_key

POLICY, TOPIC, GROUP = "bench/orders", "bench.orders.v1", "bench.fulfilment"
TYPE = "bench.order.placed"
DATA_BYTES = 1024
ES256 = ec.ECDSA(SHA256())
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "required": ["order", "customer", "items"],
    "properties": {
        "order": {"type": "integer", "minimum": 0},
        "customer": {"type": "string", "minLength": 1},
        "items": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["sku", "quantity"],
                "properties": {
                    "sku": {"type": "string"},
                    "quantity": {"type": "integer", "minimum": 1},
                },
            },
        },
        "note": {"type": "string"},
    },
}
_SCHEMA_TEXT = json.dumps(SCHEMA, sort_keys=True, separators=(",", ":"))
_ITEMS = 5


def order(number: int) -> bytes:
    """Return an order of `DATA_BYTES` bytes of JSON. LZ4 cannot shorten its note."""
    content = {
        "order": number,
        "customer": f"customer-{number % 5000}",
        "items": [{"sku": f"A-{each:04}", "quantity": each + 1} for each in range(_ITEMS)],
        "note": "",
    }
    missing = DATA_BYTES - len(json.dumps(content))
    note = Random(number).randbytes(missing).hex()[:missing]  # noqa: S311 - no secret
    return json.dumps({**content, "note": note}).encode()


@dataclass(frozen=True, slots=True)
class Trade:
    """A producer, a consumer, and the key of the producer's certificate."""

    producer: Identity
    consumer: Identity
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    numbers: "count[int]" = field(default_factory=count)

    @classmethod
    def make(cls, directory: Path) -> Self:
        """Write the mounted files of both."""
        domain = Domain.make()
        checkout, fulfilment = domain.svid("checkout"), domain.svid("fulfilment")
        key = load_private_key(checkout.key)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        consumes = {"action": "Consume", "group": GROUP, "producers": [checkout.spiffe_id]}
        return cls(
            mount(directory / "producer", domain, checkout, {"action": "Publish"}),
            mount(directory / "consumer", domain, fulfilment, consumes),
            key,
        )

    def sealer(self, **options: Any) -> Sealer:  # noqa: ANN401 - the sealer's options
        """Return a sealer of the policy."""
        return Sealer(self.producer, POLICY, **options)

    def opener(self, **options: Any) -> Opener:  # noqa: ANN401 - the opener's options
        """Return an opener of the policy."""
        return Opener(self.consumer, POLICY, group=GROUP, **options)

    def context(self) -> dict[str, Any]:
        """Return the arguments of the next event; no two events have the same request."""
        number = next(self.numbers)
        return {
            "type": TYPE,
            "subject": f"customer-{number % 5000}",
            "tenant": f"tenant-{number % 100}",
            "request_id": f"00000000-0000-4000-8000-{number:012}",
        }


def seal(sealer: Sealer, trade: Trade, data: bytes) -> Sealed:
    """Return the next event with this data."""
    return sealer.seal(data, **trade.context())


def bare_check() -> Callable[[bytes], None]:
    """Return the floor's validation: the standard JSON parser, and the same schema validator."""
    is_valid = validator_for(_SCHEMA_TEXT).is_valid

    def check(data: bytes) -> None:
        assert is_valid(json.loads(data))

    return check


def mount(directory: Path, domain: Domain, own: SVID, entry: Mapping[str, Any]) -> Identity:
    """Write the mounted files of a workload; `entry` are members of its entry in `messages`."""
    new_directory(directory)
    write_tls(directory, own, domain.anchors)
    (directory / "identity.json").write_text(json.dumps(_document(own, entry)))
    bundles = bundle_map_document({NAME: domain.bundle()})
    (directory / "bundle-map.json").write_text(json.dumps(bundles))
    return Identity(directory, directory)


def _document(own: SVID, entry: Mapping[str, Any]) -> dict[str, Any]:
    digest = urlsafe_b64encode(sha256(_SCHEMA_TEXT.encode()).digest()).rstrip(b"=").decode()
    messages = {
        "policy": POLICY,
        "broker": "bench/main",
        "type": "kafka",
        "topic": TOPIC,
        "principal": "bench",
        "environment": "bench",
        "context": {"require": ["Actor", "Subject", "Tenant"]},
        "schemas": [{"type": "JSONSchema", "digest": digest, "text": _SCHEMA_TEXT}],
    }
    return {
        "version": "v1alpha1",
        "spiffeID": own.spiffe_id,
        "accepts": [],
        "calls": [],
        "requires": {"context": []},
        "messages": [{**messages, **entry}],
    }
