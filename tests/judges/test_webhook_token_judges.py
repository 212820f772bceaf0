"""Tokens of a gateway, verified by libraries with the mounted `webhook-jwks.json`.

Planning and the executor made the file and the key. The judges use only the file and the
documentation of the claims.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt as joserfc
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tests.builders import Cluster, authority_secret
from tests.judges.programs import Program
from tests.judges.token_judges import go_program, java_program
from tests.webhook_scene import GATEWAY, scene
from troth.documents.identity.document import parse_document
from troth.pki.keys.private import load_private_key
from troth.pki.tokens.webhook import (
    Signer,
    TokenError,
    VerifiedDelivery,
    verify_webhook_token,
)
from troth.resources.references import Ref
from troth.world.observation.objects import decoded

PREFIX = "spiffe://production.example/ns"
GATEWAY_ID = f"{PREFIX}/{GATEWAY}/sa/{GATEWAY}"
TARGET = f"{PREFIX}/shop/sa/payments"
OTHER = f"{PREFIX}/shop/sa/checkout"
REQUIRED = ["iss", "aud", "exp", "iat", "txn", "sub", "scope", "req_wl", "tctx", "rctx"]
BODY = b'{"id": "evt_1"}'
SAID = VerifiedDelivery(
    "shop/stripe-charges", "settle-charge", "Stripe", "k1", sha256(BODY).digest()
)


@cache
def mounted() -> dict[str, bytes]:
    """Return the files of the target."""
    return decoded(_cluster().objects["Secret", Ref("shop", "payments-identity")])


@cache
def _cluster() -> Cluster:
    return Cluster.of(*scene(authority_secret())).settle()


@cache
def gateways_key() -> ec.EllipticCurvePrivateKey:
    secret = _cluster().objects["Secret", Ref(GATEWAY, f"{GATEWAY}-webhook-signing")]
    key = load_private_key(decoded(secret)["key.pem"])
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def token(
    target: str = TARGET,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    gateway: str = GATEWAY_ID,
    age: float = 0,
) -> str:
    signer = Signer(key or gateways_key(), gateway)
    now = time.time() - age
    return signer.token(target, SAID, transaction=str(uuid.uuid4()), now=now)


def by_troth(text: str) -> Any:
    (entry,) = parse_document(mounted()["identity.json"]).webhooks
    said = verify_webhook_token(
        text, keys=entry.keys.public, gateway=entry.issuer, target=TARGET, now=time.time()
    )
    return said.delivery.endpoint


def by_pyjwt(text: str) -> Any:
    keys = pyjwt.PyJWKSet.from_json(mounted()["webhook-jwks.json"].decode())
    claims = pyjwt.decode(
        text,
        keys[pyjwt.get_unverified_header(text)["kid"]],
        algorithms=["ES256"],
        audience=TARGET,
        issuer=GATEWAY_ID,
        leeway=60,
        options={"require": REQUIRED},
    )
    return claims["tctx"]["endpoint"]


def by_joserfc(text: str) -> Any:
    keys = KeySet.import_key_set(json.loads(mounted()["webhook-jwks.json"]))
    decoded_token = joserfc.decode(text, keys, algorithms=["ES256"])
    claims = joserfc.JWTClaimsRegistry(
        leeway=60,
        iss={"essential": True, "value": GATEWAY_ID},
        aud={"essential": True, "value": TARGET},
        exp={"essential": True},
        iat={"essential": True},
    )
    claims.validate(decoded_token.claims)
    return decoded_token.claims["tctx"]["endpoint"]


class RefusedError(Exception):
    """A program rejected a token."""


def by_program(program: Program, text: str) -> Any:
    (verdict,) = program.verdicts(
        [
            {
                "do": "webhook",
                "token": text,
                "audience": TARGET,
                "issuer": GATEWAY_ID,
                "keySet": json.loads(mounted()["webhook-jwks.json"]),
            }
        ]
    )
    if not verdict.good:
        raise RefusedError(verdict.says)
    return verdict.says.removeprefix("webhook:")


JUDGES: dict[str, Callable[[str], Any]] = {
    "Troth": by_troth,
    "PyJWT": by_pyjwt,
    "joserfc": by_joserfc,
    "go-jose": lambda text: by_program(go_program(), text),
    "Nimbus": lambda text: by_program(java_program(), text),
}
REFUSALS = (RefusedError, TokenError, pyjwt.PyJWTError, JoseError, ValueError, KeyError)
STRANGER = ec.generate_private_key(ec.SECP256R1())


def resigned(**header: Any) -> str:
    """Return the same claims, signed with the gateway's own key below another header."""
    claims = pyjwt.decode(token(), options={"verify_signature": False})
    return pyjwt.encode(claims, gateways_key(), "ES256", headers=header)


def unsigned() -> str:
    claims = pyjwt.decode(token(), options={"verify_signature": False})
    kid = pyjwt.get_unverified_header(token())["kid"]
    return pyjwt.encode(claims, "", "none", headers={"kid": kid, "typ": "txntoken+jwt"})


def keyed() -> str:
    claims = pyjwt.decode(token(), options={"verify_signature": False})
    secret = mounted()["webhook-jwks.json"]
    kid = pyjwt.get_unverified_header(token())["kid"]
    return pyjwt.encode(claims, secret, "HS256", headers={"kid": kid, "typ": "txntoken+jwt"})


ATTACKS: dict[str, Callable[[], str]] = {
    "for another workload": lambda: token(OTHER),
    "of another gateway": lambda: token(gateway=OTHER),
    "with a stranger's key": lambda: token(key=STRANGER),
    "expired": lambda: token(age=121),
    "another kid": lambda: resigned(kid="nobody", typ="txntoken+jwt"),
    "not signed": unsigned,
    "HS256 with what is public": keyed,
    "cut short": lambda: token()[:-4],
}


@pytest.mark.parametrize("judge", JUDGES.values(), ids=list(JUDGES))
def test_each_judge_accepts_the_gateways_token(judge: Callable[[str], Any]) -> None:
    assert judge(token()) == "shop/stripe-charges"


@pytest.mark.parametrize("judge", JUDGES.values(), ids=list(JUDGES))
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_each_judge_rejects_a_token_that_the_gateway_did_not_sign_for_it(
    judge: Callable[[str], Any], attack: Callable[[], str]
) -> None:
    with pytest.raises(REFUSALS):
        judge(attack())


def test_mounted_key_set_has_no_private_part() -> None:
    for key in json.loads(mounted()["webhook-jwks.json"])["keys"]:
        assert sorted(key) == ["alg", "crv", "kid", "kty", "use", "x", "y"]
