"""Tokens, keys and bundles for the command's tests, some of which no issuer would sign."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry

from troth.pki.bundles.spiffe_bundle import bundle_document, bundle_map_document
from troth.pki.encodings import base64url
from troth.pki.keys.jwk import public_jwk
from troth.pki.tokens.signing import TokenSigner

DOMAIN = "prod.shop.example"
ISSUER = "https://production-issuer.troth-system.svc:8443"
CHECKOUT = f"spiffe://{DOMAIN}/ns/shop/sa/checkout"
PAYMENTS = f"spiffe://{DOMAIN}/ns/shop/sa/payments"
KEY = ec.generate_private_key(ec.SECP256R1())
STRANGER = ec.generate_private_key(ec.SECP256R1())
TRANSACTION = "7e9d1ce0-95ab-4dcd-8bd7-ce7e9d9c0a11"

IDENTITY = {
    "version": "v1alpha1",
    "spiffeID": PAYMENTS,
    "issuers": {DOMAIN: ISSUER},
    "accepts": [],
    "calls": [],
    "requires": {"context": []},
}


def now() -> datetime:
    return datetime.now(UTC)


def access(key: ec.EllipticCurvePrivateKey = KEY, **changed: Any) -> str:
    """Return a valid access token of checkout for payments, changed by the arguments."""
    wanted: dict[str, Any] = {
        "issuer": ISSUER,
        "subject": CHECKOUT,
        "audience": PAYMENTS,
        "scopes": ["payments.charge"],
        "lifetime": timedelta(minutes=5),
        "now": now() - timedelta(minutes=1),
        "certificate": None,
        "token_id": "a-token",
    }
    return TokenSigner(key).access_token(**wanted | changed)


def transaction(key: ec.EllipticCurvePrivateKey = KEY, **changed: Any) -> str:
    """Return a valid transaction token for a tenant."""
    wanted: dict[str, Any] = {
        "issuer": ISSUER,
        "trust_domain": DOMAIN,
        "transaction": TRANSACTION,
        "subject": "alice",
        "scopes": ["orders.place"],
        "requester": CHECKOUT,
        "context": {"tenant": "acme"},
        "request": {},
        "expires": now() + timedelta(minutes=4),
        "now": now() - timedelta(minutes=1),
    }
    return TokenSigner(key).transaction_token(**wanted | changed)


def part(members: object) -> str:
    text = members if isinstance(members, str) else json.dumps(members)
    return base64url.encode(text.encode())


def claims_of(token: str) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(base64url.decode(token.split(".")[1]))
    return members


def forged(
    header: Mapping[str, Any] | None = None,
    claims: Mapping[str, Any] | None = None,
    *,
    of: str = "",
    payload: str | None = None,
    key: ec.EllipticCurvePrivateKey = KEY,
) -> str:
    """Return a changed token signed with the right key."""
    good = of or access()
    heading = json.loads(base64url.decode(good.split(".")[0])) | dict(header or {})
    said = claims_of(good) | dict(claims or {})
    present = {name: value for name, value in said.items() if value is not None}
    signed = f"{part(heading)}.{part(present if payload is None else payload)}"
    signature = JWSRegistry.algorithms["ES256"].sign(signed.encode(), ECKey(key, None))
    return f"{signed}.{base64url.encode(signature)}"


def mounted(folder: Path) -> Path:
    """Return a folder with a callee's files: bundle-map.json and identity.json."""
    bundle = bundle_document([], [public_jwk(KEY.public_key())])
    bundles = json.dumps(bundle_map_document({DOMAIN: bundle}))
    (folder / "bundle-map.json").write_text(bundles)
    (folder / "identity.json").write_text(json.dumps(IDENTITY))
    return folder
