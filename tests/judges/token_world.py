"""Two trust domains that issue tokens, their bundles, and tokens as each makes them."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki.builders import DOMAIN, key, leaf, own_root
from troth.pki.bundles.spiffe_bundle import bundle_document
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.jwk import public_jwk
from troth.pki.tokens.signing import TokenSigner
from troth.resources.algorithms import KeyAlgorithm

PARTNER = "partner.example"
CHECKOUT = f"spiffe://{DOMAIN}/ns/shop/sa/checkout"
PAYMENTS = f"spiffe://{DOMAIN}/ns/shop/sa/payments"
PARTNERS_CLIENT = f"spiffe://{PARTNER}/ns/shop/sa/client"
ISSUERS = {name: f"https://issuer.{name}" for name in (DOMAIN, PARTNER)}
CUSTOMER = "customer-4711"
CONTEXT = {"tenant": "acme", "channel": "web — mobile"}
REQUEST = {"req_ip": "192.0.2.7", "authn": "pwd"}


class Kind(StrEnum):
    ACCESS = "access"
    TRANSACTION = "transaction"


def signing_key(which: str = "current") -> ec.EllipticCurvePrivateKey:
    made = key(KeyAlgorithm.ECDSA_P256, f"tokens {which}")
    assert isinstance(made, ec.EllipticCurvePrivateKey)
    return made


def kid(which: str = "current") -> str:
    return public_jwk(signing_key(which).public_key())["kid"]


@cache
def certificate(which: str = "checkout") -> bytes:
    """Return a certificate (DER) to bind a token to; each has another name."""
    issued = leaf(own_root(which=which))
    return read_certificates(issued, which)[0].public_bytes(Encoding.DER)


@cache
def roots() -> tuple[bytes, ...]:
    """Return the own trust domain's roots (PEM), with keys of each kind that Troth uses."""
    # Readers treat an RSA key of 4096 bits as one of 2048, and it takes seconds to make.
    kinds = [each for each in KeyAlgorithm if each is not KeyAlgorithm.RSA_4096]
    return tuple(own_root(algorithm).authority.anchors[0] for algorithm in kinds)


@cache
def bundles() -> dict[str, Any]:
    """Return each trust domain's bundle; the own one is in a rotation, with roots of all kinds."""
    partners = own_root(domain=PARTNER, which="partner").authority.anchors
    return {
        DOMAIN: bundle_document(roots(), [_jwk("current"), _jwk("next")]),
        PARTNER: bundle_document(partners, [_jwk("partner")]),
    }


def _jwk(which: str) -> dict[str, str]:
    return public_jwk(signing_key(which).public_key())


def access_claims(now: int) -> dict[str, Any]:
    return {
        "iss": ISSUERS[DOMAIN],
        "sub": CHECKOUT,
        "aud": [PAYMENTS],
        "exp": now + 300,
        "iat": now,
        "nbf": now,
        "jti": str(uuid.uuid4()),
        "scope": "payments.charge",
        "client_id": CHECKOUT,
    }


def transaction_claims(now: int) -> dict[str, Any]:
    return {
        "iss": ISSUERS[DOMAIN],
        "aud": DOMAIN,
        "iat": now,
        "exp": now + 300,
        "txn": str(uuid.uuid4()),
        "sub": CUSTOMER,
        "scope": "orders.place",
        "req_wl": CHECKOUT,
        "tctx": CONTEXT,
        "rctx": REQUEST,
    }


def access_token(
    which: str = "current",
    *,
    issuer: str = ISSUERS[DOMAIN],
    subject: str = CHECKOUT,
    ago: float = 0,
    lifetime: float = 300,
    scopes: tuple[str, ...] = ("payments.charge", "payments.refund"),
    bound_to: bytes | None = None,
) -> str:
    """Return an access token as Troth makes it."""
    return TokenSigner(signing_key(which)).access_token(
        issuer=issuer,
        subject=subject,
        audience=PAYMENTS,
        scopes=scopes,
        lifetime=timedelta(seconds=lifetime),
        now=datetime.fromtimestamp(time.time() - ago, UTC),
        certificate=bound_to,
        token_id=str(uuid.uuid4()),
    )


def transaction_token(
    which: str = "current",
    *,
    ago: float = 0,
    lifetime: float = 300,
    context: dict[str, str] | None = None,
    request: dict[str, str] | None = None,
    scopes: tuple[str, ...] = ("orders.place",),
) -> str:
    """Return a transaction token as Troth makes it."""
    issued = datetime.fromtimestamp(time.time() - ago, UTC)
    return TokenSigner(signing_key(which)).transaction_token(
        issuer=ISSUERS[DOMAIN],
        trust_domain=DOMAIN,
        transaction=str(uuid.uuid4()),
        subject=CUSTOMER,
        scopes=scopes,
        requester=CHECKOUT,
        context=CONTEXT if context is None else context,
        request=request or {},
        expires=issued + timedelta(seconds=lifetime),
        now=issued,
    )
