"""Token requests: their content, their answers and their timing, without I/O."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.shop import Clock
from troth.edge.outbound.challenges import is_invalid_token
from troth.edge.outbound.exchange import (
    MAX_ANSWER,
    Answer,
    Ask,
    ExchangeFailedError,
    Issued,
    access_by_account,
    access_by_certificate,
    read_answer,
    retry_after,
    transaction_narrowing,
    transaction_start,
)
from troth.edge.outbound.failures import TokenRefusedError, TokenUnavailableError
from troth.edge.outbound.servers import Expected, WrongServerError
from troth.edge.outbound.tokens import Fetch, Flight, TokenCache, Use, Wait, Wanted
from troth.edge.trace_context import TraceContext, read_trace

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
ISSUER = "https://production-issuer.troth-system.svc:8443"
LEDGER = "spiffe://prod.shop.example/ns/finance/sa/ledger"
TOKEN = "aGVhZA.Ym9keQ.c2lnbg"
WANTED = Wanted(ISSUER, LEDGER, ("ledger.post",), "thumbprint")
TXN = "urn:ietf:params:oauth:token-type:txn_token"
ASK = access_by_certificate(ISSUER, LEDGER)
START = transaction_start(
    ISSUER, "prod.shop.example", subject="u", scopes=["b", "a"], context={}, request={}
)


def form(ask: Ask) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(ask.body.decode()).items()}


def answer(status: int = 200, content_type: str = "application/json", **members: Any) -> Answer:
    good = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 60, "scope": "ledger.post"}
    return Answer(status, content_type, "", json.dumps(good | members).encode())


def refusal(status: int, retry: str = "", **members: Any) -> Answer:
    return Answer(status, "application/json", retry, json.dumps(members).encode())


def failure(ask: Ask, given: Answer) -> ExchangeFailedError:
    with pytest.raises(ExchangeFailedError) as caught:
        read_answer(ask, given, NOW)
    return caught.value


# What is asked


def test_certificate_request_names_only_the_audience() -> None:
    assert ASK.url == f"{ISSUER}/token"
    assert form(ASK) == {"grant_type": "client_credentials", "audience": LEDGER}


def test_service_account_token_is_exchanged() -> None:
    asked = form(access_by_account(f"{ISSUER}/", LEDGER, "account\n"))
    assert asked == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": LEDGER,
        "subject_token": "account",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }


def test_transaction_request_follows_the_draft() -> None:
    asked = transaction_start(
        ISSUER,
        "prod.shop.example",
        subject="user",
        scopes=["orders.view", "orders.place"],
        context={"tenant": "acme"},
        request={"req_ip": "192.0.2.1"},
    )
    assert form(asked) == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": TXN,
        "audience": "prod.shop.example",
        "scope": "orders.place orders.view",
        "subject_token": '{"sub":"user"}',
        "subject_token_type": "urn:ietf:params:oauth:token-type:unsigned_json",
        "request_details": '{"tenant":"acme"}',
        "request_context": '{"req_ip":"192.0.2.1"}',
    }
    assert form(transaction_narrowing(ISSUER, "prod.shop.example", TOKEN, ["orders.view"])) == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": TXN,
        "audience": "prod.shop.example",
        "scope": "orders.view",
        "subject_token": TOKEN,
        "subject_token_type": TXN,
    }


@pytest.mark.parametrize("scopes", [[], [""], ['a"b']])
def test_transaction_request_needs_a_scope(scopes: list[str]) -> None:
    with pytest.raises(ValueError, match="scope"):
        transaction_narrowing(ISSUER, "prod.shop.example", TOKEN, scopes)


# What an answer means


def test_valid_answer_gives_a_token_with_its_lifetime() -> None:
    issued = read_answer(ASK, answer(), NOW)
    assert issued == Issued(TOKEN, 60.0, frozenset({"ledger.post"}))
    assert TOKEN not in repr(issued)


@pytest.mark.parametrize(
    "members",
    [
        {"access_token": None},
        {"access_token": "opaque"},
        {"access_token": f"{TOKEN}\r\nX-Evil: 1"},
        {"access_token": "a" * 9000 + ".b.c"},
        {"token_type": "N_A"},
        {"token_type": "DPoP"},
        {"token_type": None},
        {"issued_token_type": TXN},
        {"expires_in": None},
        {"expires_in": 0},
        {"expires_in": -1},
        {"expires_in": 901},
        {"expires_in": "60"},
        {"expires_in": True},
        {"expires_in": 60.5},
        {"scope": None},
        {"scope": "a  b"},
    ],
)
def test_invalid_answer_gives_no_token(members: dict[str, Any]) -> None:
    failed = failure(ASK, answer(**members))
    assert (failed.code, failed.final) == ("answer-malformed", False)
    assert "a.b.c" not in str(failed)


@pytest.mark.parametrize(
    "given",
    [
        Answer(200, "text/html", "", answer().body),
        Answer(200, "", "", answer().body),
        Answer(200, "application/json", "", b"[]"),
        Answer(200, "application/json", "", b"{"),
        Answer(200, "application/json", "", b'{"access_token":"a.b.c","access_token":"d.e.f"}'),
        Answer(200, "application/json", "", b" " * MAX_ANSWER + answer().body),
        Answer(200, "application/json", "", b"\xff\xfe"),
    ],
)
def test_ambiguous_answer_gives_no_token(given: Answer) -> None:
    assert failure(ASK, given).code == "answer-malformed"


@given(st.binary(max_size=200), st.integers(100, 599))
def test_random_bytes_give_no_token(body: bytes, status: int) -> None:
    assert failure(ASK, Answer(status, "application/json", "", body)).final is False


def test_token_types_are_not_mistaken_for_each_other() -> None:
    members: dict[str, Any] = {"token_type": "N_A", "issued_token_type": TXN, "scope": "a b"}
    assert read_answer(START, answer(**members), NOW).scopes == {"a", "b"}
    for wrong in ({"token_type": "Bearer"}, {"issued_token_type": None}):
        assert failure(START, answer(**members | wrong)).code == "answer-malformed"


def test_exchange_must_name_the_type_of_its_token() -> None:
    """RFC 8693 section 2.2.1 requires it; RFC 6749 section 5.1 does not know it."""
    access = "urn:ietf:params:oauth:token-type:access_token"
    exchange = access_by_account(ISSUER, LEDGER, "a ServiceAccount token")
    assert read_answer(exchange, answer(issued_token_type=access), NOW).token == TOKEN
    assert read_answer(ASK, answer(issued_token_type=access), NOW).token == TOKEN
    assert read_answer(ASK, answer(), NOW).token == TOKEN
    for ask, members in (
        (exchange, {}),
        (exchange, {"issued_token_type": None}),
        (exchange, {"issued_token_type": TXN}),
        (exchange, {"issued_token_type": "urn:ietf:params:oauth:token-type:jwt"}),
        (ASK, {"issued_token_type": None}),
        (ASK, {"issued_token_type": TXN}),
    ):
        with pytest.raises(ExchangeFailedError, match="another type"):
            read_answer(ask, answer(**members), NOW)


def test_answer_with_more_scopes_than_requested_is_rejected() -> None:
    members: dict[str, Any] = {"token_type": "N_A", "issued_token_type": TXN, "scope": "a b c"}
    assert "not requested" in str(failure(START, answer(**members)))


@pytest.mark.parametrize(
    ("given", "code", "final"),
    [
        (refusal(400, error="invalid_target"), "invalid_target", True),
        (refusal(401, error="invalid_client"), "invalid_client", True),
        (refusal(400, error="something_new"), "something_new", False),
        (refusal(503, error="temporarily_unavailable"), "temporarily_unavailable", False),
        (refusal(500, error="invalid_target"), "invalid_target", False),
        (refusal(400, error='quo"ted'), "answer-status", False),
        (refusal(400, error=7), "answer-status", False),
        (Answer(502, "text/html", "", b"<html>"), "answer-status", False),
        (Answer(302, "text/html", "", b""), "answer-status", False),
        (Answer(204, "", "", b""), "answer-status", False),
    ],
)
def test_rejection_differs_from_an_unavailable_issuer(
    given: Answer, code: str, final: bool
) -> None:
    failed = failure(ASK, given)
    assert (failed.code, failed.final) == (code, final)


def test_error_text_of_the_issuer_is_sanitized() -> None:
    told = refusal(400, error="invalid_scope", error_description="not granted: a")
    assert "not granted: a" in str(failure(ASK, told))
    forged = refusal(400, error="invalid_scope", error_description="fine\nERROR root: hacked")
    assert "hacked" not in str(failure(ASK, forged))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("Mon, 01 Mar 2027 12:00:30 GMT", 30.0),
        ("Mon, 01 Mar 2027 11:00:00 GMT", 0.0),
        ("86400", 600.0),
        ("Mon, 01 Mar 2032 11:00:00 GMT", 600.0),
        ("Mon, 01 Mar 99999999999999999999 11:00:00 GMT", 0.0),
        ("-1", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("٣", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds
    assert failure(ASK, refusal(503, value, error="temporarily_unavailable")).retry_after == seconds


# When the issuer is asked


class Held:
    """A cache, a clock, and what fetches would bring."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.cache = TokenCache(self.clock, lambda: NOW, lambda: 1.0)
        self.brought = 0

    def fetch(self, wanted: Wanted = WANTED, lifetime: float = 60.0) -> str:
        step = self.cache.ask(wanted)
        assert isinstance(step, Fetch)
        return self.land(step.flight, lifetime)

    def land(self, flight: Flight, lifetime: float = 60.0) -> str:
        self.brought += 1
        token = f"token.number.{self.brought}"
        self.cache.landed(flight, Issued(token, lifetime, frozenset()))
        return token

    def use(self, wanted: Wanted = WANTED) -> Use:
        step = self.cache.ask(wanted)
        assert isinstance(step, Use)
        return step

    def fail(
        self, flight: Flight | None = None, *, final: bool = False, retry: float = 0.0
    ) -> TokenUnavailableError:
        if flight is None:
            step = self.cache.ask(WANTED)
            assert isinstance(step, Fetch)
            flight = step.flight
        code = "invalid_target" if final else "unreachable"
        self.cache.failed(flight, ExchangeFailedError(code, "away", final=final, retry_after=retry))
        error = flight.landing.exception()
        assert isinstance(error, TokenUnavailableError)
        return error

    def unavailable(self) -> TokenUnavailableError:
        with pytest.raises(TokenUnavailableError) as caught:
            self.cache.ask(WANTED)
        return caught.value


@pytest.fixture
def held() -> Held:
    return Held()


def test_concurrent_requests_share_one_fetch(held: Held) -> None:
    first = held.cache.ask(WANTED)
    assert isinstance(first, Fetch)
    second = held.cache.ask(WANTED)
    assert isinstance(second, Wait)
    token = held.land(first.flight)
    assert second.flight.landing.result(0) == token
    assert held.use() == Use(token, None)


def test_lifetime_of_a_token_counts_from_the_request(held: Held) -> None:
    step = held.cache.ask(WANTED)
    assert isinstance(step, Fetch)
    held.clock.pass_(50)
    held.land(step.flight)
    held.clock.pass_(9)
    held.use()
    held.clock.pass_(1)
    assert isinstance(held.cache.ask(WANTED), Fetch | Wait)


def test_token_is_renewed_at_two_thirds_of_its_lifetime(held: Held) -> None:
    token = held.fetch()
    held.clock.pass_(39)
    assert held.use().renewal is None
    held.clock.pass_(1)
    renewing = held.use()
    assert renewing.token == token
    assert renewing.renewal is not None
    assert held.use() == Use(token, None)
    fresh = held.land(renewing.renewal)
    assert held.use() == Use(fresh, None)


@pytest.mark.parametrize(
    "changed",
    [
        Wanted(ISSUER, "another", ("ledger.post",), "thumbprint"),
        Wanted(ISSUER, LEDGER, ("ledger.read",), "thumbprint"),
        Wanted(ISSUER, LEDGER, ("ledger.post",), "after a rotation"),
        Wanted(ISSUER, LEDGER, ("ledger.post",), None),
        Wanted("https://another", LEDGER, ("ledger.post",), "thumbprint"),
    ],
)
def test_tokens_of_different_audiences_are_separate(held: Held, changed: Wanted) -> None:
    held.fetch()
    assert held.cache.live(changed) is None
    assert isinstance(held.cache.ask(changed), Fetch)


def test_failed_renewal_keeps_the_token_until_it_expires(held: Held) -> None:
    token = held.fetch()
    held.clock.pass_(40)
    renewal = held.use().renewal
    assert renewal is not None
    held.fail(renewal)
    assert held.use() == Use(token, None)
    held.clock.pass_(19.9)
    assert held.use().token == token
    held.clock.pass_(0.1)
    assert isinstance(held.cache.ask(WANTED), Fetch | Wait)


def test_failures_of_the_issuer_back_off(held: Held) -> None:
    pauses = []
    for _ in range(9):
        pauses.append(held.fail().retry_after)
        assert held.unavailable().retry_after == pauses[-1]
        held.clock.pass_(pauses[-1])
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_backoff_has_jitter() -> None:
    pauses = set()
    for spread in (0.0, 0.5, 1.0):
        held = Held()
        held.cache._spread = partial(float, spread)
        pauses.add(held.fail().retry_after)
    assert pauses == {0.25, 0.375, 0.5}


def test_retry_after_is_respected(held: Held) -> None:
    assert held.fail(retry=120).retry_after == 120
    held.clock.pass_(119)
    held.unavailable()
    held.clock.pass_(1)
    held.fetch()


def test_one_request_retries_for_all_after_a_pause(held: Held) -> None:
    held.fail()
    held.clock.pass_(1)
    other = Wanted(ISSUER, "another", (), "thumbprint")
    probe = held.cache.ask(WANTED)
    assert isinstance(probe, Fetch)
    with pytest.raises(TokenUnavailableError):
        held.cache.ask(other)
    held.land(probe.flight)
    assert isinstance(held.cache.ask(other), Fetch)


def test_concurrent_failures_count_once(held: Held) -> None:
    flights = []
    for audience in "abc":
        step = held.cache.ask(Wanted(ISSUER, audience, (), None))
        assert isinstance(step, Fetch)
        flights.append(step.flight)
    held.clock.pass_(2)
    assert {held.fail(flight).retry_after for flight in flights} == {0.5}


def test_error_states_the_first_failure() -> None:
    moments = iter([NOW, NOW + timedelta(minutes=1), NOW + timedelta(minutes=2)])
    held = Held()
    held.cache._now = lambda: next(moments)
    for _ in range(3):
        error = held.fail()
        held.clock.pass_(60)
    assert error.since == NOW
    assert (error.issuer, error.audience, error.code) == (ISSUER, LEDGER, "unreachable")
    assert "2027-03-01T12:00:00+00:00" in str(error)


def test_rejection_affects_only_its_audience(held: Held) -> None:
    assert isinstance(held.fail(final=True), TokenRefusedError)
    assert isinstance(held.unavailable(), TokenRefusedError)
    assert isinstance(held.cache.ask(Wanted(ISSUER, "another", (), None)), Fetch)
    held.clock.pass_(1)
    held.fetch()


def test_rejected_token_is_dropped_at_a_limited_rate(held: Held) -> None:
    token = held.fetch()
    assert held.cache.refused(WANTED, token)
    fresh = held.fetch()
    assert held.cache.refused(WANTED, token), "the fresh one is to be tried"
    assert not held.cache.refused(WANTED, fresh)
    assert held.use().token == fresh
    held.clock.pass_(10)
    assert held.cache.refused(WANTED, fresh)


def test_transaction_requests_share_the_backoff(held: Held) -> None:
    held.fail()
    with pytest.raises(TokenUnavailableError):
        held.cache.admit(ISSUER, "prod.shop.example")
    held.clock.pass_(1)
    started = held.cache.admit(ISSUER, "prod.shop.example")
    assert held.unavailable()
    away = ExchangeFailedError("unreachable", "away")
    assert held.cache.unanswered(ISSUER, "prod.shop.example", away, started).retry_after == 1
    held.clock.pass_(1)
    held.cache.admit(ISSUER, "prod.shop.example")
    held.cache.answered(ISSUER)
    held.fetch()


def test_tokens_of_old_certificates_are_dropped(held: Held) -> None:
    for number in range(50):
        held.fetch(Wanted(ISSUER, LEDGER, (), f"certificate {number}"))
        held.clock.pass_(61)
    assert len(held.cache._entries) <= 2


def test_many_threads_share_one_fetch(held: Held) -> None:
    steps: list[object] = []
    start = threading.Barrier(16)

    def ask() -> None:
        start.wait()
        steps.append(held.cache.ask(WANTED))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(step).__name__ for step in steps) == ["Fetch"] + ["Wait"] * 15


def test_repr_and_errors_have_no_token(held: Held) -> None:
    token = held.fetch()
    shown = [repr(held.use()), repr(access_by_account(ISSUER, LEDGER, token)), repr(held.cache)]
    step = held.cache.ask(Wanted(ISSUER, "x", (), None))
    shown.append(repr(step))
    assert token not in "".join(shown)


# Challenges


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer error="invalid_token"',
        "bearer ERROR=invalid_token",
        'Bearer realm="a, b", error="invalid_token", error_description="x"',
        'Basic realm="Bearer", Bearer error="invalid_token"',
        'Negotiate YWJj==, Bearer error="invalid_token"',
    ],
)
def test_challenge_that_requires_another_token_is_recognized(challenge: str) -> None:
    assert is_invalid_token([challenge])
    assert is_invalid_token(["Basic", challenge])


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "Bearer",
        'Bearer error="insufficient_scope"',
        'Basic error="invalid_token"',
        'Bearer realm="error=\\"invalid_token\\""',
        'Bearer realm="x" error="invalid_token"',
        'Bearer realm="unclosed, error="invalid_token"',
        'error="invalid_token"',
        "Bearer " + 'a="b",' * 1000 + 'error="invalid_token"',
    ],
)
def test_other_challenge_is_ignored(challenge: str) -> None:
    assert not is_invalid_token([challenge])


@given(st.text(max_size=100))
def test_any_challenge_is_parsed_without_errors(challenge: str) -> None:
    is_invalid_token([challenge, f"Bearer {challenge}"])


# Traces

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "parent",
    [
        PARENT,
        PARENT[:-2] + "ff",
        f" {PARENT}\t",
        "01" + PARENT[2:] + "-what-comes-later",
        "cc-short",
    ],
)
def test_trace_is_forwarded_unmodified(parent: str) -> None:
    assert read_trace([parent]) == TraceContext(parent.strip(" \t"))


@pytest.mark.parametrize(
    "parents",
    [
        [],
        [""],
        [PARENT, PARENT],
        [f"{PARENT}, {PARENT}"],
        [PARENT.upper()],
        [PARENT + "-more"],
        ["ff" + PARENT[2:]],
        ["0" + PARENT[1:].replace("0af7", "0ag7")],
        ["00-" + "0" * 32 + PARENT[35:]],
        [PARENT[:36] + "0" * 16 + "-01"],
        [PARENT[:-3]],
        ["01-" + "a" * 300],
        [PARENT + "\r\nX-Evil: 1"],
        ["01-späť"],
    ],
)
def test_invalid_trace_is_dropped(parents: list[str]) -> None:
    assert read_trace(parents, ["congo=1"]) is None


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        (["congo=t61rcWkgMzE"], "congo=t61rcWkgMzE"),
        (["a=1", "b=2"], "a=1,b=2"),
        (
            ["fw529a3039@dt=FfAA, rojo=00f067aa0ba902b7"],
            "fw529a3039@dt=FfAA, rojo=00f067aa0ba902b7",
        ),
        (["a=1,,b=2"], "a=1,,b=2"),
        ([""], ""),
        ([","], ""),
        (["a=1,a=2"], ""),
        (["A=1"], ""),
        (["a"], ""),
        (["a=b=c"], ""),
        (["a=\x01"], ""),
        (["a=1\r\nX-Evil: 1"], ""),
        ([",".join(f"k{n}=v" for n in range(33))], ""),
        (["a=" + "x" * 257], ""),
        ([",".join(f"k{n}={'x' * 200}" for n in range(30))], ""),
    ],
)
def test_invalid_trace_state_is_dropped_without_the_trace(states: list[str], kept: str) -> None:
    assert read_trace([PARENT], states) == TraceContext(PARENT, kept)


@given(st.text(max_size=80), st.lists(st.text(max_size=80), max_size=3))
def test_only_well_formed_trace_headers_are_forwarded(parent: str, states: list[str]) -> None:
    trace = read_trace([parent], states)
    for value in trace.headers.values() if trace else ():
        assert value.isascii()
        assert value.isprintable()


# Whom a connection reaches


def peer(*names: tuple[str, str]) -> dict[str, Any]:
    return {"subjectAltName": names}


def test_server_is_identified_by_its_only_uri_san() -> None:
    Expected.exactly(LEDGER).check(peer(("DNS", "localhost"), ("URI", LEDGER)))


@pytest.mark.parametrize(
    "certificate",
    [
        None,
        {},
        peer(("DNS", LEDGER)),
        peer(("URI", f"{LEDGER}2")),
        peer(("URI", f"{LEDGER}\n")),
        peer(("URI", LEDGER.replace(".", "x", 1))),
        peer(("URI", LEDGER.upper())),
        peer(("URI", LEDGER), ("URI", f"{LEDGER}2")),
    ],
)
def test_server_with_another_identity_is_rejected(certificate: dict[str, Any] | None) -> None:
    with pytest.raises(WrongServerError, match=", not spiffe://"):
        Expected.exactly(LEDGER).check(certificate)


def test_issuer_defaults_to_its_service() -> None:
    expected = Expected.issuer(ISSUER, "prod.shop.example")
    expected.check(peer(("URI", "spiffe://prod.shop.example/ns/troth-system/sa/troth-issuer")))
    for other in (
        "spiffe://prod.shop.example/ns/shop/sa/troth-issuer",
        "spiffe://prod.shop.example/ns/troth-system/sa/other",
        "spiffe://other.example/ns/troth-system/sa/troth-issuer",
    ):
        with pytest.raises(WrongServerError):
            expected.check(peer(("URI", other)))
    anywhere = Expected.issuer("https://tokens.shop.example", "prod.shop.example")
    anywhere.check(peer(("URI", "spiffe://prod.shop.example/ns/any/sa/troth-issuer")))
    with pytest.raises(WrongServerError):
        anywhere.check(peer(("URI", "spiffe://prod.shop.example/ns/a/b/sa/troth-issuer")))
