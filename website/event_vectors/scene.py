"""What all vectors share: two trust domains, a producer, a consumer, and the consumer's entry."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from website.event_vectors.certificates import Made, authority, leaf
from website.event_vectors.keys import p256

TokenKey = ec.EllipticCurvePrivateKey
Retired = Mapping[Made | TokenKey, int]
"""Times of retirement of roots and token keys, in seconds since the epoch."""

DOMAIN, PARTNER = "prod.shop.example", "partner.example"
CHECKOUT = f"spiffe://{DOMAIN}/ns/shop/sa/checkout"
ABROAD = f"spiffe://{PARTNER}/ns/shop/sa/checkout"
FULFILMENT = f"spiffe://{DOMAIN}/ns/shop/sa/fulfilment"
GATEWAY = f"spiffe://{DOMAIN}/ns/shop/sa/gateway"
ISSUER = "https://production-issuer.troth-system.svc:8443"
PARTNER_ISSUER = "https://issuer.partner.example"
POLICY, BROKER, TOPIC = "shop/orders", "shop/main", "prod.orders.v1"

EVENT_TIME = 1_795_867_200
"""2026-11-28T12:00:00Z, the time of most events."""
NOW = EVENT_TIME + 60

ROOT, PARTNER_ROOT = authority("root", domain=DOMAIN), authority("partner root", domain=PARTNER)
TOKEN_KEY, PARTNER_TOKEN_KEY = p256("token key"), p256("partner token key")
PRODUCER = leaf(ROOT, p256("checkout"), [CHECKOUT])

SCHEMA = (
    '{"properties":{"quantity":{"minimum":1,"type":"integer"},"sku":{"type":"string"}},'
    '"required":["sku","quantity"],"type":"object"}'
)
PREVIOUS = '{"properties":{"sku":{"type":"string"}},"required":["sku"],"type":"object"}'
ORDER = b'{"sku":"A-1","quantity":2}'

IDENTITY = {
    "spiffeID": FULFILMENT,
    "issuers": {DOMAIN: ISSUER, PARTNER: PARTNER_ISSUER},
}


def base64url(value: bytes) -> str:
    """Return a value in base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def schema(text: str) -> dict[str, str]:
    """Return a schema as identity.json has it."""
    return {"type": "JSONSchema", "digest": base64url(sha256(text.encode()).digest()), "text": text}


def data_schema(text: str = SCHEMA, policy: str = POLICY) -> str:
    """Return the value of `dataschema`."""
    return f"ni:///sha-256;{schema(text)['digest']}?policy={policy}"


def kid(key: Any) -> str:  # noqa: ANN401 - a private key on P-256
    """Return the ID of a token key: its thumbprint (RFC 7638)."""
    jwk = _jwk(key)
    text = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
    return base64url(sha256(text.encode()).digest())


def bundle_map(*roots: Made, retired: Retired | None = None) -> dict[str, Any]:
    """Return the bundles of both trust domains, the own one with other roots if given."""
    ended = {} if retired is None else retired
    known = {DOMAIN: roots or (ROOT,), PARTNER: (PARTNER_ROOT,)}
    token_keys = {DOMAIN: TOKEN_KEY, PARTNER: PARTNER_TOKEN_KEY}

    def with_retirement(jwk: dict[str, Any], key: Made | TokenKey) -> dict[str, Any]:
        return jwk if key not in ended else {**jwk, "troth_retired_at": ended[key]}

    return {
        "trust_domains": {
            name: {
                "keys": [
                    *(with_retirement(_authority_jwk(each), each) for each in known[name]),
                    with_retirement(_token_jwk(token_keys[name]), token_keys[name]),
                ],
                "spiffe_refresh_hint": 60,
            }
            for name in sorted(known)
        }
    }


ENTRY: dict[str, Any] = {
    "policy": POLICY,
    "action": "Consume",
    "group": "prod.fulfilment",
    "broker": BROKER,
    "type": "kafka",
    "topic": TOPIC,
    "principal": "troth-prod-shop-fulfilment",
    "environment": "prod",
    "context": {"require": ["Actor"], "evidence": "Producer", "maxAge": 604800},
    "schemas": [schema(SCHEMA)],
    "producers": [CHECKOUT, ABROAD],
}


def _jwk(key: Any) -> dict[str, str]:  # noqa: ANN401 - a private key on P-256
    numbers = key.public_key().public_numbers()
    x, y = (base64url(each.to_bytes(32)) for each in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _token_jwk(key: TokenKey) -> dict[str, Any]:
    return {"use": "jwt-svid", "kid": kid(key), **_jwk(key)}


def _authority_jwk(made: Made) -> dict[str, Any]:
    return {"use": "x509-svid", **_jwk(made.key), "x5c": [b64encode(made.der).decode()]}
