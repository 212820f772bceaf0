"""Tokens have exactly the requested content, and other JOSE libraries verify them."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc import jwt as jose_jwt
from joserfc.jwk import ECKey, KeySet

from tests.pki.forged_tokens import (
    BUNDLES,
    CERTIFICATE,
    CHECKOUT,
    CLAIMS,
    DOMAIN,
    HEADER,
    ISSUER,
    ISSUERS,
    KEY,
    KID,
    MOMENT,
    NOW,
    PAYMENTS,
    TRANSACTION,
    TRANSACTION_CLAIMS,
    access_token,
    forged,
    part,
    raw_signature,
    transaction_token,
)
from troth.pki.errors import IssuingError, KeyMaterialError
from troth.pki.keys.jwk import public_jwk
from troth.pki.tokens.checks import (
    AccessToken,
    TokenError,
    TransactionToken,
    verify_access_token,
    verify_transaction_token,
)
from troth.pki.tokens.signing import TokenSigner, certificate_thumbprint

PUBLIC = KEY.public_key()


def verified(token: str) -> AccessToken:
    return verify_access_token(
        token, bundles=BUNDLES, issuers=ISSUERS, audience=PAYMENTS, now=MOMENT
    )


def verified_transaction(token: str) -> TransactionToken:
    return verify_transaction_token(token, bundle=BUNDLES[DOMAIN], issuer=ISSUER, now=MOMENT)


def test_access_token_survives_a_round_trip() -> None:
    token = access_token(scopes=["b", "a", "b"], certificate=CERTIFICATE)
    assert verified(token) == AccessToken(
        issuer=ISSUER,
        subject=CHECKOUT,
        audience=PAYMENTS,
        scopes=frozenset({"a", "b"}),
        expires=MOMENT + 300,
        issued=MOMENT,
        token_id="a-token",
        thumbprint=certificate_thumbprint(CERTIFICATE),
    )


def test_transaction_token_survives_a_round_trip() -> None:
    token = transaction_token()
    assert verified_transaction(token) == TransactionToken(
        issuer=ISSUER,
        trust_domain=DOMAIN,
        transaction=TRANSACTION,
        subject="customer-42",
        scopes=frozenset({"orders.place"}),
        requester=CHECKOUT,
        context={"tenant": "blue"},
        request={"req_ip": "203.0.113.9"},
        expires=MOMENT + 300,
        issued=MOMENT,
        token=token,
    )


def test_access_token_has_exactly_the_documented_header_and_claims() -> None:
    token = access_token(scopes=["payments.refund", "payments.charge"])
    assert jwt.get_unverified_header(token) == HEADER
    assert jwt.decode(token, options={"verify_signature": False}) == CLAIMS
    bound = jwt.decode(access_token(certificate=CERTIFICATE), options={"verify_signature": False})
    assert bound["cnf"] == {"x5t#S256": certificate_thumbprint(CERTIFICATE)}


def test_transaction_token_without_request_context_has_no_rctx() -> None:
    claims = jwt.decode(transaction_token(request={}), options={"verify_signature": False})
    assert claims == TRANSACTION_CLAIMS
    assert verified_transaction(transaction_token(request={})).request == {}


def test_token_without_scopes_has_an_empty_scope_claim() -> None:
    assert verified(access_token(scopes=[])).scopes == frozenset()


def test_thumbprint_is_base64url_sha256_of_rfc_8705() -> None:
    empty = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    assert certificate_thumbprint(b"") == empty


# judges


def test_pyjwt_verifies_access_tokens() -> None:
    token = access_token()
    claims = jwt.decode(
        token,
        PUBLIC,
        ["ES256"],
        audience=PAYMENTS,
        issuer=ISSUER,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert claims["sub"] == CHECKOUT


def test_joserfc_verifies_both_kinds_with_the_published_key() -> None:
    keys = KeySet([ECKey.import_key(dict(public_jwk(PUBLIC)))])
    for token in (access_token(), transaction_token()):
        read = jose_jwt.decode(token, keys, ["ES256"])
        assert read.claims["iss"] == ISSUER


def test_tokens_of_pyjwt_and_joserfc_are_verified() -> None:
    assert verified(jwt.encode(dict(CLAIMS), KEY, "ES256", headers={"kid": KID}))
    payload = jws.serialize_compact(HEADER, json.dumps(CLAIMS), ECKey(KEY, None), ["ES256"])
    assert verified(payload)
    assert verified_transaction(
        jwt.encode(
            dict(TRANSACTION_CLAIMS), KEY, "ES256", headers={"kid": KID, "typ": "txntoken+jwt"}
        )
    )


# what is not made


@pytest.mark.parametrize(
    "make",
    [
        lambda: access_token(lifetime=timedelta(minutes=15, seconds=1)),
        lambda: access_token(lifetime=timedelta(0)),
        lambda: access_token(lifetime=timedelta(milliseconds=999)),
        lambda: access_token(lifetime=timedelta(minutes=-1)),
        lambda: access_token(scopes=["two words"]),
        lambda: access_token(scopes=[""]),
        lambda: access_token(scopes=['quo"te']),
        lambda: access_token(scopes=["line\nbreak"]),
        lambda: transaction_token(expires=NOW),
        lambda: transaction_token(expires=NOW + timedelta(minutes=16)),
        lambda: transaction_token(subject=""),
        lambda: transaction_token(subject="a" * 257),
        lambda: transaction_token(context={"tenant": "line\nbreak"}),
        lambda: transaction_token(context={"": "blue"}),
        lambda: transaction_token(request={"req_ip": ""}),
    ],
)
def test_token_that_verifiers_would_reject_is_not_issued(make: Callable[[], str]) -> None:
    with pytest.raises(IssuingError):
        make()


def test_naive_time_is_rejected() -> None:
    with pytest.raises(TypeError):
        access_token(now=NOW.replace(tzinfo=None))


def test_only_p256_signs() -> None:
    with pytest.raises(KeyMaterialError):
        TokenSigner(ec.generate_private_key(ec.SECP384R1()))


def test_repr_of_the_signer_has_its_key_id_and_no_key() -> None:
    signer = TokenSigner(KEY)
    assert repr(signer) == f"TokenSigner(kid='{KID}')"
    assert f"{KEY.private_numbers().private_value:x}" not in repr(vars_of(signer))


def vars_of(signer: TokenSigner) -> list[object]:
    return [getattr(signer, name) for name in signer.__slots__]


# whatever is done to a token

GOOD, BOUND, TRANSACTING = access_token(), access_token(certificate=b"x"), transaction_token()


@given(st.sampled_from([GOOD, BOUND]), st.integers(0), st.characters())
def test_access_token_with_one_changed_character_is_rejected(
    token: str, place: int, character: str
) -> None:
    place %= len(token)
    changed = token[:place] + character + token[place + 1 :]
    if changed != token:
        with pytest.raises(TokenError):
            verified(changed)


@given(st.integers(0), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_."))
def test_transaction_token_with_one_changed_character_is_rejected(
    place: int, character: str
) -> None:
    place %= len(TRANSACTING)
    changed = TRANSACTING[:place] + character + TRANSACTING[place + 1 :]
    if changed != TRANSACTING:
        with pytest.raises(TokenError):
            verified_transaction(changed)


@given(st.integers(0), st.integers(1, 40))
def test_token_with_missing_characters_is_rejected(place: int, length: int) -> None:
    place %= len(GOOD)
    with pytest.raises(TokenError):
        verified(GOOD[:place] + GOOD[place + length :])


@given(st.text() | st.text("abcAB01-_.=", max_size=80))
def test_any_text_is_verified_or_rejected(text: str) -> None:
    with pytest.raises(TokenError):
        verified(text)
    with pytest.raises(TokenError):
        verified_transaction(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = st.sampled_from([*CLAIMS, *TRANSACTION_CLAIMS, "cnf", "tctx", "rctx", "alg", "kid", "typ"])
CHANGES = st.dictionaries(NAMES | st.text(max_size=8), JSON, max_size=3)


@given(CHANGES, CHANGES)
def test_any_signed_claims_are_verified_or_rejected(
    header: dict[str, Any], claims: dict[str, Any]
) -> None:
    """The signer may be broken or hostile; what comes out is a value or a `TokenError`."""
    with suppress(TokenError):
        read = verified(forged(HEADER | header, CLAIMS | claims))
        assert (read.issuer, read.audience) == (ISSUER, PAYMENTS)
    with suppress(TokenError):
        kind = {"typ": "txntoken+jwt"}
        moved = verified_transaction(forged(HEADER | kind | header, TRANSACTION_CLAIMS | claims))
        assert all(isinstance(value, str) for value in moved.context.values())


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_signed_bytes_as_parts_are_rejected(header: bytes, claims: bytes) -> None:
    for head in (part(HEADER), part(header)):
        signed = f"{head}.{part(claims)}"
        with pytest.raises(TokenError):
            verified(f"{signed}.{part(b''.join(raw_signature(signed)))}")
