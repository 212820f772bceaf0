"""Token endpoint: which proof gets which token, and the errors for every other request."""

import json
import operator
from collections.abc import AsyncIterator, Hashable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from tests.issuer import builders
from tests.issuer.builders import (
    CHECKOUT,
    DOMAIN,
    ISSUER,
    LEDGER,
    PAYMENTS,
    KnownAccounts,
    Wire,
    client,
    configuration,
    issuer_app,
    svid,
    without_edge,
)
from tests.pki import builders as pki
from troth.issuer.configuration import IssuerConfiguration
from troth.issuer.decisions import Decisions
from troth.issuer.endpoint import app
from troth.issuer.forms import LONGEST
from troth.issuer.service_accounts.token_review import Account
from troth.pki.encodings.pem import read_certificates
from troth.pki.tokens.checks import verify_access_token, verify_transaction_token
from troth.pki.tokens.signing import certificate_thumbprint

TYPE = "urn:ietf:params:oauth:token-type:"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
FOR_PAYMENTS = {"grant_type": "client_credentials", "audience": PAYMENTS}
BY_ACCOUNT = {
    "grant_type": EXCHANGE,
    "subject_token_type": f"{TYPE}jwt",
    "subject_token": "a.b.c",
    "audience": PAYMENTS,
}
START = {
    "grant_type": EXCHANGE,
    "requested_token_type": f"{TYPE}txn_token",
    "audience": DOMAIN,
    "scope": "orders.place orders.view",
    "subject_token_type": f"{TYPE}unsigned_json",
    "subject_token": '{"sub": "ann"}',
    "request_details": '{"tenant": "acme", "channel": "web"}',
}


async def request_token(
    application: Any, form: dict[str, str], certificate: bytes | None = None, **options: Any
) -> httpx.Response:
    async with client(application, certificate) as caller:
        return await caller.post("/token", data=form, **options)


def refusal(response: httpx.Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    assert answer.keys() == {"error", "error_description"}
    assert not set(answer["error_description"]) & {'"', "\\"}
    code: str = answer["error"]
    return code


def der(pem: bytes) -> bytes:
    return read_certificates(pem, "here")[0].public_bytes(Encoding.DER)


def verified(token: str, audience: str = PAYMENTS) -> Any:
    return verify_access_token(
        token,
        bundles={DOMAIN: configuration().verifying},
        issuers={DOMAIN: ISSUER},
        audience=audience,
        now=datetime.now(UTC).timestamp(),
    )


def transaction(token: str, current: IssuerConfiguration | None = None) -> Any:
    return verify_transaction_token(
        token,
        bundle=(current or configuration()).verifying,
        issuer=ISSUER,
        now=datetime.now(UTC).timestamp(),
    )


# Access tokens


async def test_workload_with_its_certificate_gets_a_token_bound_to_it() -> None:
    certificate = svid()
    response = await request_token(issuer_app(), FOR_PAYMENTS, certificate)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    token = answer.pop("access_token")
    assert answer == {
        "token_type": "Bearer",
        "issued_token_type": f"{TYPE}access_token",
        "expires_in": 300,
        "scope": "payments.charge payments.refund",
    }
    read = verified(token)
    assert (read.subject, read.scopes) == (CHECKOUT, {"payments.charge", "payments.refund"})
    # The same token as an independent library reads it.
    key = builders.signing_key().public_key()
    claims = jwt.decode(token, key, algorithms=["ES256"], audience=PAYMENTS, issuer=ISSUER)
    assert claims["sub"] == claims["client_id"] == CHECKOUT
    assert claims["exp"] - claims["iat"] == 300
    assert claims["cnf"] == {"x5t#S256": certificate_thumbprint(der(certificate))}


async def test_each_token_has_its_own_id() -> None:
    tokens = [
        (await request_token(issuer_app(), FOR_PAYMENTS, svid())).json()["access_token"]
        for _ in range(3)
    ]
    assert len({verified(token).token_id for token in tokens}) == 3


async def test_narrower_scope_is_granted_on_request() -> None:
    form = {**FOR_PAYMENTS, "scope": "payments.charge"}
    answer = (await request_token(issuer_app(), form, svid())).json()
    assert answer["scope"] == "payments.charge"
    assert verified(answer["access_token"]).scopes == {"payments.charge"}


@pytest.mark.parametrize(
    ("form", "who", "code"),
    [
        ({"scope": "payments.admin"}, CHECKOUT, "invalid_scope"),
        ({"audience": LEDGER}, CHECKOUT, "invalid_target"),
        ({}, PAYMENTS, "invalid_target"),
        ({}, f"spiffe://{DOMAIN}/ns/shop/sa/nobody", "unauthorized_client"),
        ({}, "spiffe://other.example/ns/shop/sa/checkout", "invalid_client"),
        ({}, None, "invalid_client"),
        ({"client_id": PAYMENTS}, CHECKOUT, "invalid_client"),
        ({"grant_type": "password"}, CHECKOUT, "unsupported_grant_type"),
        ({"client_secret": "x"}, CHECKOUT, "invalid_request"),
    ],
)
async def test_no_request_gets_more_than_the_view_grants(
    form: dict[str, str], who: str | None, code: str
) -> None:
    certificate = svid(who) if who else None
    assert refusal(await request_token(issuer_app(), {**FOR_PAYMENTS, **form}, certificate)) == code


async def test_scopes_too_long_for_a_token_are_rejected_and_a_part_is_granted() -> None:
    scopes = [f"payments.{number:0120}" for number in range(64)]
    document = builders.view()
    document["callers"][CHECKOUT]["audiences"][PAYMENTS]["scopes"] = scopes
    issuer = issuer_app(configuration(document))
    assert refusal(await request_token(issuer, FOR_PAYMENTS, svid())) == "invalid_scope"
    some = {**FOR_PAYMENTS, "scope": " ".join(scopes[:32])}
    token = (await request_token(issuer, some, svid())).json()["access_token"]
    assert verified(token).scopes == {*scopes[:32]}


async def test_client_id_of_the_caller_itself_is_accepted() -> None:
    form = {**FOR_PAYMENTS, "client_id": CHECKOUT}
    assert (await request_token(issuer_app(), form, svid())).status_code == 200


async def test_certificate_that_is_not_valid_now_is_no_proof() -> None:
    current = configuration()
    for days in (2, -2):
        clock = partial(operator.add, datetime.now(UTC), timedelta(days=days))
        application = app(lambda: current, KnownAccounts(), Decisions(), clock)
        assert refusal(await request_token(application, FOR_PAYMENTS, svid())) == "invalid_client"


async def test_certificate_that_tls_did_not_verify_is_no_proof() -> None:
    """uvicorn ends such a handshake; in the ASGI extension another server reports the error
    instead.
    """
    wire = httpx.ASGITransport(Wire(issuer_app(), svid(), "expired"))
    async with httpx.AsyncClient(transport=wire, base_url=ISSUER) as caller:
        assert refusal(await caller.post("/token", data=FOR_PAYMENTS)) == "invalid_client"


async def test_certificate_of_another_kind_is_no_proof() -> None:
    other = pki.by_hand("somebody", ca=False).pem
    assert refusal(await request_token(issuer_app(), FOR_PAYMENTS, other)) == "invalid_client"


# ServiceAccount tokens


async def test_service_account_token_gets_an_unbound_token() -> None:
    accounts = KnownAccounts(**{"a.b.c": ("shop", "checkout")})
    answer = (await request_token(issuer_app(accounts=accounts), BY_ACCOUNT)).json()
    assert verified(answer["access_token"]).thumbprint is None
    assert verified(answer["access_token"]).subject == CHECKOUT
    assert accounts.asked == [("a.b.c", ISSUER)]


async def test_token_is_bound_with_the_certificate_of_the_same_workload() -> None:
    accounts = KnownAccounts(**{"a.b.c": ("shop", "checkout")})
    answer = (await request_token(issuer_app(accounts=accounts), BY_ACCOUNT, svid())).json()
    assert verified(answer["access_token"]).thumbprint is not None


async def test_certificate_of_another_workload_is_rejected() -> None:
    accounts = KnownAccounts(**{"a.b.c": ("shop", "checkout")})
    response = await request_token(issuer_app(accounts=accounts), BY_ACCOUNT, svid(PAYMENTS))
    assert refusal(response) == "invalid_grant"


async def test_unreachable_token_review_is_answered_with_503() -> None:
    response = await request_token(issuer_app(), BY_ACCOUNT)
    assert refusal(response, 503) == "temporarily_unavailable"
    assert response.headers["retry-after"] == "1"


async def test_account_with_an_ambiguous_name_is_no_caller() -> None:
    accounts = KnownAccounts(**{"a.b.c": ("shop/sa/x", "checkout")})
    assert (
        refusal(await request_token(issuer_app(accounts=accounts), BY_ACCOUNT)) == "invalid_grant"
    )


async def test_edge_closed_during_the_token_review_gives_no_token() -> None:
    held: list[IssuerConfiguration] = [configuration()]

    class Slow(KnownAccounts):
        async def account(self, token: str, audience: str, peer: Hashable) -> Account:
            held[0] = configuration(without_edge())
            return await super().account(token, audience, peer)

    slow = Slow(**{"a.b.c": ("shop", "checkout")})
    application = app(lambda: held[0], slow, Decisions())
    assert refusal(await request_token(application, BY_ACCOUNT)) == "invalid_target"


# Transactions


async def test_entry_workload_gets_a_transaction_token() -> None:
    answer = (await request_token(issuer_app(), START, svid())).json()
    token = answer.pop("access_token")
    assert answer == {
        "token_type": "N_A",
        "issued_token_type": f"{TYPE}txn_token",
        "expires_in": 300,
        "scope": "orders.place orders.view",
    }
    read = transaction(token)
    assert (read.subject, read.requester) == ("ann", CHECKOUT)
    assert dict(read.context) == {"tenant": "acme", "channel": "web"}


async def test_transaction_token_is_replaced_by_one_with_less_scope() -> None:
    application = issuer_app()
    first = (await request_token(application, START, svid())).json()["access_token"]
    form = {
        **{name: text for name, text in START.items() if name != "request_details"},
        "subject_token_type": f"{TYPE}txn_token",
        "subject_token": first,
        "scope": "orders.view",
    }
    second = (await request_token(application, form, svid(PAYMENTS))).json()["access_token"]
    before, after = (
        jwt.decode(token, options={"verify_signature": False}) for token in (first, second)
    )
    assert after["scope"] == "orders.view"
    assert after["req_wl"] == f"{CHECKOUT},{PAYMENTS}"
    unchanged = ("iss", "aud", "txn", "sub", "tctx", "exp")
    assert [after[name] for name in unchanged] == [before[name] for name in unchanged]
    wider = {**form, "subject_token": second, "scope": "orders.place"}
    assert refusal(await request_token(application, wider, svid(PAYMENTS))) == "invalid_scope"
    assert refusal(await request_token(application, form)) == "invalid_client"


async def test_transaction_token_does_not_authenticate_a_caller() -> None:
    first = (await request_token(issuer_app(), START, svid())).json()["access_token"]
    form = {**BY_ACCOUNT, "subject_token_type": f"{TYPE}txn_token", "subject_token": first}
    assert refusal(await request_token(issuer_app(), form)) == "invalid_request"


async def test_transaction_token_of_a_foreign_key_is_not_replaced() -> None:
    strange = issuer_app(configuration(current="strange"))
    form = {
        **{name: text for name, text in START.items() if name != "request_details"},
        "subject_token_type": f"{TYPE}txn_token",
        "subject_token": (await request_token(strange, START, svid())).json()["access_token"],
        "scope": "orders.view",
    }
    response = await request_token(issuer_app(), form, svid(PAYMENTS))
    assert refusal(response) == "invalid_grant"
    assert "transaction-key" in response.json()["error_description"]


async def test_transaction_token_of_a_retiring_key_is_replaced() -> None:
    form = {
        **{name: text for name, text in START.items() if name != "request_details"},
        "subject_token_type": f"{TYPE}txn_token",
        "subject_token": (await request_token(issuer_app(), START, svid())).json()["access_token"],
        "scope": "orders.view",
    }
    rotated = configuration(current="next", following=None, retiring="current")
    answer = (await request_token(issuer_app(rotated), form, svid(PAYMENTS))).json()
    assert transaction(answer["access_token"], rotated).scopes == {"orders.view"}


async def test_context_too_long_for_a_token_is_rejected() -> None:
    names = [f"channel{number}" for number in range(40)]
    document = builders.view()
    document["callers"][CHECKOUT]["startsTransactions"]["context"] = names
    details = json.dumps(dict.fromkeys(names, "x" * 256))
    response = await request_token(
        issuer_app(configuration(document)), {**START, "request_details": details}, svid()
    )
    assert refusal(response) == "invalid_request"


# Form of the request


@pytest.mark.parametrize(
    "options",
    [
        {"params": {"audience": PAYMENTS}},
        {"headers": {"Authorization": "Basic eDp5"}},
        {"headers": {"Content-Encoding": "gzip"}},
        {"headers": {"Content-Type": "application/json"}},
    ],
)
async def test_parameters_outside_a_plain_form_are_rejected(
    options: dict[str, Any],
) -> None:
    assert (
        refusal(await request_token(issuer_app(), FOR_PAYMENTS, svid(), **options))
        == "invalid_request"
    )


async def test_two_content_types_are_rejected() -> None:
    form = "application/x-www-form-urlencoded"
    async with client(issuer_app(), svid()) as caller:
        response = await caller.post(
            "/token",
            content=httpx.QueryParams(FOR_PAYMENTS).__str__(),
            headers=[("Content-Type", form), ("Content-Type", "application/json")],
        )
    assert refusal(response) == "invalid_request"


async def test_endless_body_is_read_up_to_the_limit() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 1000:
            sent += 1
            yield b"x" * 1024

    async with client(issuer_app(), svid()) as caller:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        response = await caller.post("/token", content=endless(), headers=headers)
    assert refusal(response) == "invalid_request"
    assert sent <= LONGEST // 1024 + 1


async def test_only_post_issues_tokens() -> None:
    async with client(issuer_app(), svid()) as caller:
        assert (await caller.get("/token", params=FOR_PAYMENTS)).status_code == 405


# Other endpoints


async def test_discovery_lists_issuer_keys_and_bundle() -> None:
    current = configuration()
    async with client(issuer_app(current)) as caller:
        about = (await caller.get("/.well-known/openid-configuration")).json()
        other = (await caller.get("/.well-known/oauth-authorization-server")).json()
        keys = await caller.get(about["jwks_uri"])
        bundle = await caller.get(about["spiffe_bundle_endpoint"])
    assert about == other
    assert about["issuer"] == ISSUER
    assert about["token_endpoint"] == f"{ISSUER}/token"
    assert keys.content == current.key_set
    assert bundle.content == current.bundle
    assert bundle.headers["content-type"] == "application/json"


async def test_issuer_without_a_view_answers_every_request_with_503() -> None:
    application = app(lambda: None, KnownAccounts(), Decisions())
    assert (
        refusal(await request_token(application, FOR_PAYMENTS, svid()), 503)
        == "temporarily_unavailable"
    )
    async with client(application) as caller:
        for page in ("/keys", "/bundle", "/.well-known/openid-configuration"):
            assert (await caller.get(page)).status_code == 503


# Log and metrics


@pytest.mark.parametrize("form", [FOR_PAYMENTS, START])
async def test_token_as_a_scope_is_neither_logged_nor_returned(form: dict[str, str]) -> None:
    """A token is syntactically a scope, and clients log the error that they get."""
    issuer = issuer_app()
    token = (await request_token(issuer, FOR_PAYMENTS, svid())).json()["access_token"]
    for scope in (token, f"{'a' * 500} {token}"):
        with capture_logs() as lines:
            response = await request_token(issuer, {**form, "scope": scope}, svid())
        assert refusal(response) == "invalid_scope"
        for told in (response.text, json.dumps(lines)):
            assert token[:20] not in told


async def test_every_decision_is_logged_and_counted_once_without_a_token() -> None:
    registry = CollectorRegistry()
    current = configuration()
    accounts = KnownAccounts(**{"secret.account.token": ("shop", "checkout")})
    application = app(lambda: current, accounts, Decisions(registry))
    with capture_logs() as lines:
        issued = (await request_token(application, FOR_PAYMENTS, svid())).json()["access_token"]
        await request_token(application, {**BY_ACCOUNT, "subject_token": "secret.account.token"})
        first = (await request_token(application, START, svid())).json()["access_token"]
        await request_token(application, {**FOR_PAYMENTS, "scope": "payments.admin"}, svid())
        await request_token(application, {"grant_type": "password"}, svid())
    told = [(line["grant"], line["outcome"]) for line in lines]
    assert told == [
        ("client_credentials", "issued"),
        ("service_account", "issued"),
        ("transaction_start", "issued"),
        ("client_credentials", "invalid_scope"),
        ("none", "unsupported_grant_type"),
    ]
    assert {
        "caller": CHECKOUT,
        "audience": PAYMENTS,
        "scope": "payments.charge payments.refund",
        "token_id": verified(issued).token_id,
    }.items() <= lines[0].items()
    assert lines[2]["token_id"] == transaction(first).transaction
    text = json.dumps(lines)
    for secret in (issued, first, *issued.split("."), "secret.account.token", "acme", "ann"):
        assert secret not in text
    for grant, outcome in told:
        labels = {"grant": grant, "outcome": outcome}
        assert registry.get_sample_value("troth_issuer_decisions_total", labels) == 1
