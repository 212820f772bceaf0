"""Tokens for the tests: valid ones, and forged ones."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, bundle_document, parse_spiffe_bundle
from troth.pki.keys.jwk import key_id, public_jwk
from troth.pki.tokens.signing import TokenSigner

DOMAIN = "prod.shop.example"
OTHER_DOMAIN = "partner.example"
CHECKOUT = f"spiffe://{DOMAIN}/ns/shop/sa/checkout"
PAYMENTS = f"spiffe://{DOMAIN}/ns/shop/sa/payments"
STRANGER = f"spiffe://{OTHER_DOMAIN}/ns/shop/sa/checkout"
ISSUER = "https://production-issuer.troth-system.svc:8443"
OTHER_ISSUER = "https://issuer.partner.example"
TRANSACTION = str(UUID(int=7))
CERTIFICATE = b"the holder's certificate"

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
MOMENT = int(NOW.timestamp())
FIVE_MINUTES = timedelta(minutes=5)

KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
UNKNOWN_KEY = ec.generate_private_key(ec.SECP256R1())
KID, OTHER_KID = key_id(KEY.public_key()), key_id(OTHER_KEY.public_key())

HEADER: dict[str, Any] = {"alg": "ES256", "kid": KID, "typ": "JWT"}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": CHECKOUT,
    "aud": [PAYMENTS],
    "exp": MOMENT + 300,
    "iat": MOMENT,
    "nbf": MOMENT,
    "jti": "a-token",
    "scope": "payments.charge payments.refund",
    "client_id": CHECKOUT,
}
TRANSACTION_HEADER: dict[str, Any] = HEADER | {"typ": "txntoken+jwt"}
TRANSACTION_CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": DOMAIN,
    "exp": MOMENT + 300,
    "iat": MOMENT,
    "txn": TRANSACTION,
    "sub": "customer-42",
    "scope": "orders.place",
    "req_wl": CHECKOUT,
    "tctx": {"tenant": "blue"},
}


def bundle(domain: str, *keys: ec.EllipticCurvePrivateKey) -> SPIFFEBundle:
    document = bundle_document([], [public_jwk(key.public_key()) for key in keys])
    return parse_spiffe_bundle(json.dumps(document), domain)


BUNDLES = {DOMAIN: bundle(DOMAIN, KEY), OTHER_DOMAIN: bundle(OTHER_DOMAIN, OTHER_KEY)}
ISSUERS = {DOMAIN: ISSUER, OTHER_DOMAIN: OTHER_ISSUER}


def access_token(**changed: Any) -> str:
    """A good token of checkout's for payments, or one that differs as asked."""
    asked: dict[str, Any] = {
        "issuer": ISSUER,
        "subject": CHECKOUT,
        "audience": PAYMENTS,
        "scopes": ["payments.charge"],
        "lifetime": FIVE_MINUTES,
        "now": NOW,
        "certificate": None,
        "token_id": "a-token",
    }
    signer = TokenSigner(changed.pop("key", KEY))
    return signer.access_token(**(asked | changed))


def transaction_token(**changed: Any) -> str:
    """A good transaction token that checkout asked for, or one that differs as asked."""
    asked: dict[str, Any] = {
        "issuer": ISSUER,
        "trust_domain": DOMAIN,
        "transaction": TRANSACTION,
        "subject": "customer-42",
        "scopes": ["orders.place"],
        "requester": CHECKOUT,
        "context": {"tenant": "blue"},
        "request": {"req_ip": "203.0.113.9"},
        "expires": NOW + FIVE_MINUTES,
        "now": NOW,
    }
    signer = TokenSigner(changed.pop("key", KEY))
    return signer.transaction_token(**(asked | changed))


def part(value: object) -> str:
    """A part of a token, of bytes, of a text, or of what becomes JSON."""
    if not isinstance(value, bytes | str):
        value = json.dumps(value)
    raw = value.encode() if isinstance(value, str) else value
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_signature(signed: str, key: ec.EllipticCurvePrivateKey = KEY) -> tuple[bytes, bytes]:
    """r and s, 32 bytes each."""
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32), s.to_bytes(32)


def forged(
    header: object = HEADER,
    claims: object = CLAIMS,
    *,
    key: ec.EllipticCurvePrivateKey = KEY,
) -> str:
    """Whatever header and claims, with a signature that is right for them."""
    signed = f"{part(header)}.{part(claims)}"
    return f"{signed}.{part(b''.join(raw_signature(signed, key)))}"


def without(members: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in members.items() if name not in names}
