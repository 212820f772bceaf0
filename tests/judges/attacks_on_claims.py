"""Tokens with a valid signature and claims that Troth rejects.

Times are so far from every limit that no token crosses one on a busy machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.judges.forging import Sign, always, encoded, es256_der, written
from tests.judges.token_cases import ABSENT, OWN, PARTNERS, THIEF, Case, by_hand, changed
from tests.judges.token_world import (
    CHECKOUT,
    ISSUERS,
    PARTNER,
    PARTNERS_CLIENT,
    PAYMENTS,
    Kind,
    access_token,
    certificate,
    kid,
    signing_key,
)
from tests.pki.builders import DOMAIN
from troth.pki.keys.jwk import public_jwk
from troth.pki.tokens.signing import certificate_thumbprint


def times(claims: dict[str, Any], now: int) -> Iterator[Case]:
    def at(**times: Any) -> str:
        return by_hand(changed(claims, times))

    def literal(name: str, value: str) -> str:
        text = written(claims | {name: "HERE"}).decode()
        return by_hand(text.replace('"HERE"', value).encode())

    past, future = now - 300, now + 300
    yield Case("expired 90 s ago", at(iat=past, nbf=past, exp=now - 90), "token-expired")
    yield Case("expired 5 min ago", at(iat=now - 600, nbf=now - 600, exp=past), "token-expired")
    yield Case("of 1970", at(iat=0, nbf=0, exp=300), "token-expired")
    yield Case(
        "a clock 5 min ahead", at(iat=future, nbf=future, exp=now + 600), "token-not-yet-valid"
    )
    yield Case("nbf 5 min ahead", at(nbf=future, exp=now + 600), "token-not-yet-valid")
    yield Case("iat 5 min ahead", at(iat=future, exp=now + 600), "token-not-yet-valid")
    yield Case("of an hour", at(exp=now + 3600), "token-lifetime")
    yield Case("exp before iat", at(iat=now, nbf=now, exp=now - 5), "token-lifetime")
    for name in ("exp", "iat", "nbf"):
        yield Case(f"{name} is absent", at(**{name: ABSENT}), "token-malformed")
        yield Case(f"{name} is a text", at(**{name: str(claims[name])}), "token-malformed")
        yield Case(f"{name} is true", at(**{name: True}), "token-malformed")
        yield Case(f"{name} is a fraction", at(**{name: claims[name] + 0.5}), "token-malformed")
    for value in ("NaN", "Infinity", "1e400", "9" * 400, "-1", "null", f"[{future}]"):
        shown = value if len(value) < 20 else "of 400 digits"
        yield Case(f"exp is {shown}", literal("exp", value), "token-malformed")


def contents(claims: dict[str, Any]) -> Iterator[Case]:
    def having(**changes: Any) -> str:
        return by_hand(changed(claims, changes))

    for name, value in {
        "another service's": ["https://ledger.example"],
        "the caller's own": [CHECKOUT],
        "absent": ABSENT,
        "null": None,
        "an empty array": [],
        "two, one of them ours": [PAYMENTS, "https://ledger.example"],
        "ours twice": [PAYMENTS, PAYMENTS],
        "an array in an array": [[PAYMENTS]],
        "an object": {PAYMENTS: PAYMENTS},
        "one that begins as ours": [f"{PAYMENTS}-2"],
        "ours in capitals": [PAYMENTS.upper()],
        "ours with a space": [f"{PAYMENTS} "],
        "a part of ours": ["payments"],
    }.items():
        yield Case(f"aud is {name}", having(aud=value), "token-audience")
    for name, issuer in {
        "a thief's": "https://thief.example",
        "the partner's": ISSUERS[PARTNER],
        "absent": ABSENT,
        "with a slash more": f"{ISSUERS[DOMAIN]}/",
        "an array": [ISSUERS[DOMAIN]],
    }.items():
        yield Case(f"iss is {name}", having(iss=issuer), "token-issuer")
    for name, subject in {
        "absent": ABSENT,
        "an array": [CHECKOUT],
        "a number": 4711,
        "a name": "checkout",
        "a URL": f"https://{DOMAIN}/ns/shop/sa/checkout",
        "the trust domain's own ID": f"spiffe://{DOMAIN}",
        "an ID with dots": f"spiffe://{DOMAIN}/ns/shop/../sa/checkout",
        "an ID with a query": f"{CHECKOUT}?a=b",
        "an ID with a port": f"spiffe://{DOMAIN}:8443/ns/shop/sa/checkout",
        "an ID in capitals": CHECKOUT.replace("spiffe", "SPIFFE"),
    }.items():
        yield Case(f"sub is {name}", having(sub=subject, client_id=subject), "token-malformed")
    for claim, name, odd in (
        ("client_id", "absent", ABSENT),
        ("client_id", "another's", PAYMENTS),
        ("jti", "absent", ABSENT),
        ("jti", "a number", 1),
        ("scope", "absent", ABSENT),
        ("scope", "an array", ["payments.charge"]),
        ("scope", "with two spaces", "payments.charge  payments.refund"),
    ):
        yield Case(f"{claim} is {name}", having(**{claim: odd}), "token-malformed")


def holders(claims: dict[str, Any]) -> Iterator[Case]:
    bound = access_token(bound_to=certificate())
    yield Case("bound, with another certificate", bound, "token-holder", shown=certificate("thief"))
    yield Case("bound, without a certificate", bound, "token-holder")
    thumbprint = certificate_thumbprint(certificate())
    for name, confirmation in {
        "a text": thumbprint,
        "null": None,
        "empty": {},
        "another method": {"jkt": thumbprint},
        "a method more": {"x5t#S256": thumbprint, "jkt": thumbprint},
        "a padded thumbprint": {"x5t#S256": f"{thumbprint}="},
        "a number": {"x5t#S256": 1},
    }.items():
        token = by_hand(claims | {"cnf": confirmation})
        yield Case(f"cnf is {name}", token, "token-malformed", shown=certificate())


def transactions(claims: dict[str, Any], now: int) -> Iterator[Case]:
    def having(sign: Sign = OWN, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        members = changed(claims, changes)
        return by_hand(members, sign=sign, kind=Kind.TRANSACTION, **(header or {}))

    whole = having()
    head, _, signature = whole.split(".")
    other = encoded(written(claims | {"sub": "customer-1"}))
    past = now - 600
    for name, token, suffix in (
        ("an access token", access_token(), "type"),
        ("typ is absent", having(header={"typ": ABSENT}), "type"),
        ("typ is 'JWT'", having(header={"typ": "JWT"}), "type"),
        ("alg none", having(always(b""), {"alg": "none"}), "algorithm"),
        ("a thief's key with the own kid", having(THIEF), "signature"),
        ("another subject than signed", f"{head}.{other}.{signature}", "signature"),
        ("signature in DER", having(es256_der(signing_key())), "signature"),
        ("a partner's key", having(PARTNERS, {"kid": kid("partner")}), "key"),
        (
            "header has jwk",
            having(header={"jwk": public_jwk(signing_key().public_key())}),
            "malformed",
        ),
        (
            "sub is there twice",
            by_hand(written(claims)[:-1] + b',"sub":"me"}', kind=Kind.TRANSACTION),
            "malformed",
        ),
        ("iss is the partner's", having(iss=ISSUERS[PARTNER]), "issuer"),
        ("aud is the partner's", having(aud=PARTNER), "audience"),
        ("aud is absent", having(aud=ABSENT), "audience"),
        ("aud is an array", having(aud=[DOMAIN]), "audience"),
        ("aud is two, one of them ours", having(aud=[DOMAIN, PARTNER]), "audience"),
        ("aud is a service's", having(aud=PAYMENTS), "audience"),
        ("expired 5 min ago", having(iat=past, exp=now - 300), "expired"),
        ("a clock 5 min ahead", having(iat=now + 300, exp=now + 600), "not-yet-valid"),
        ("of an hour", having(exp=now + 3600), "lifetime"),
        ("exp is absent", having(exp=ABSENT), "malformed"),
        ("txn is absent", having(txn=ABSENT), "malformed"),
        ("txn is a word", having(txn="4711"), "malformed"),
        ("sub is absent", having(sub=ABSENT), "malformed"),
        ("sub has a line break", having(sub="customer\n-1"), "malformed"),
        ("req_wl is absent", having(req_wl=ABSENT), "malformed"),
        ("req_wl is of the partner", having(req_wl=PARTNERS_CLIENT), "malformed"),
        ("scope is absent", having(scope=ABSENT), "malformed"),
        ("tctx is absent", having(tctx=ABSENT), "malformed"),
        ("tctx has an object", having(tctx={"tenant": {"id": "acme"}}), "malformed"),
    ):
        yield Case(f"txn, {name}", token, f"transaction-{suffix}", Kind.TRANSACTION)
    yield Case("a transaction token", whole, "token-type")
