"""Grants: nothing beyond the view, for any request."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.issuer.builders import CHECKOUT, DOMAIN, LEDGER, PAYMENTS, VIEW, without_edge
from troth.documents.token_grants import TokenGrants
from troth.issuer import grants
from troth.issuer.errors import Code, OAuthError
from troth.issuer.grants import MOST_REQUESTERS, Proof
from troth.issuer.token_request import (
    AccessRequest,
    TransactionReplacement,
    TransactionStart,
    read_request,
)
from troth.pki.tokens.checks import TransactionToken

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KNOWN = TokenGrants.model_validate_json(json.dumps(VIEW))
TYPE = "urn:ietf:params:oauth:token-type:"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TXN = f"{TYPE}txn_token"
START = {
    "grant_type": EXCHANGE,
    "requested_token_type": TXN,
    "audience": DOMAIN,
    "scope": "orders.place",
    "subject_token_type": f"{TYPE}unsigned_json",
    "subject_token": '{"sub": "ann"}',
}


def known(document: dict[str, Any]) -> TokenGrants:
    return TokenGrants.model_validate_json(json.dumps(document))


def refusal(parameters: dict[str, str]) -> tuple[str, str]:
    with pytest.raises(OAuthError) as caught:
        read_request(parameters)
    return caught.value.code.value, caught.value.description


def denied(call: Any, *arguments: Any) -> str:
    with pytest.raises(OAuthError) as caught:
        call(*arguments)
    return caught.value.code.value


def original(**changes: Any) -> TransactionToken:
    parts: dict[str, Any] = {
        "issuer": "https://issuer.example",
        "trust_domain": DOMAIN,
        "transaction": "97053963-771d-49cc-a4e3-20aad399c312",
        "subject": "ann",
        "scopes": frozenset({"orders.place", "orders.view"}),
        "requester": CHECKOUT,
        "context": {"tenant": "acme"},
        "request": {"req_ip": "192.0.2.1"},
        "expires": (NOW + timedelta(minutes=2)).timestamp(),
        "issued": (NOW - timedelta(minutes=3)).timestamp(),
        "token": "",
    }
    return TransactionToken(**parts | changes)


# Requests


def test_audience_and_resource_are_equivalent() -> None:
    asked = {"grant_type": "client_credentials", "scope": "b a"}
    expected = AccessRequest(PAYMENTS, frozenset({"a", "b"}))
    assert read_request({**asked, "audience": PAYMENTS}) == expected
    assert read_request({**asked, "resource": PAYMENTS}) == expected


def test_account_token_is_exchanged_for_an_access_token() -> None:
    asked = {
        "grant_type": EXCHANGE,
        "subject_token_type": f"{TYPE}jwt",
        "subject_token": "a.b.c",
        "audience": PAYMENTS,
    }
    assert read_request(asked) == AccessRequest(PAYMENTS, None, "a.b.c", f"{TYPE}access_token")
    assert read_request({**asked, "requested_token_type": f"{TYPE}jwt"}) == AccessRequest(
        PAYMENTS, None, "a.b.c", f"{TYPE}jwt"
    )


def test_subject_and_context_of_a_transaction_start_are_read() -> None:
    asked = {
        **START,
        "request_details": '{"tenant": "acme", "channel": "web"}',
        "request_context": '{"req_ip": "2001:db8::1", "authn": "urn:ietf:rfc:6749"}',
    }
    assert read_request(asked) == TransactionStart(
        DOMAIN,
        frozenset({"orders.place"}),
        "ann",
        {"tenant": "acme", "channel": "web"},
        {"req_ip": "2001:db8::1", "authn": "urn:ietf:rfc:6749"},
    )


def test_unknown_parameter_is_ignored() -> None:
    asked = {"grant_type": "client_credentials", "audience": PAYMENTS, "utm_source": "x"}
    assert read_request(asked) == AccessRequest(PAYMENTS, None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type"),
        ({"refresh_token": "x"}, "invalid_request"),
        ({"client_secret": "x"}, "invalid_request"),
        ({"client_assertion": "x"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"requested_token_type": f"{TYPE}saml2"}, "invalid_request"),
        ({"requested_token_type": f"{TYPE}refresh_token"}, "invalid_request"),
        ({"audience": ""}, "invalid_target"),
        ({"resource": PAYMENTS}, "invalid_target"),
        ({"scope": ""}, "invalid_request"),
        ({"scope": "a  b"}, "invalid_scope"),
        ({"scope": 'a"b'}, "invalid_scope"),
        ({"scope": "é"}, "invalid_scope"),
        ({"subject_token": ""}, "invalid_request"),
        ({"subject_token": "ann"}, "invalid_request"),
        ({"subject_token": "{}"}, "invalid_request"),
        ({"subject_token": '{"sub": 7}'}, "invalid_request"),
        ({"subject_token": '{"sub": ""}'}, "invalid_request"),
        ({"subject_token": '{"sub": "a\\nb"}'}, "invalid_request"),
        ({"subject_token": '{"sub": "ann", "sub": "bob"}'}, "invalid_request"),
        ({"subject_token": '{"sub": "' + "a" * 257 + '"}'}, "invalid_request"),
        ({"subject_token": "[" * 8000}, "invalid_request"),
        ({"subject_token": "x" * 8193}, "invalid_request"),
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token_type": f"{TYPE}access_token"}, "invalid_request"),
        ({"subject_token_type": f"{TYPE}self_signed"}, "invalid_request"),
        ({"request_details": '{"tenant": {"name": "acme"}}'}, "invalid_request"),
        ({"request_details": '{"tenant": "a", "tenant": "b"}'}, "invalid_request"),
        ({"request_details": '{"tenant": NaN}'}, "invalid_request"),
        ({"request_details": '["tenant"]'}, "invalid_request"),
        ({"request_context": '{"req_ip": "localhost"}'}, "invalid_request"),
        ({"request_context": '{"role": "admin"}'}, "invalid_request"),
    ],
)
def test_invalid_request_is_rejected_with_its_oauth_code(
    changes: dict[str, str], code: str
) -> None:
    said, sentence = refusal({name: text for name, text in {**START, **changes}.items() if text})
    assert said == code
    assert not set(sentence) & {'"', "\\"}


def test_replacement_cannot_change_the_request_details() -> None:
    asked = {**START, "subject_token_type": TXN, "subject_token": "a.b.c"}
    assert isinstance(read_request(asked), TransactionReplacement)
    for name in ("request_details", "request_context"):
        assert refusal({**asked, name: '{"tenant": "other"}'})[0] == "invalid_request"


# Access tokens


def test_live_edge_grants_its_scopes() -> None:
    grant = grants.access(AccessRequest(PAYMENTS, None), Proof(CHECKOUT, b"der"), KNOWN)
    assert grant.scopes == {"payments.charge", "payments.refund"}
    assert grant.lifetime == timedelta(minutes=5)
    assert (grant.subject, grant.audience, grant.certificate) == (CHECKOUT, PAYMENTS, b"der")


def test_narrower_scope_is_granted_and_wider_scope_is_rejected() -> None:
    asked = AccessRequest(PAYMENTS, frozenset({"payments.charge"}))
    assert grants.access(asked, Proof(CHECKOUT), KNOWN).scopes == {"payments.charge"}
    more = AccessRequest(PAYMENTS, frozenset({"payments.charge", "payments.admin"}))
    with pytest.raises(OAuthError) as caught:
        grants.access(more, Proof(CHECKOUT), KNOWN)
    assert caught.value.code is Code.INVALID_SCOPE
    assert caught.value.description == "not granted: payments.admin"


def test_edge_that_is_not_live_gives_no_token() -> None:
    asked = AccessRequest(PAYMENTS, None)
    assert denied(grants.access, asked, Proof(LEDGER), KNOWN) == "invalid_target"
    gone = known(without_edge())
    assert denied(grants.access, asked, Proof(CHECKOUT), gone) == "invalid_target"


def test_caller_without_an_identity_gets_nothing() -> None:
    stranger = Proof(f"spiffe://{DOMAIN}/ns/shop/sa/stranger")
    asked = AccessRequest(PAYMENTS, None)
    assert denied(grants.access, asked, stranger, KNOWN) == "unauthorized_client"
    replacing = TransactionReplacement(DOMAIN, frozenset({"orders.view"}), "")
    said = denied(grants.replace, replacing, original(), stranger, KNOWN, NOW)
    assert said == "unauthorized_client"


def test_lifetime_is_at_most_that_of_the_domain() -> None:
    shorter = known({**VIEW, "maxLifetime": 30})
    grant = grants.access(AccessRequest(PAYMENTS, None), Proof(CHECKOUT), shorter)
    assert grant.lifetime == timedelta(seconds=30)


@given(st.sets(st.sampled_from(["payments.charge", "payments.refund", "a", "b"])))
def test_no_request_widens_a_grant(scopes: set[str]) -> None:
    granted = KNOWN.callers[CHECKOUT].audiences[PAYMENTS].scopes
    asked = AccessRequest(PAYMENTS, frozenset(scopes))
    if scopes <= granted:
        assert grants.access(asked, Proof(CHECKOUT), KNOWN).scopes == scopes
    else:
        assert denied(grants.access, asked, Proof(CHECKOUT), KNOWN) == "invalid_scope"


# Transaction tokens


def starting(**changes: Any) -> TransactionStart:
    parts: dict[str, Any] = {
        "audience": DOMAIN,
        "scopes": frozenset({"orders.place"}),
        "subject": "ann",
        "context": {"tenant": "acme", "channel": "web"},
        "request": {},
    }
    return TransactionStart(**parts | changes)


def test_transaction_starts_with_declared_context() -> None:
    grant = grants.start(starting(), Proof(CHECKOUT, b"der"), KNOWN, NOW)
    assert grant.transaction is None
    assert (grant.subject, grant.requester) == ("ann", CHECKOUT)
    assert grant.context == {"tenant": "acme", "channel": "web"}
    assert grant.expires == NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("changes", "who", "code"),
    [
        ({}, PAYMENTS, "unauthorized_client"),
        ({"audience": PAYMENTS}, CHECKOUT, "invalid_target"),
        ({"audience": "other.example"}, CHECKOUT, "invalid_target"),
        ({"scopes": frozenset({"orders.place", "orders.cancel"})}, CHECKOUT, "invalid_scope"),
        ({"context": {"role": "admin"}}, CHECKOUT, "invalid_request"),
    ],
)
def test_undeclared_transaction_start_is_rejected(
    changes: dict[str, Any], who: str, code: str
) -> None:
    assert denied(grants.start, starting(**changes), Proof(who, b"der"), KNOWN, NOW) == code


def test_replacement_has_less_scope_and_is_otherwise_unchanged() -> None:
    asked = TransactionReplacement(DOMAIN, frozenset({"orders.view"}), "")
    before = original()
    grant = grants.replace(asked, before, Proof(PAYMENTS, b"der"), KNOWN, NOW)
    assert grant.scopes == {"orders.view"}
    assert grant.requester == f"{CHECKOUT},{PAYMENTS}"
    assert grant.transaction == before.transaction
    assert (grant.subject, grant.context, grant.request) == (
        before.subject,
        before.context,
        before.request,
    )
    assert grant.expires == datetime.fromtimestamp(before.expires, UTC)


@pytest.mark.parametrize(
    ("changes", "scope", "code"),
    [
        ({}, "orders.cancel", "invalid_scope"),
        ({"expires": NOW.timestamp()}, "orders.view", "invalid_grant"),
        ({"expires": NOW.timestamp() - 30}, "orders.view", "invalid_grant"),
        ({"requester": ",".join([CHECKOUT] * MOST_REQUESTERS)}, "orders.view", "invalid_grant"),
    ],
)
def test_replacement_is_never_wider_later_or_endless(
    changes: dict[str, Any], scope: str, code: str
) -> None:
    asked = TransactionReplacement(DOMAIN, frozenset({scope}), "")
    said = denied(grants.replace, asked, original(**changes), Proof(PAYMENTS, b"d"), KNOWN, NOW)
    assert said == code


def test_replacement_is_for_the_same_trust_domain() -> None:
    asked = TransactionReplacement("other.example", frozenset({"orders.view"}), "")
    said = denied(grants.replace, asked, original(), Proof(PAYMENTS, b"der"), KNOWN, NOW)
    assert said == "invalid_target"
