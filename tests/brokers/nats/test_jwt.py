"""NATS JWTs and keys have one form; any other input is rejected."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.brokers.nats.jwt import (
    MAX_JWT,
    Key,
    Kind,
    creds_file,
    decode,
    encode,
    issue_user,
    raw_public_key,
    read_creds,
)
from troth.pki.encodings import base64url

OPERATOR = Key.generate(Kind.OPERATOR)
ACCOUNT = Key.generate(Kind.ACCOUNT)
CLAIMS = {"name": "shop é", "sub": ACCOUNT.public, "nats": {"b": [1, {"a": None}], "a": True}}


def part(value: Any) -> str:
    return base64url.encode(json.dumps(value).encode())


def signed(header: Any, claims: Any, key: Key = OPERATOR) -> str:
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{base64url.encode(key.sign(text.encode()))}"


def test_decoded_claims_keep_their_order() -> None:
    claims = decode(encode(CLAIMS, OPERATOR, 7), Kind.OPERATOR)
    assert (claims["iss"], claims["iat"]) == (OPERATOR.public, 7)
    rest = {member: claims[member] for member in CLAIMS}
    assert json.dumps(rest) == json.dumps(CLAIMS)


def test_two_accounts_of_one_second_have_different_ids() -> None:
    one = decode(encode(CLAIMS, OPERATOR, 7), Kind.OPERATOR)
    other = decode(encode({**CLAIMS, "nats": {}}, OPERATOR, 7), Kind.OPERATOR)
    assert one["jti"] != other["jti"]


GOOD = {"typ": "JWT", "alg": "ed25519-nkey"}
BODY = {**CLAIMS, "iss": OPERATOR.public}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        signed({**GOOD, "alg": "none"}, BODY),
        signed({**GOOD, "alg": "ed25519"}, BODY),
        signed({**GOOD, "jwk": {}}, BODY),
        signed(GOOD, {**BODY, "iss": ACCOUNT.public}, ACCOUNT),
        signed(GOOD, BODY, Key.generate(Kind.OPERATOR)),
        signed(GOOD, {**BODY, "iss": 7}),
        signed(GOOD, CLAIMS),
        signed(GOOD, [BODY]),
        signed(GOOD, BODY) + ".x",
        signed(GOOD, BODY) + "=",
        signed(GOOD, BODY)[:-2],
        " " + signed(GOOD, BODY),
        "é" + signed(GOOD, BODY),
        "x" * (MAX_JWT + 1),
    ],
    ids=lambda _: "token",  # their keys differ in every process
)
def test_jwt_of_any_other_form_is_rejected(token: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - each has its own message
        decode(token, Kind.OPERATOR)
    assert len(str(refused.value)) < 100


def test_duplicate_member_is_rejected() -> None:
    body = json.dumps(BODY).replace('"iss"', '"iss": "x", "iss"')
    text = f"{part(GOOD)}.{base64url.encode(body.encode())}"
    with pytest.raises(ValueError, match="ambiguous"):
        decode(f"{text}.{base64url.encode(OPERATOR.sign(text.encode()))}", Kind.OPERATOR)


@given(st.integers(0, 55), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_key_with_one_wrong_letter_is_rejected(place: int, letter: str) -> None:
    wrong = ACCOUNT.public[:place] + letter + ACCOUNT.public[place + 1 :]
    if wrong != ACCOUNT.public:
        with pytest.raises(ValueError, match="not the public key"):
            raw_public_key(wrong, Kind.ACCOUNT)


@given(st.integers(2, 57), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_seed_with_one_wrong_letter_is_rejected(place: int, letter: str) -> None:
    seed = ACCOUNT.seed.decode()
    wrong = seed[:place] + letter + seed[place + 1 :]
    if wrong != seed:
        with pytest.raises(ValueError, match="seed") as refused:
            Key.of(wrong.encode())
        assert wrong not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["", "A", "é", ACCOUNT.public.lower(), ACCOUNT.public + "A" * 8],
    ids=lambda _: "text",
)
def test_malformed_base32_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="not the public key"):
        raw_public_key(text, Kind.ACCOUNT)


def test_key_of_another_kind_is_rejected() -> None:
    assert len(raw_public_key(OPERATOR.public, Kind.OPERATOR)) == 32
    with pytest.raises(ValueError, match="of a NATS account"):
        raw_public_key(OPERATOR.public, Kind.ACCOUNT)


def test_issued_user_has_no_permissions_of_its_own() -> None:
    issued = issue_user("shop.checkout", ACCOUNT.public, 7)
    creds = read_creds(issued.creds)
    claims, key = creds.claims, creds.key
    assert (claims["iss"], claims["sub"]) == (issued.material, key.public)
    assert claims["nats"] == {
        "pub": {},
        "sub": {},
        "issuer_account": ACCOUNT.public,
        "type": "user",
        "version": 2,
    }
    assert key.seed.decode() not in repr(issued)
    assert issue_user("shop.checkout", ACCOUNT.public, 7).material != issued.material


def test_creds_may_have_any_line_ends_and_must_match_their_key() -> None:
    creds = issue_user("shop", ACCOUNT.public, 7).creds
    assert read_creds(creds.replace("\n", "\r\n")) == read_creds(creds)
    token, key = read_creds(creds).token, read_creds(creds).key
    for wrong in ("", creds[:300], creds_file(token, Key.generate(Kind.USER)), token):
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - each has its own message
            read_creds(wrong)
        assert key.seed.decode() not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "-" * 60_000,
        "-" * 500 + "\n" + "-" * 500,
        ("-" * 500 + "\n") * 100,
        "---\na\n---\n" * 5_000,
        "\n" * 60_000,
        ("---" + "x" * 100 + "---\nx\n") * 500,
        "x" * 100_000_000,
    ],
    ids=lambda _: "text",
)
def test_malformed_creds_file_is_rejected_at_once(text: str) -> None:
    """With a regular expression, five hundred dashes blocked the operator for minutes."""
    with pytest.raises(ValueError, match=r"not a NATS \.creds file"):
        read_creds(text)


def test_public_key_is_base32_without_padding() -> None:
    assert base64.b32encode(base64.b32decode(ACCOUNT.public)).decode() == ACCOUNT.public
