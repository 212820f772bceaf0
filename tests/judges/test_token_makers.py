"""Tokens that other libraries make with Troth's keys, each in its own format.

SPIRE signs its JWT-SVIDs with go-jose.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt as pyjwt
import pytest
from joserfc import jwt as joserfc
from joserfc.jwk import ECKey

from tests.judges.forging import encoded
from tests.judges.programs import Program, Verdict
from tests.judges.token_cases import Case
from tests.judges.token_judges import go_program, java_program, troth
from tests.judges.token_world import (
    CHECKOUT,
    CUSTOMER,
    PAYMENTS,
    Kind,
    access_claims,
    bundles,
    kid,
    signing_key,
    transaction_claims,
)
from troth.pki.keys.jwk import public_jwk

Claims = Mapping[str, Any]
Make = Callable[[str, Claims], str]
"""Makes a token from a `typ` and claims."""


def private_jwk() -> dict[str, str]:
    key = signing_key()
    secret = key.private_numbers().private_value.to_bytes(32)
    return {**public_jwk(key.public_key()), "d": encoded(secret)}


def by_program(program: Program) -> Make:
    def make(typ: str, claims: Claims) -> str:
        question = {"do": "mint", "type": typ, "claims": claims, "key": private_jwk()}
        (answer,) = program.ask([question])
        assert answer["ok"], answer["says"]
        return str(answer["token"])

    return make


def by_pyjwt(typ: str, claims: Claims) -> str:
    header = {"kid": kid(), "typ": typ}
    return pyjwt.encode(dict(claims), signing_key(), algorithm="ES256", headers=header)


def by_joserfc(typ: str, claims: Claims) -> str:
    header = {"alg": "ES256", "kid": kid(), "typ": typ}
    return joserfc.encode(header, dict(claims), ECKey.import_key({**private_jwk()}))


MAKERS: dict[str, Callable[[], Make]] = {
    "go-jose": lambda: by_program(go_program()),
    "Nimbus": lambda: by_program(java_program()),
    "PyJWT": lambda: by_pyjwt,
    "joserfc": lambda: by_joserfc,
}
EVERY_MAKER = pytest.mark.parametrize("maker", MAKERS)


def verdict_of_troth(token: str, kind: Kind) -> Verdict:
    (verdict,) = troth(bundles())([Case("made by another", token, kind=kind)])
    return verdict


@EVERY_MAKER
def test_troth_accepts_an_access_token_made_by_another_library(maker: str) -> None:
    token = MAKERS[maker]()("JWT", access_claims(int(time.time())))
    assert verdict_of_troth(token, Kind.ACCESS) == Verdict(good=True, says=CHECKOUT)


@EVERY_MAKER
def test_troth_accepts_a_transaction_token_made_by_another_library(maker: str) -> None:
    token = MAKERS[maker]()("txntoken+jwt", transaction_claims(int(time.time())))
    assert verdict_of_troth(token, Kind.TRANSACTION) == Verdict(good=True, says=CUSTOMER)


@EVERY_MAKER
def test_troth_rejects_a_jwt_svid_with_only_the_required_claims(maker: str) -> None:
    now = int(time.time())
    bare = {"sub": CHECKOUT, "aud": [PAYMENTS], "exp": now + 300, "iat": now}
    token = MAKERS[maker]()("JWT", bare)
    assert verdict_of_troth(token, Kind.ACCESS) == Verdict(good=False, says="token-issuer")
