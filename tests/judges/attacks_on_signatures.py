"""Tokens whose signature, key or header differs from Troth's."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.judges.forging import ORDER, always, compact, es256_der, hs256, numbers, rs256, written
from tests.judges.token_cases import ABSENT, HEADERS, OWN, PARTNERS, THIEF, Case, by_hand
from tests.judges.token_world import PARTNERS_CLIENT, Kind, certificate, kid, signing_key
from tests.pki.builders import key
from troth.pki.keys.jwk import public_jwk
from troth.resources.algorithms import KeyAlgorithm


def signatures(claims: dict[str, Any]) -> Iterator[Case]:
    spki = signing_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for alg in ("none", "None", "nOnE", ""):
        token = by_hand(claims, sign=always(b""), alg=alg)
        yield Case(f"alg {alg!r}, no signature", token, "token-algorithm")
    for name, secret in {
        "its PEM": spki,
        "its kid": kid().encode(),
        "nothing": b"",
    }.items():
        token = by_hand(claims, sign=hs256(secret), alg="HS256")
        yield Case(f"HS256, the secret is {name}", token, "token-algorithm")
    yield Case(
        "RS256, a thief's RSA key",
        by_hand(claims, sign=rs256(_rsa()), alg="RS256"),
        "token-algorithm",
    )
    yield Case("ES384 over ES256's signature", by_hand(claims, alg="ES384"), "token-algorithm")
    yield Case("alg is absent", by_hand(claims, alg=ABSENT), "token-algorithm")
    yield Case("alg is 'es256'", by_hand(claims, alg="es256"), "token-algorithm")
    for name, sign in {
        "signature of zeros": always(bytes(64)),
        "signature of the group's order": always(numbers(ORDER, ORDER)),
        "signature in DER": es256_der(signing_key()),
        "signature without its last byte": lambda signed: OWN(signed)[:-1],
        "signature with a zero more": lambda signed: OWN(signed) + b"\0",
        "signature with zeros before each half": _stretched,
        "no signature": always(b""),
        "signature of other claims": always(OWN(b"other claims")),
    }.items():
        yield Case(name, by_hand(claims, sign=sign), "token-signature")


def _stretched(signed: bytes) -> bytes:
    signature = OWN(signed)
    return b"".join(bytes(16) + half for half in (signature[:32], signature[32:]))


@cache
def _rsa() -> rsa.RSAPrivateKey:
    made = key(KeyAlgorithm.RSA_2048, "thief")
    assert isinstance(made, rsa.RSAPrivateKey)
    return made


def headers(claims: dict[str, Any]) -> Iterator[Case]:
    for typ in ("txntoken+jwt", "at+jwt", "jwt", "JOSE", "application/jwt", ABSENT, ["JWT"]):
        name = "absent" if typ is ABSENT else repr(typ)
        yield Case(f"typ is {name}", by_hand(claims, typ=typ), "token-type")
    thief = public_jwk(signing_key("thief").public_key())
    address = "https://thief.example/keys"
    for whose, sign in (("thief", THIEF), ("own", OWN)):
        members: dict[str, Any] = {
            "jwk": thief if whose == "thief" else public_jwk(signing_key().public_key()),
            "jku": address,
            "x5u": address,
            "x5c": [b64encode(certificate("thief")).decode()],
            "crit": ["exp"],
            "b64": False,
            "zip": "DEF",
            "cty": "JWT",
        }
        for name, value in members.items():
            token = by_hand(claims, sign=sign, **{name: value})
            yield Case(f"header has {name}, signed by the {whose} key", token, "token-malformed")
    yield Case(
        "header has jwk and its kid, signed by the thief key",
        by_hand(claims, sign=THIEF, jwk=thief, kid=thief["kid"]),
        "token-malformed",
    )
    twice = written(HEADERS[Kind.ACCESS])[:-1] + b',"alg":"ES256"}'
    yield Case("header has alg twice", compact(twice, claims, OWN), "token-malformed")


def keys(claims: dict[str, Any]) -> Iterator[Case]:
    yield Case("a thief's key with the own kid", by_hand(claims, sign=THIEF), "token-signature")
    yield Case("an unpublished key", by_hand(claims, sign=THIEF, kid=kid("thief")), "token-key")
    yield Case("another key's kid", by_hand(claims, kid=kid("next")), "token-signature")
    yield Case(
        "a partner's key for an own subject",
        by_hand(claims, sign=PARTNERS, kid=kid("partner")),
        "token-key",
    )
    partners = claims | {"sub": PARTNERS_CLIENT, "client_id": PARTNERS_CLIENT}
    yield Case("the own key for a partner's subject", by_hand(partners), "token-key")
    strangers = "spiffe://stranger.example/ns/shop/sa/checkout"
    yield Case(
        "a subject of a stranger's domain",
        by_hand(claims | {"sub": strangers, "client_id": strangers}),
        "token-key",
    )
    for name, value in {
        "a path": "../../../../dev/null",
        "SQL": "' OR 1=1 --",
        "empty": "",
        "spelled with padding": f"{kid()}=",
    }.items():
        yield Case(f"kid is {name}", by_hand(claims, kid=value), "token-key")
    for name, odd in {"absent": ABSENT, "an array": [kid()], "a number": 1}.items():
        yield Case(f"kid is {name}", by_hand(claims, kid=odd), "token-malformed")
