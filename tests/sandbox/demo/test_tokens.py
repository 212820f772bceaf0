"""The demo detects wrong outcomes of tokens, and its forged tokens are forged."""

import base64
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo import loopback
from sandbox.demo.cast import CHECKOUT, LEDGER, PAYMENTS
from sandbox.demo.errors import DemoError
from sandbox.demo.tokens.client import Response
from sandbox.demo.tokens.forgery import unsigned
from sandbox.demo.tokens.services import Services
from sandbox.demo.tokens.table import STARTED, attack_observation, expected, order, revoked
from sandbox.demo.trials import over, run
from troth.edge.outbound.exchange import ExchangeFailedError

REQUEST = "8c1f0f52-3f6e-4d0b-9b0e-0c9a9f0f7f6d"
KNOWN: dict[str, Any] = {
    "caller": "spiffe://prod.shop.example/ns/shop/sa/checkout",
    "scopes": ["payments.charge"],
    "subject": "alice",
    "tenant": "acme",
    "request": REQUEST,
    "transaction": list(STARTED),
    "headers": ["host"],
}
KNOWN_NEXT = KNOWN | {
    "caller": "spiffe://prod.shop.example/ns/shop/sa/payments",
    "scopes": ["ledger.post"],
    "transaction": ["ledger.post"],
}
IDS = {CHECKOUT: KNOWN["caller"], PAYMENTS: KNOWN_NEXT["caller"]}


def is_wrong(code: str, answer: Response) -> bool:
    return over("who", "what", attack_observation(answer), **expected(code)).is_wrong


def test_rejection_for_the_expected_reason_is_right() -> None:
    assert not is_wrong("token-holder", Response(401, {}, "token-holder"))
    assert not is_wrong("transaction-missing", Response(403, {}, "transaction-missing"))


@pytest.mark.parametrize(
    ("status", "code"),
    [(200, ""), (401, "token-expired"), (403, "token-holder"), (500, ""), (403, "scope-missing")],
)
def test_any_other_answer_to_a_stolen_token_is_wrong(status: int, code: str) -> None:
    assert is_wrong("token-holder", Response(status, KNOWN if status == 200 else {}, code))


def test_accepted_request_must_depend_only_on_its_tokens() -> None:
    assert not is_wrong("", Response(200, KNOWN))
    assert is_wrong("", Response(200, KNOWN | {"tenant": "globex"}))
    assert is_wrong("", Response(200, KNOWN | {"subject": None}))
    assert is_wrong("", Response(200, KNOWN | {"headers": ["host", "x-tenant"]}))
    assert is_wrong("", Response(401, {}, "token-expired"))


def wrong_calls(*known: dict[str, Any]) -> list[bool]:
    return [each.is_wrong for each in order(list(known), IDS)]


def test_order_is_right_if_each_service_has_the_expected_context() -> None:
    assert wrong_calls(KNOWN, KNOWN_NEXT) == [False, False]


@pytest.mark.parametrize(
    "other",
    [
        {"caller": KNOWN["caller"]},
        {"scopes": ["ledger.post", "ledger.read"]},
        {"subject": "bob"},
        {"tenant": None},
        {"request": "another"},
        {"transaction": list(STARTED)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_order_is_wrong_if_the_last_context_differs(other: dict[str, Any]) -> None:
    assert wrong_calls(KNOWN, KNOWN_NEXT | other) == [False, True]


def test_order_without_request_id_is_wrong() -> None:
    without = {"request": None}
    assert wrong_calls(KNOWN | without, KNOWN_NEXT | without) == [True, True]


def test_incomplete_order_is_an_error() -> None:
    with pytest.raises(DemoError, match="through 1 services"):
        wrong_calls(KNOWN)


REJECTED = Response(403, {}, "caller-not-accepted", "A sentence.")


class Revoked:
    """A client of an edge that is revoked after the first call, fully or in part."""

    spiffe_id = "spiffe://prod.shop.example/ns/finance/sa/ledger"

    def __init__(self, error: str, answer: Response) -> None:
        self._error = error
        self._answers = [Response(200, KNOWN), answer]
        self._issued = 0

    def token(self, _audience: str) -> str:
        self._issued += 1
        if self._issued > 1 and self._error:
            raise ExchangeFailedError(self._error, "A sentence.")
        return "a token"

    def transaction(self, *_: object) -> str:
        return "a transaction"

    def send(self, *_: object, **__: object) -> Response:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def wrong_revocation(error: str, answer: Response) -> list[bool]:
    client: Any = Revoked(error, answer)
    who = {CHECKOUT: client, LEDGER: client}
    trials = revoked(Services(Path("nowhere"), 0, {LEDGER: 0}), who)
    return [each.is_wrong for each in run([replace(trial, within=0.01) for trial in trials])]


def test_revoked_edge_is_right_if_issuer_and_callee_reject() -> None:
    assert wrong_revocation("invalid_target", REJECTED) == [False, False]


@pytest.mark.parametrize(
    ("error", "answer", "wrong"),
    [
        ("", REJECTED, [True, False]),
        ("temporarily_unavailable", REJECTED, [True, False]),
        ("invalid_target", Response(200, KNOWN), [False, True]),
        (
            "invalid_target",
            REJECTED._replace(code="token-expired"),
            [False, True],
        ),
    ],
)
def test_revoked_edge_is_wrong_if_one_side_still_accepts(
    error: str, answer: Response, wrong: list[bool]
) -> None:
    assert wrong_revocation(error, answer) == wrong


def test_unsigned_token_has_alg_none_and_keeps_its_claims() -> None:
    header, claims, signature = unsigned("head.Y2xhaW1z.signature").split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "none", "typ": "JWT"}
    assert (claims, signature) == ("Y2xhaW1z", "")


def test_services_resolve_to_loopback_and_other_names_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolver := Resolver())
    loopback.resolve({"payments.shop.svc:8443": 41234})
    socket.getaddrinfo("payments.shop.svc", 8443, type=socket.SOCK_STREAM)
    socket.getaddrinfo("payments.shop.svc", 9090)
    assert resolver.calls == [("127.0.0.1", 41234), ("payments.shop.svc", 9090)]


class Resolver:
    """A resolver that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any]] = []

    def __call__(self, host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
        self.calls.append((host, port))
        return []
