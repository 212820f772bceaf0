"""What the demo calls right and wrong of tokens, and what it forges."""

import base64
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo import names, token_trials
from sandbox.demo.cast import CHECKOUT, LEDGER, PAYMENTS
from sandbox.demo.chain import Chain
from sandbox.demo.errors import DemoError
from sandbox.demo.forging import unsigned
from sandbox.demo.posing import Answered
from sandbox.demo.revoking import WITHIN, Revocation
from sandbox.demo.token_trials import HOPS, STARTED, Attempt, Tried, judged

REQUEST = "8c1f0f52-3f6e-4d0b-9b0e-0c9a9f0f7f6d"
TOLD: dict[str, Any] = {
    "caller": "spiffe://prod.shop.example/ns/shop/sa/checkout",
    "scopes": ["payments.charge"],
    "subject": "alice",
    "tenant": "acme",
    "request": REQUEST,
    "transaction": list(STARTED),
    "headers": ["host"],
}
THEN = TOLD | {
    "caller": "spiffe://prod.shop.example/ns/shop/sa/payments",
    "scopes": ["ledger.post"],
    "transaction": ["ledger.post"],
}
IDS = {CHECKOUT: TOLD["caller"], PAYMENTS: THEN["caller"]}

STOLEN = Attempt(CHECKOUT, LEDGER, "stolen", {}, "token-holder")
WITHOUT = Attempt(CHECKOUT, PAYMENTS, "no transaction", {}, "transaction-missing")
BESIDE = Attempt(CHECKOUT, PAYMENTS, "a header beside the tokens", {})


def wrong(
    attempt: Attempt, status: int, code: str = "", told: dict[str, Any] | None = None
) -> bool:
    return Tried(attempt, Answered(status, told or {}, code, "A sentence.")).is_wrong


def test_a_refusal_for_the_reason_it_has_to_have_is_right() -> None:
    assert not wrong(STOLEN, 401, "token-holder")
    assert not wrong(WITHOUT, 403, "transaction-missing")


@pytest.mark.parametrize(
    ("status", "code"),
    [(200, ""), (401, "token-expired"), (403, "token-holder"), (500, ""), (403, "scope-missing")],
)
def test_any_other_answer_to_a_stolen_token_is_wrong(status: int, code: str) -> None:
    assert wrong(STOLEN, status, code, TOLD if status == 200 else None)


def test_what_is_answered_must_go_by_the_tokens_alone() -> None:
    assert not wrong(BESIDE, 200, told=TOLD)
    assert wrong(BESIDE, 200, told=TOLD | {"tenant": "globex"})
    assert wrong(BESIDE, 200, told=TOLD | {"subject": None})
    assert wrong(BESIDE, 200, told=TOLD | {"headers": ["host", "x-tenant"]})
    assert wrong(BESIDE, 401, "token-expired")


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.setattr(token_trials, "spiffe_id", lambda _, place: IDS[place])
    return Chain(Path("nowhere"), 0, {})


def test_an_order_is_right_where_every_service_is_told_what_it_must(chain: Chain) -> None:
    assert [each.hop for each in judged(chain, [TOLD, THEN])] == list(HOPS)
    assert not any(each.is_wrong for each in judged(chain, [TOLD, THEN]))


@pytest.mark.parametrize(
    "other",
    [
        {"caller": TOLD["caller"]},
        {"scopes": ["ledger.post", "ledger.read"]},
        {"subject": "bob"},
        {"tenant": None},
        {"request": "another"},
        {"transaction": list(STARTED)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_an_order_is_wrong_where_the_last_service_is_told_otherwise(
    chain: Chain, other: dict[str, Any]
) -> None:
    assert [each.is_wrong for each in judged(chain, [TOLD, THEN | other])] == [False, True]


def test_an_order_that_nobody_gave_a_request_id_is_wrong(chain: Chain) -> None:
    without = {"request": None}
    assert all(each.is_wrong for each in judged(chain, [TOLD | without, THEN | without]))


def test_an_order_that_ends_early_is_an_error(chain: Chain) -> None:
    with pytest.raises(DemoError, match="through 1 services"):
        judged(chain, [TOLD])


REFUSED = Answered(403, {}, "caller-not-accepted", "A sentence.")
REVOKED = Revocation(0.2, "invalid_target: no live edge", 0.9, REFUSED)


def test_an_edge_that_both_sides_refuse_in_time_was_taken_back() -> None:
    assert not REVOKED.is_wrong


@pytest.mark.parametrize(
    "other",
    [
        replace(REVOKED, issuer=WITHIN + 0.1),
        replace(REVOKED, issuer=float("inf"), error=""),
        replace(REVOKED, error="temporarily_unavailable: ask again"),
        replace(REVOKED, held=Answered(200, TOLD)),
        replace(REVOKED, held=REFUSED._replace(code="token-expired")),
    ],
)
def test_an_edge_that_one_side_still_takes_was_not(other: Revocation) -> None:
    assert other.is_wrong


def test_an_unsigned_token_says_so_and_keeps_its_claims() -> None:
    header, claims, signature = unsigned("head.Y2xhaW1z.signature").split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "none", "typ": "JWT"}
    assert (claims, signature) == ("Y2xhaW1z", "")


def test_a_process_reaches_services_on_loopback_and_other_names_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", asked := Asked())
    names.know({"payments.shop.svc:8443": 41234})
    socket.getaddrinfo("payments.shop.svc", 8443, type=socket.SOCK_STREAM)
    socket.getaddrinfo("payments.shop.svc", 9090)
    assert asked.calls == [("127.0.0.1", 41234), ("payments.shop.svc", 9090)]


class Asked:
    """A resolver that remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any]] = []

    def __call__(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        self.calls.append((host, port))
        return []
