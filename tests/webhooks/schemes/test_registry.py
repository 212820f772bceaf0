"""Registry of schemes, and the schemes that can use a key."""

import os
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.webhooks.schemes.senders import NOW, PLAIN, SENDERS, STAMP, WHPK, WHSEC, WHSEC_32
from troth.documents.webhook_endpoint import Described, Signing
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.registry import event_headers, new_secret, scheme_for, usable_for
from troth.webhooks.schemes.scheme import Scheme

TEXTS_AS_THEY_ARE = {
    SchemeName.GITHUB,
    SchemeName.BITBUCKET,
    SchemeName.GITLAB_TOKEN,
    SchemeName.SLACK,
    SchemeName.SHOPIFY,
    SchemeName.PADDLE,
    SchemeName.SQUARE,
    SchemeName.HMAC,
}
MINE = TEXTS_AS_THEY_ARE | {SchemeName.STANDARD_WEBHOOKS, SchemeName.GITLAB, SchemeName.STRIPE}
CHOSEN = {
    SchemeName.STANDARD_WEBHOOKS,
    SchemeName.GITLAB,
    SchemeName.GITLAB_TOKEN,
    SchemeName.GITHUB,
    SchemeName.BITBUCKET,
    SchemeName.HMAC,
}


def signing(name: SchemeName) -> Signing:
    description = Described(header="X-Signature") if name is SchemeName.HMAC else None
    topics = ("arn:aws:sns:eu-west-1:123456789012:shop",) if name is SchemeName.SNS else ()
    return Signing(
        name=name, url="https://hooks.shop.example/a/b", described=description, topics=topics
    )


@pytest.mark.parametrize("name", sorted(MINE))
def test_every_scheme_is_registered(name: SchemeName) -> None:
    scheme: Scheme = scheme_for(signing(name))
    assert isinstance(scheme.signs_timestamp, bool)


def test_every_scheme_with_a_sender_is_registered() -> None:
    chosen = {type(scheme_for(signing(name))) for name in MINE}
    assert {type(each.scheme) for each in SENDERS} == chosen


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (PLAIN, TEXTS_AS_THEY_ARE),
        (WHSEC, TEXTS_AS_THEY_ARE | {SchemeName.STANDARD_WEBHOOKS, SchemeName.STRIPE}),
        (WHSEC_32 + b"\n", MINE),
        (WHPK, TEXTS_AS_THEY_ARE | {SchemeName.STANDARD_WEBHOOKS}),
        ("größer als sechzehn".encode(), TEXTS_AS_THEY_ARE - {SchemeName.GITLAB_TOKEN}),
        (b"short", set()),
        (b"", set()),
        (b"\xff" * 32, set()),
    ],
)
def test_key_is_usable_for_the_schemes_that_accept_its_text(
    text: bytes, names: set[SchemeName]
) -> None:
    assert usable_for(text) & MINE == names


@given(st.binary())
def test_any_text_is_usable_for_some_schemes_or_none(text: bytes) -> None:
    assert usable_for(text) <= set(SchemeName)


@pytest.mark.parametrize("name", sorted(CHOSEN))
def test_new_secret_is_accepted_by_its_scheme(name: SchemeName) -> None:
    text = new_secret(name, os.urandom)
    assert name in usable_for(text)
    assert new_secret(name, os.urandom) != text
    scheme = scheme_for(signing(name))
    key = scheme.key("k1", text)
    sent = scheme.sign(Delivery("POST", b"/", (), b"{}"), key, STAMP)
    assert scheme.verify(sent, [key], NOW, 300).key_id == "k1"


def test_new_secret_has_256_random_bits() -> None:
    asked: list[int] = []

    def randomness(size: int) -> bytes:
        asked.append(size)
        return b"\x01" * size

    text = new_secret(SchemeName.STANDARD_WEBHOOKS, randomness)
    assert text == b"whsec_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
    assert asked == [32]


@pytest.mark.parametrize("name", sorted(set(SchemeName) - CHOSEN))
def test_secret_that_the_sender_issues_is_not_created(name: SchemeName) -> None:
    with pytest.raises(ValueError, match="sender issues"):
        new_secret(name, os.urandom)


def test_event_headers_contain_no_identity() -> None:
    assert event_headers(SchemeName.GITHUB) == {b"x-github-event"}
    assert event_headers(SchemeName.SHOPIFY) == {b"x-shopify-topic"}
    assert event_headers(SchemeName.STANDARD_WEBHOOKS) == frozenset()
    for name in SchemeName:
        for header in event_headers(name):
            assert header == header.lower()
            assert b"sign" not in header
            assert b"token" not in header


def test_hmac_without_a_description_is_rejected() -> None:
    bare = signing(SchemeName.GITHUB).model_copy(update={"name": SchemeName.HMAC})
    with pytest.raises(ValueError, match="needs a description"):
        scheme_for(bare)


def test_unknown_scheme_is_rejected() -> None:
    strange = signing(SchemeName.GITHUB).model_copy(update={"name": cast("Any", "Carrier")})
    with pytest.raises(ValueError, match="unknown scheme"):
        scheme_for(strange)
