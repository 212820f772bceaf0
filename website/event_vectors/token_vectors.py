"""Vectors of the evidence TransactionToken."""

import hmac
import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from website.event_vectors import scene
from website.event_vectors.events import Vector, event, vector
from website.event_vectors.keys import p256
from website.event_vectors.scene import (
    DOMAIN,
    EVENT_TIME,
    GATEWAY,
    ISSUER,
    PARTNER,
    PARTNER_ISSUER,
    PARTNER_TOKEN_KEY,
    TOKEN_KEY,
    base64url,
    kid,
)

ACCEPTED, INVALID = "Accepted", "TransactionTokenInvalid"
TRANSACTION = "00000000-0000-0000-0000-000000000007"
CONTEXT = {"authid": "customer-42", "trothtenant": "acme", "trothtxn": TRANSACTION}
ENTRY = {"context": {"require": ["Actor", "Subject"], "evidence": "TransactionToken"}}
HEADER = {"alg": "ES256", "kid": kid(TOKEN_KEY), "typ": "txntoken+jwt"}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": DOMAIN,
    "sub": "customer-42",
    "txn": TRANSACTION,
    "tctx": {"tenant": "acme"},
    "rctx": {},
    "req_wl": GATEWAY,
    "scope": "orders.place",
    "iat": EVENT_TIME - 60,
    "exp": EVENT_TIME + 240,
}


def token(
    header: Mapping[str, Any] | None = None,
    key: ec.EllipticCurvePrivateKey = TOKEN_KEY,
    text: str | None = None,
    **claims: Any,  # noqa: ANN401 - JSON is anything
) -> str:
    """Return a transaction token; None removes a claim. `text` replaces the claims as JSON."""
    mixed = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    members = {name: v for name, v in (HEADER | dict(header or {})).items() if v is not None}
    signed = f"{_part(members)}.{base64url(text.encode()) if text else _part(mixed)}"
    return f"{signed}.{base64url(_signature(key, signed.encode()))}"


def vectors() -> Iterator[Vector]:
    """Yield them all."""
    rule = "the token's subject, tenant and transaction are the event's"
    yield _of("valid", rule, ACCEPTED, token())
    yield vector(
        "token-nats", rule, ACCEPTED, event(**CONTEXT, trothtxntoken=token()), binding="NATS",
        entry=ENTRY,
    )  # fmt: skip
    yield vector("token-missing", rule, INVALID, event(**CONTEXT), entry=ENTRY)
    yield vector(
        "token-unused", "with the evidence Producer, the token is not read", ACCEPTED,
        event(**CONTEXT, trothtxntoken="a.b.c"),
    )  # fmt: skip
    others = {"authid": "customer-43", "trothtenant": "globex", "trothtxn": TRANSACTION[:-1] + "8"}
    for name, value in others.items():
        yield _of(f"other-{name}", rule, INVALID, token(), **{name: value})
    for name in ("trothtenant", "trothtxn"):
        yield _of(f"without-{name}", rule, INVALID, token(), **{name: None})
    alone = {"trothtenant": None}
    yield _of("no-tenant-in-both", rule, ACCEPTED, token(tctx={}), **alone)
    yield _of("no-tenant-in-token", rule, INVALID, token(tctx={}))
    yield _of("tenant-in-rctx", rule, INVALID, token(tctx={}, rctx={"tenant": "acme"}))
    yield from _issuers()
    yield from _times()
    yield from _forms()


def _of(name: str, rule: str, verdict: str, text: str, **changed: str | None) -> Vector:
    sent = event(**{**CONTEXT, "trothtxntoken": text, **changed})
    return vector(f"token-{name}", rule, verdict, sent, entry=ENTRY)


def _issuers() -> Iterator[Vector]:
    rule = "the token is of the own trust domain's issuer"
    yield _of("other-issuer", rule, INVALID, token(iss=PARTNER_ISSUER))
    yield _of("other-audience", rule, INVALID, token(aud=PARTNER))
    yield _of("audience-in-list", rule, INVALID, token(aud=[DOMAIN]))
    yield _of("unknown-key", rule, INVALID, token({"kid": "other"}))
    yield _of("other-key", rule, INVALID, token(key=p256("another")))
    partner = token(
        {"kid": kid(PARTNER_TOKEN_KEY)}, PARTNER_TOKEN_KEY, iss=PARTNER_ISSUER, aud=PARTNER
    )
    yield _of("of-a-partner", rule, INVALID, partner)
    yield _of(
        "key-of-a-partner", rule, INVALID, token({"kid": kid(PARTNER_TOKEN_KEY)}, PARTNER_TOKEN_KEY)
    )


def _times() -> Iterator[Vector]:
    rule = "the token is valid at the time of the event, with 60 seconds for clocks"
    for name, changed, verdict in (
        ("begins-60-s-later", {"iat": EVENT_TIME + 60}, ACCEPTED),
        ("begins-61-s-later", {"iat": EVENT_TIME + 61}, INVALID),
        ("ended-59-s-before", {"iat": EVENT_TIME - 359, "exp": EVENT_TIME - 59}, ACCEPTED),
        ("ended-60-s-before", {"iat": EVENT_TIME - 360, "exp": EVENT_TIME - 60}, INVALID),
        ("of-15-minutes", {"iat": EVENT_TIME, "exp": EVENT_TIME + 900}, ACCEPTED),
        ("of-901-s", {"iat": EVENT_TIME, "exp": EVENT_TIME + 901}, INVALID),
        ("of-0-s", {"iat": EVENT_TIME, "exp": EVENT_TIME}, INVALID),
        ("nbf-60-s-later", {"nbf": EVENT_TIME + 60}, ACCEPTED),
        ("nbf-61-s-later", {"nbf": EVENT_TIME + 61}, INVALID),
        ("fraction", {"exp": EVENT_TIME + 240.5}, INVALID),
        ("time-in-text", {"exp": str(EVENT_TIME + 240)}, INVALID),
        ("without-exp", {"exp": None}, INVALID),
        ("without-iat", {"iat": None}, INVALID),
    ):
        yield _of(name, rule, verdict, token(**changed))
    retirement = "a retired key verifies tokens of events until 300 seconds after its retirement"
    for name, retired, verdict in (
        ("long-before", EVENT_TIME + 86400, ACCEPTED),
        ("at-the-retirement", EVENT_TIME, ACCEPTED),
        ("300-s-after", EVENT_TIME - 300, ACCEPTED),
        ("301-s-after", EVENT_TIME - 301, INVALID),
        ("long-after", EVENT_TIME - 86400, INVALID),
    ):
        yield vector(
            f"token-of-retired-key-{name}", retirement, verdict,
            event(**CONTEXT, trothtxntoken=token()), entry=ENTRY,
            bundles=scene.bundle_map(retired={TOKEN_KEY: retired}),
        )  # fmt: skip
    later = EVENT_TIME + 86400
    yield vector(
        "token-expired-since", "the token is verified at the time of the event", ACCEPTED,
        event(**CONTEXT, trothtxntoken=token()), entry=ENTRY, now=later,
    )  # fmt: skip


def _forms() -> Iterator[Vector]:
    rule = "the token has the form of a transaction token"
    text = token()
    signed = text.rpartition(".")[0]
    none = token({"alg": "none"}).rpartition(".")[0]
    secret = f"{_part(HEADER | {'alg': 'HS256'})}.{_part(CLAIMS)}"
    public = b"".join(
        each.to_bytes(32)
        for each in (
            TOKEN_KEY.public_key().public_numbers().x,
            TOKEN_KEY.public_key().public_numbers().y,
        )
    )
    by_secret = base64url(hmac.digest(public, secret.encode(), sha256))
    repeated = json.dumps(CLAIMS)[:-1] + ',"sub":"customer-42"}'
    x, y = (base64url(each) for each in (public[:32], public[32:]))
    texts = {
        "no-token": "token",
        "alg-none": f"{none}.",
        "alg-hs256": f"{secret}.{by_secret}",
        "alg-lower-case": token({"alg": "es256"}),
        "typ-jwt": token({"typ": "JWT"}),
        "without-typ": token({"typ": None}),
        "without-kid": token({"kid": None}),
        "jwk": token({"jwk": {"kty": "EC", "crv": "P-256", "x": x, "y": y}}),
        "jku": token({"jku": "https://keys.example/"}),
        "crit": token({"crit": ["exp"]}),
        "cty": token({"cty": "JWT"}),
        "signature-der": f"{signed}.{base64url(_der(TOKEN_KEY, signed.encode()))}",
        "signature-padded": f"{text}==",
        "signature-cut": text[:-4],
        "signature-trailing-bits": text[:-1] + chr(ord(text[-1]) + 1),
        "four-parts": f"{text}.x",
        "repeated-claim": token(text=repeated),
        "claims-no-object": token(text="[]"),
        "without-sub": token(sub=None),
        "sub-of-257-characters": token(sub="x" * 257),
        "sub-with-line-break": token(sub="a\nb"),
        "without-txn": token(txn=None),
        "txn-no-uuid": token(txn="t-1"),
        "txn-in-capitals": token(txn="0000000A-0000-0000-0000-000000000007"),
        "without-tctx": token(tctx=None),
        "tctx-with-number": token(tctx={"tenant": "acme", "level": 1}),
        "rctx-with-number": token(rctx={"level": 1}),
        "without-req-wl": token(req_wl=None),
        "req-wl-of-a-partner": token(req_wl=scene.ABROAD),
        "req-wl-no-spiffe-id": token(req_wl="gateway"),
        "req-wl-of-nine": token(req_wl=",".join([GATEWAY] * 9)),
        "without-scope": token(scope=None),
        "scope-two-spaces": token(scope="a  b"),
    }
    for name, each in texts.items():
        changed = {"trothtxn": "t-1"} if name == "txn-no-uuid" else {}
        yield _of(name, rule, INVALID, each, **changed)
    valid = {
        "req-wl-of-eight": token(req_wl=",".join([GATEWAY] * 8)),
        "no-scopes": token(scope=""),
        "two-scopes": token(scope="a b"),
        "without-rctx": token(rctx=None),
        "more-context": token(tctx={"tenant": "acme", "channel": "web"}),
        "more-claims": token(more=[1]),
    }
    for name, each in valid.items():
        yield _of(name, rule, ACCEPTED, each)


def _part(members: Mapping[str, Any]) -> str:
    return base64url(json.dumps(members, separators=(",", ":")).encode())


def _der(key: ec.EllipticCurvePrivateKey, signed: bytes) -> bytes:
    return key.sign(signed, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def _signature(key: ec.EllipticCurvePrivateKey, signed: bytes) -> bytes:
    return b"".join(each.to_bytes(32) for each in decode_dss_signature(_der(key, signed)))
