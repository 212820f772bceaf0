"""ServiceAccount tokens: which signatures are those of a cluster. PyJWT makes the tokens."""

import hmac
import json
from typing import Any

import pytest

from tests.pki.account_tokens import CLUSTER, discovery, jwk_set, signed
from troth.pki.encodings import base64url
from troth.pki.tokens.service_account import (
    MAX_KEYS,
    ClusterKeys,
    parse_account_token,
    read_cluster_keys,
)

CLAIMS = {"iss": CLUSTER, "sub": "system:serviceaccount:shop:checkout"}
ALGORITHMS = ["RS256", "ES256", "ES384", "ES512"]


def cluster(algorithm: str = "RS256") -> ClusterKeys:
    return read_cluster_keys(discovery(), jwk_set("current", "next", algorithm=algorithm))


def encoded(header: Any, claims: Any, signature: bytes) -> str:
    parts = (json.dumps(part).encode() for part in (header, claims))
    return ".".join(map(base64url.encode, (*parts, signature)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_token_of_every_published_key_is_signed_by_the_cluster(algorithm: str) -> None:
    known = cluster(algorithm)
    assert known.issuer == CLUSTER
    for key in ("current", "next"):
        token = parse_account_token(signed(CLAIMS, key, algorithm=algorithm))
        assert token.claims == CLAIMS
        assert token.is_signed_by(known)
        for other in ALGORITHMS:
            if other != algorithm:
                assert not token.is_signed_by(cluster(other))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_forged_token_is_not_signed_by_the_cluster(algorithm: str) -> None:
    known = cluster(algorithm)
    good = signed(CLAIMS, algorithm=algorithm)
    head, claims, signature = good.split(".")
    raw = base64url.decode(signature)
    forged = [
        signed(CLAIMS, "another", algorithm=algorithm),
        signed(CLAIMS, "another", "current", algorithm),
        f"{head}.{claims}.",
        *(f"{head}.{claims}.{base64url.encode(each)}" for each in (raw[:-1], raw + b"\0", b"\0")),
        f"{head}.{claims}.{base64url.encode(bytes(len(raw)))}",
        f"{head}.{base64url.encode(json.dumps(CLAIMS | {'sub': 'x'}).encode())}.{signature}",
        *(
            encoded({"alg": name, "kid": "current"}, CLAIMS, raw)
            for name in ("none", "HS256", "RS512", "PS256", "", algorithm.lower())
        ),
    ]
    for token in forged:
        assert not parse_account_token(token).is_signed_by(known), token


def test_public_key_is_never_a_shared_secret() -> None:
    secret = json.dumps(jwk_set("current")["keys"][0]).encode()
    text, _, _ = encoded({"alg": "HS256", "kid": "current"}, CLAIMS, b"").rpartition(".")
    token = f"{text}.{base64url.encode(hmac.digest(secret, text.encode(), 'sha256'))}"
    assert not parse_account_token(token).is_signed_by(cluster())


@pytest.mark.parametrize(
    "header",
    [
        *("RS256", [], {}, {"alg": "RS256"}, {"kid": "current"}),
        {"alg": "RS256", "kid": 1},
        {"alg": ["RS256"], "kid": "current"},
        {"alg": "RS256", "kid": "current", "crit": ["b64"], "b64": False},
    ],
)
def test_token_of_another_form_is_malformed(header: Any) -> None:
    with pytest.raises(ValueError, match=r"JWT|base64url|JSON"):
        parse_account_token(encoded(header, CLAIMS, b"x"))


@pytest.mark.parametrize(
    "token",
    [
        *("", "a", "a.b", "a.b.c", "a.b.c.d", "é.b.c", signed(CLAIMS) + "=", signed(CLAIMS) + "\n"),
        encoded({"alg": "RS256", "kid": "current"}, "claims", b"x"),
    ],
)
def test_text_that_is_no_token_is_malformed(token: str) -> None:
    with pytest.raises(ValueError, match=r"JWT|base64url|JSON"):
        parse_account_token(token)


def test_keys_that_verify_no_account_tokens_are_left_out() -> None:
    (good,) = jwk_set("current")["keys"]
    (curve,) = jwk_set("current", algorithm="ES256")["keys"]
    others = [
        *("key", None, {}, {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"}),
        good | {"kid": None},
        good | {"kid": "b", "alg": "PS256"},
        good | {"kid": "c", "n": "AQ"},
        good | {"kid": "d", "n": "?"},
        good | {"kid": "e", "e": base64url.encode(b"\1" + bytes(200) + b"\1")},
        good | {"kid": "f", "e": "Ag"},
        curve | {"kid": "g", "crv": "secp256k1"},
        curve | {"kid": "h", "x": curve["y"]},
    ]
    known = read_cluster_keys(discovery(), {"keys": [*others, good]})
    assert set(known.keys) == {"current"}


def test_documents_without_issuer_or_usable_key_are_rejected() -> None:
    good = jwk_set("current")
    for about, keys in (
        ({}, good),
        ({"issuer": ""}, good),
        ({"issuer": 1}, good),
        (discovery(), {}),
        (discovery(), {"keys": {}}),
        (discovery(), {"keys": []}),
        (discovery(), {"keys": [good] * (MAX_KEYS + 1)}),
    ):
        with pytest.raises(ValueError, match=r"document|JWK set"):
            read_cluster_keys(about, keys)


def test_nothing_shows_a_token_or_its_claims() -> None:
    text = signed(CLAIMS)
    shown = repr(parse_account_token(text))
    assert text.split(".")[2][:20] not in shown
    assert "checkout" not in shown
