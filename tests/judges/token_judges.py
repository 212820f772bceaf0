"""Judges of tokens, each as strict as its options allow, and independent of Troth.

All take the key by `kid` from the published bundle of the subject's trust domain. All other checks
are the library's own; none is added here.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt as pyjwt
import pytest
from joserfc import jwt as joserfc
from joserfc.jwk import ECKey

from sandbox import java
from sandbox.tools import ensure
from tests.judges.by_openssl import openssl
from tests.judges.programs import (
    Bundles,
    Judge,
    Program,
    Verdict,
    answering,
    decoded,
    key_and_issuer,
)
from tests.judges.token_cases import Case
from tests.judges.token_world import ISSUERS, PAYMENTS, Kind
from tests.pki.builders import DOMAIN
from troth.pki.bundles.spiffe_bundle import bundle_map_document, parse_bundle_map
from troth.pki.tokens.checks import TokenError, verify_access_token, verify_transaction_token
from troth.pki.tokens.signing import certificate_thumbprint

AUDIENCES = {Kind.ACCESS: PAYMENTS, Kind.TRANSACTION: DOMAIN}
REQUIRED = {
    Kind.ACCESS: ["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "client_id"],
    Kind.TRANSACTION: ["iss", "sub", "aud", "exp", "iat", "txn", "scope", "req_wl", "tctx"],
}
LEEWAY = 60


def troth(bundles: Bundles) -> Judge:
    read = parse_bundle_map(json.dumps(bundle_map_document(bundles)))

    def judge(case: Case) -> str:
        now = time.time()
        if case.kind is Kind.TRANSACTION:
            return verify_transaction_token(
                case.token, bundle=read[DOMAIN], issuer=ISSUERS[DOMAIN], now=now
            ).subject
        token = verify_access_token(
            case.token, bundles=read, issuers=ISSUERS, audience=PAYMENTS, now=now
        )
        shown = certificate_thumbprint(case.shown) if case.shown else None
        if token.thumbprint not in (None, shown):  # as the middleware gets it from the TLS layer
            raise TokenError("token-holder", "The token is bound to another certificate.")
        return token.subject

    def answer(case: Case) -> Verdict:
        try:
            return Verdict(good=True, says=judge(case))
        except TokenError as refused:
            return Verdict(good=False, says=refused.reason)

    return lambda cases: [answer(case) for case in cases]


def go(bundles: Bundles) -> Judge:
    """go-spiffe for access tokens; go-jose, which it uses, for transaction tokens."""
    program = go_program()
    acts = {Kind.ACCESS: "jwt-svid", Kind.TRANSACTION: "transaction"}

    def question(case: Case) -> dict[str, Any]:
        return {
            "do": acts[case.kind],
            "token": case.token,
            "audience": AUDIENCES[case.kind],
            "issuer": ISSUERS[DOMAIN],
            "trustDomain": DOMAIN,
            "bundles": bundles,
        }

    return lambda cases: program.verdicts([question(case) for case in cases])


def nimbus(bundles: Bundles) -> Judge:
    program = java_program()

    def question(case: Case) -> dict[str, Any]:
        return {
            "do": case.kind,
            "token": case.token,
            "audience": AUDIENCES[case.kind],
            "issuers": ISSUERS,
            "trustDomain": DOMAIN,
            "bundles": bundles,
            "certificate": b64encode(case.shown).decode() if case.shown else None,
        }

    return lambda cases: program.verdicts([question(case) for case in cases])


def go_program() -> Program:
    return Program((ensure("token-judge"),))


def java_program() -> Program:
    if reason := java.missing():
        pytest.skip(f"Nimbus cannot judge: {reason}")
    # A run of a second does not repay compilation.
    return Program(("java", "-XX:TieredStopAtLevel=1", "-jar", ensure("nimbus-judge")))


def pyjwt_judge(bundles: Bundles) -> Judge:
    def judge(case: Case) -> str:
        subject = pyjwt.decode(case.token, options={"verify_signature": False})["sub"]
        key, issuer = key_and_issuer(
            bundles, case, subject, pyjwt.get_unverified_header(case.token)["kid"]
        )
        claims = pyjwt.decode(
            case.token,
            pyjwt.PyJWK(dict(key), "ES256"),
            algorithms=["ES256"],
            audience=AUDIENCES[case.kind],
            issuer=issuer,
            leeway=LEEWAY,
            options={"require": REQUIRED[case.kind]},
        )
        return str(claims["sub"])

    return answering(judge)


def joserfc_judge(bundles: Bundles) -> Judge:
    def judge(case: Case) -> str:
        header, payload = (json.loads(part) for part in decoded(case.token)[:2])
        key, issuer = key_and_issuer(bundles, case, payload["sub"], header["kid"])
        members: dict[str, str | list[str]] = {
            name: key[name] for name in ("kty", "crv", "x", "y", "kid")
        }
        token = joserfc.decode(case.token, ECKey.import_key(members), algorithms=["ES256"])
        expected: dict[str, Any] = {name: {"essential": True} for name in REQUIRED[case.kind]}
        expected["iss"]["value"], expected["aud"]["value"] = issuer, AUDIENCES[case.kind]
        for name in {"scope", "tctx"} & expected.keys():
            expected[name]["allow_blank"] = True
        joserfc.JWTClaimsRegistry(leeway=LEEWAY, **expected).validate(token.claims)
        return str(token.claims["sub"])

    return answering(judge)


@dataclass(frozen=True)
class Seat:
    """How to make a judge for the published bundles, and which attacks it can detect."""

    make: Callable[[Bundles], Judge]
    covers: Callable[[Case], bool]


def but_the_holder(case: Case) -> bool:
    """Return whether a case is not about the token's holder, which few libraries check."""
    return not case.about_holder


def the_signature(case: Case) -> bool:
    return case.reason.rpartition("-")[2] in {"signature", "key", "algorithm"}


JUDGES = {
    "go-spiffe": Seat(go, but_the_holder),
    "Nimbus": Seat(nimbus, lambda _: True),
    "openssl": Seat(openssl, the_signature),
    "PyJWT": Seat(pyjwt_judge, but_the_holder),
    "joserfc": Seat(joserfc_judge, but_the_holder),
}
