"""Deliveries on a port for webhooks, verified with the gateway's token."""

import hmac
import json
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.edge import mounts
from tests.edge.mounts import (
    CHECKOUT,
    DOMAIN,
    KEY,
    NOW,
    PAYMENTS,
    accepted,
    by_token,
    forwarding,
    known,
    snapshot,
)
from tests.pki.forged_tokens import forged, part
from troth.documents.identity.document import DocumentError
from troth.edge.identity.snapshot import Snapshot
from troth.edge.inbound.caller import CALLER, Caller
from troth.edge.inbound.delivery import Delivery
from troth.edge.inbound.guard import Guard
from troth.edge.inbound.presented import Stripping
from troth.edge.inbound.refusal import Refusal
from troth.edge.outbound.transactions import current_token
from troth.pki.encodings import base64url
from troth.pki.keys.jwk import key_id, public_jwk
from troth.pki.tokens.webhook import Signer, VerifiedDelivery

GATEWAY = f"spiffe://{DOMAIN}/ns/troth-gateway/sa/troth-gateway"
SECOND = f"spiffe://{DOMAIN}/ns/edge/sa/edge"
HOOKS = "webhooks"
GATEWAY_KEY, SECOND_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
KID = key_id(GATEWAY_KEY.public_key())
BODY = b'{"id": "evt_1"}'
SAID = VerifiedDelivery(
    "shop/stripe", "settle-charge", "Stripe", "k2", sha256(BODY).digest(), "evt_1"
)
TXN = "00000000-0000-0000-0000-000000000009"
HEADER = {"alg": "ES256", "kid": KID, "typ": "txntoken+jwt"}
CLAIMS: dict[str, Any] = {
    "iss": GATEWAY,
    "aud": PAYMENTS,
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 60,
    "txn": TXN,
    "sub": "webhook:shop/stripe",
    "scope": "",
    "req_wl": GATEWAY,
    "tctx": {"endpoint": "shop/stripe", "workflow": "settle-charge", "scheme": "Stripe"},
    "rctx": {"key_id": "k2", "body_sha256": base64url.encode(SAID.body_sha256)},
}


def entry(
    gateway: str = GATEWAY, key: ec.EllipticCurvePrivateKey = GATEWAY_KEY, **changed: Any
) -> dict[str, Any]:
    """A member of `webhooks` in `identity.json`."""
    return {
        "gateway": gateway,
        "issuer": gateway,
        "keys": {"keys": [public_jwk(key.public_key()) | {"use": "sig", "alg": "ES256"}]},
        "port": HOOKS,
        "endpoints": [{"name": "shop/stripe", "path": "/events", "workflow": "settle-charge"}],
    } | changed


def files(*more: Any, **changed: Any) -> Snapshot:
    declared: dict[str, Any] = {
        "accepts": [
            accepted(GATEWAY, ports=(HOOKS,)),
            accepted(CHECKOUT, "payments.charge", ports=("https",)),
            *more,
        ],
        "webhooks": [entry()],
    }
    return snapshot(**declared | changed)


def token(said: VerifiedDelivery = SAID, **changed: Any) -> str:
    key, gateway = changed.get("key", GATEWAY_KEY), changed.get("gateway", GATEWAY)
    target, now = changed.get("target", PAYMENTS), NOW.timestamp()
    return Signer(key, gateway).token(target, said, transaction=TXN, now=now)


def judge(
    there: Snapshot,
    *tokens: str,
    peer: str | None = GATEWAY,
    port: str = HOOKS,
    after: float = 0,
    **headers: str,
) -> Caller | Refusal:
    sent = [(b"txn-token", each.encode()) for each in tokens]
    sent += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    presented = Stripping().read(sent, bearer=there.document.requires.token is not None)
    chain = known(peer).chain if peer else ()
    return Guard(port).judge(there, chain, presented, NOW.timestamp() + after)


def code(there: Snapshot, *tokens: str, **more: Any) -> str:
    judged = judge(there, *tokens, **more)
    assert isinstance(judged, Refusal), judged
    return judged.code


def delivery(there: Snapshot, *tokens: str, **more: Any) -> Delivery:
    judged = judge(there, *tokens, **more)
    assert isinstance(judged, Caller), judged
    assert judged.delivery is not None
    return judged.delivery


def test_delivery_has_the_facts_in_the_gateways_token() -> None:
    judged = judge(files(), token())
    assert judged == Caller(
        GATEWAY,
        frozenset(),
        delivery=Delivery(
            endpoint="shop/stripe",
            workflow="settle-charge",
            scheme="Stripe",
            key_id="k2",
            delivery_id="evt_1",
            body_sha256=SAID.body_sha256,
            txn=TXN,
        ),
    )
    assert isinstance(judged, Caller)
    assert (judged.transaction, judged.subject, judged.tenant) == (None, None, None)
    assert judged.request_id == TXN


def test_delivery_covers_exactly_the_verified_body() -> None:
    seen = delivery(files(), token())
    assert seen.covers(BODY)
    assert not seen.covers(BODY + b"\n")
    assert not seen.covers(b"")


def test_delivery_token_is_never_forwarded() -> None:
    judged = judge(files(), token())
    assert isinstance(judged, Caller)
    reset = CALLER.set(judged)
    try:
        assert current_token() is None
    finally:
        CALLER.reset(reset)
    assert token() not in repr(judged)


def test_gateways_request_without_a_token_is_rejected() -> None:
    assert code(files()) == "webhook-token-missing"
    assert code(files(), token(), token()) == "webhook-token-malformed"


def test_caller_other_than_the_gateway_is_rejected() -> None:
    assert code(files(), token(), peer=CHECKOUT) == "caller-not-accepted"
    assert code(files(), token(), peer=None) == "certificate-missing"


def test_other_accepted_caller_is_no_gateway() -> None:
    both = files(accepted(SECOND, ports=(HOOKS,)))
    assert code(both, token(), peer=SECOND) == "webhook-gateway"
    assert code(both, token(gateway=SECOND, key=SECOND_KEY), peer=SECOND) == "webhook-gateway"
    assert code(both, peer=SECOND) == "webhook-gateway"


def test_gateway_that_is_no_longer_accepted_is_rejected_despite_its_keys() -> None:
    assert code(files(accepts=[]), token()) == "caller-not-accepted"


def test_each_of_two_gateways_has_its_own_key() -> None:
    both = files(
        accepted(SECOND, ports=(HOOKS,)), webhooks=[entry(), entry(SECOND, key=SECOND_KEY)]
    )
    seconds = token(gateway=SECOND, key=SECOND_KEY)
    assert delivery(both, seconds, peer=SECOND).endpoint == "shop/stripe"
    assert code(both, seconds, peer=GATEWAY) == "webhook-token-key"
    assert code(both, token(), peer=SECOND) == "webhook-token-key"
    assert code(both, token(gateway=SECOND), peer=GATEWAY) == "webhook-token-issuer"


def test_delivery_token_is_ignored_on_other_ports() -> None:
    assert code(files(), token(), peer=CHECKOUT, port="https") == "transaction-key"


def test_gateway_is_an_ordinary_caller_on_other_ports() -> None:
    there = files(accepts=[accepted(GATEWAY, ports=(HOOKS, "https"))])
    judged = judge(there, port="https")
    assert isinstance(judged, Caller)
    assert judged.delivery is None
    assert code(there, token(), port="https") == "transaction-key"


def test_ordinary_transaction_is_no_delivery() -> None:
    assert code(files(), mounts.transaction_token(now=NOW)) == "webhook-token-key"
    trusting = entry(key=KEY)
    assert code(files(webhooks=[trusting]), mounts.transaction_token(now=NOW)) == (
        "webhook-token-issuer"
    )


def test_required_context_does_not_apply_to_the_gateway() -> None:
    there = files(requires={"context": ["Subject", "Tenant", "RequestID"]})
    assert delivery(there, token()).txn == TXN


def test_target_that_requires_tokens_requires_them_of_its_gateway() -> None:
    there = files(requires=by_token())
    assert code(there, token()) == "token-missing"
    access = mounts.access_token(
        GATEWAY, certificate=known(GATEWAY).der, scopes=["payments.charge"], now=NOW
    )
    assert delivery(there, token(), authorization=f"Bearer {access}").workflow == "settle-charge"


def test_gateway_needs_its_certificate_even_with_unbound_tokens() -> None:
    there = files(requires=by_token("Optional"))
    access = mounts.access_token(GATEWAY, scopes=["payments.charge"], now=NOW)
    bearer = f"Bearer {access}"
    assert code(there, token(), peer=None, authorization=bearer) == "certificate-missing"
    assert delivery(there, token(), authorization=bearer).txn == TXN


def test_forwarded_client_certificate_is_ignored() -> None:
    forwards = files(
        accepts=[forwarding(CHECKOUT, ports=(HOOKS,)), accepted(GATEWAY, ports=(HOOKS,))]
    )
    client = f"Hash={'0' * 64};URI={GATEWAY}"
    judged = code(forwards, token(), peer=CHECKOUT, x_forwarded_client_cert=client)
    assert judged == "webhook-gateway"


def test_delivery_of_an_unlisted_endpoint_is_rejected() -> None:
    assert code(files(webhooks=[entry(endpoints=[])]), token()) == "webhook-token-endpoint"


@pytest.mark.parametrize("after", [-61, 120])
def test_delivery_token_is_valid_only_in_its_lifetime(after: float) -> None:
    assert code(files(), token(), after=after) in (
        "webhook-token-not-yet-valid",
        "webhook-token-expired",
    )


PEM = GATEWAY_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def by_hand(claims: dict[str, Any] | None = None, **header: Any) -> str:
    return forged(HEADER | header, CLAIMS | (claims or {}), key=GATEWAY_KEY)


def keyed_hash() -> str:
    signed = f"{part(HEADER | {'alg': 'HS256'})}.{part(CLAIMS)}"
    return f"{signed}.{part(hmac.digest(PEM, signed.encode(), 'sha256'))}"


ATTACKS = {
    "alg none": (f"{part(HEADER | {'alg': 'none'})}.{part(CLAIMS)}.", "algorithm"),
    "alg none, signed": (by_hand(alg="none"), "algorithm"),
    "HS256 with the public key": (keyed_hash(), "algorithm"),
    "another kid": (by_hand(kid="nobody"), "key"),
    "the trust domain's kid and key": (
        forged(HEADER | {"kid": key_id(KEY.public_key())}, CLAIMS, key=KEY),
        "key",
    ),
    "another's key": (forged(HEADER, CLAIMS, key=SECOND_KEY), "signature"),
    "jku": (by_hand(jku="https://attacker.example/jwks"), "malformed"),
    "x5u": (by_hand(x5u="https://attacker.example/x5u"), "malformed"),
    "its own jwk": (by_hand(jwk=public_jwk(SECOND_KEY.public_key())), "malformed"),
    "an access token": (by_hand(typ="JWT"), "type"),
    "another issuer": (by_hand({"iss": SECOND}), "issuer"),
    "the trust domain's issuer": (by_hand({"iss": mounts.ISSUER}), "issuer"),
    "asked for by another": (by_hand({"req_wl": CHECKOUT}), "issuer"),
    "for another workload": (by_hand({"aud": CHECKOUT}), "audience"),
    "for the trust domain": (by_hand({"aud": DOMAIN}), "audience"),
    "for two workloads": (by_hand({"aud": [PAYMENTS, CHECKOUT]}), "audience"),
    "for an hour": (by_hand({"exp": CLAIMS["iat"] + 3600}), "lifetime"),
    "with scopes": (by_hand({"scope": "payments.charge"}), "malformed"),
    "for a subject": (by_hand({"sub": "customer-42"}), "malformed"),
    "not a token": ("token", "malformed"),
    "none": ("", "malformed"),
}


@pytest.mark.parametrize(("attack", "why"), ATTACKS.values(), ids=list(ATTACKS))
def test_known_token_attacks_are_rejected(attack: str, why: str) -> None:
    assert delivery(files(), by_hand()).endpoint == "shop/stripe", "what the attacks begin with"
    assert code(files(), attack) == f"webhook-token-{why}"


def test_answer_does_not_reveal_whether_a_key_is_known() -> None:
    unknown, wrong = (judge(files(), ATTACKS[each][0]) for each in ("another kid", "another's key"))
    assert isinstance(unknown, Refusal)
    assert isinstance(wrong, Refusal)
    assert unknown.code != wrong.code
    assert (unknown.answered, unknown.sentence) == (wrong.answered, wrong.sentence)
    assert unknown.status == 403


@pytest.mark.parametrize(
    "webhooks",
    [
        [entry(issuer=SECOND)],
        [entry(), entry()],
        [entry(keys={"keys": 2 * entry()["keys"]["keys"]})],
        [entry(keys={"keys": [{"kty": "oct", "k": "AAAA"}]})],
        [entry(gateway="troth-gateway", issuer="troth-gateway")],
        [entry(only="some")],
        [{name: each for name, each in entry().items() if name != "keys"}],
    ],
)
def test_invalid_webhooks_in_the_document_are_rejected(webhooks: list[dict[str, Any]]) -> None:
    with pytest.raises((DocumentError, ValueError)):
        files(webhooks=webhooks)


def test_every_delivery_is_rejected_without_keys() -> None:
    assert code(files(webhooks=[entry(keys={"keys": []})]), token()) == "webhook-token-key"


def test_private_key_in_the_document_is_rejected_and_not_shown() -> None:
    jwk = public_jwk(GATEWAY_KEY.public_key()) | {"d": "c2VjcmV0"}
    with pytest.raises(DocumentError) as caught:
        files(webhooks=[entry(keys={"keys": [jwk]})])
    assert "c2VjcmV0" not in str(caught.value)
    assert json.dumps(jwk) not in str(caught.value)
