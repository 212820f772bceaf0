"""A webhook token states what was verified, for one workload, for one minute."""

import base64
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import jwt
import pytest

from tests.pki.forged_tokens import (
    DOMAIN,
    KEY,
    KID,
    MOMENT,
    OTHER_KEY,
    OTHER_KID,
    PAYMENTS,
    TRANSACTION,
    TRANSACTION_HEADER,
    UNKNOWN_KEY,
    forged,
    transaction_token,
    without,
)
from troth.pki.errors import IssuingError
from troth.pki.tokens.webhook import (
    Signer,
    TokenError,
    VerifiedDelivery,
    WebhookToken,
    verify_webhook_token,
)

GATEWAY = f"spiffe://{DOMAIN}/ns/troth-gateway/sa/troth-gateway"
OTHER_GATEWAY = f"spiffe://{DOMAIN}/ns/troth-gateway/sa/another"
BODY = sha256(b"{}").digest()
DELIVERY = VerifiedDelivery("shop/stripe", "settle-charge", "Stripe", "k2", BODY, "evt_1")
DIGEST = base64.urlsafe_b64encode(BODY).rstrip(b"=").decode()
CLAIMS: dict[str, Any] = {
    "iss": GATEWAY,
    "aud": PAYMENTS,
    "iat": MOMENT,
    "exp": MOMENT + 60,
    "txn": TRANSACTION,
    "sub": "webhook:shop/stripe",
    "scope": "",
    "req_wl": GATEWAY,
    "tctx": {"endpoint": "shop/stripe", "workflow": "settle-charge", "scheme": "Stripe"},
    "rctx": {"key_id": "k2", "body_sha256": DIGEST, "delivery_id": "evt_1"},
}


def made(delivery: VerifiedDelivery = DELIVERY) -> str:
    return Signer(KEY, GATEWAY).token(PAYMENTS, delivery, transaction=TRANSACTION, now=MOMENT + 0.9)


def read(token: str, now: float = MOMENT) -> WebhookToken:
    keys = {KID: KEY.public_key(), OTHER_KID: OTHER_KEY.public_key()}
    return verify_webhook_token(token, keys=keys, gateway=GATEWAY, target=PAYMENTS, now=now)


def refused(token: str, now: float = MOMENT) -> str:
    with pytest.raises(TokenError) as caught:
        read(token, now)
    return caught.value.reason


def changed(**members: Any) -> str:
    return forged(TRANSACTION_HEADER, CLAIMS | members)


@pytest.mark.parametrize("delivery", [DELIVERY, replace(DELIVERY, delivery_id=None)])
def test_webhook_token_survives_a_round_trip(delivery: VerifiedDelivery) -> None:
    assert read(made(delivery)) == WebhookToken(
        GATEWAY, PAYMENTS, TRANSACTION, delivery, expires=MOMENT + 60, issued=MOMENT
    )


def test_webhook_token_has_exactly_the_documented_header_and_claims() -> None:
    assert jwt.get_unverified_header(made()) == TRANSACTION_HEADER
    assert jwt.decode(made(), options={"verify_signature": False}) == CLAIMS


def test_handwritten_token_with_valid_claims_is_accepted() -> None:
    assert read(changed()).delivery == DELIVERY


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (lambda: changed(iss=OTHER_GATEWAY), "issuer"),
        (lambda: changed(req_wl=OTHER_GATEWAY), "issuer"),
        (lambda: changed(aud=OTHER_GATEWAY), "audience"),
        (lambda: changed(aud=[PAYMENTS]), "audience"),
        (lambda: changed(aud=DOMAIN), "audience"),
        (lambda: changed(exp=MOMENT + 61), "lifetime"),
        (lambda: changed(iat=MOMENT + 61, exp=MOMENT + 121), "not-yet-valid"),
        (lambda: changed(nbf=MOMENT + 61), "not-yet-valid"),
        (lambda: changed(txn="7"), "malformed"),
        (lambda: changed(scope="orders.place"), "malformed"),
        (lambda: changed(sub="webhook:shop/other"), "malformed"),
        (lambda: changed(tctx=CLAIMS["tctx"] | {"tenant": "blue"}), "malformed"),
        (lambda: changed(tctx=without(CLAIMS["tctx"], "workflow")), "malformed"),
        (lambda: changed(rctx=without(CLAIMS["rctx"], "key_id")), "malformed"),
        (lambda: changed(rctx=CLAIMS["rctx"] | {"more": "x"}), "malformed"),
        (lambda: changed(rctx=CLAIMS["rctx"] | {"body_sha256": "AAAA"}), "malformed"),
        (lambda: changed(rctx=CLAIMS["rctx"] | {"body_sha256": DIGEST + "="}), "malformed"),
        (lambda: forged(TRANSACTION_HEADER, without(CLAIMS, "tctx")), "malformed"),
        (lambda: forged(TRANSACTION_HEADER | {"typ": "JWT"}, CLAIMS), "type"),
        (lambda: forged(TRANSACTION_HEADER | {"alg": "none"}, CLAIMS), "algorithm"),
        (lambda: forged(TRANSACTION_HEADER | {"jku": "https://x"}, CLAIMS), "malformed"),
        (lambda: forged(TRANSACTION_HEADER | {"kid": "another"}, CLAIMS), "key"),
        (lambda: forged(TRANSACTION_HEADER, CLAIMS, key=UNKNOWN_KEY), "signature"),
        (transaction_token, "issuer"),
    ],
)
def test_invalid_webhook_token_is_rejected(token: Callable[[], str], code: str) -> None:
    assert refused(token()) == f"webhook-token-{code}"


def test_webhook_token_is_valid_for_one_minute_plus_leeway() -> None:
    read(made(), MOMENT + 119)
    assert refused(made(), MOMENT + 120) == "webhook-token-expired"


@pytest.mark.parametrize(
    "delivery",
    [
        replace(DELIVERY, delivery_id="two\nlines"),
        replace(DELIVERY, delivery_id="x" * 257),
        replace(DELIVERY, workflow=""),
    ],
)
def test_invalid_delivery_is_not_signed(delivery: VerifiedDelivery) -> None:
    with pytest.raises(IssuingError):
        made(delivery)


def test_repr_of_the_webhook_signer_has_no_key() -> None:
    assert repr(Signer(KEY, GATEWAY)) == f"Signer(kid={KID!r})"
