"""Callees, credentials of requests, and generations of connections, without a network."""

from __future__ import annotations

import threading
from pathlib import Path
from ssl import SSLContext
from typing import Any

import pytest

from tests.edge.shop import DOMAIN, LEDGER, identity_document, write_identity
from tests.edge.shop import write_bundle as bundle
from troth.edge.identity.files import Identity
from troth.edge.outbound.calls import Call, Calls
from troth.edge.outbound.connections import Generation
from troth.edge.outbound.failures import NoIssuerError, RedirectRefusedError, UnknownCalleeError
from troth.edge.outbound.servers import Expected, client_context
from troth.edge.outbound.transactions import narrow, using

ISSUER = "https://production-issuer.troth-system.svc:8443"
ADDRESS = "https://ledger.finance.svc:8443"
TOKEN = "aGVhZA.Ym9keQ.c2lnbg"
ELSEWHERE = "spiffe://other.example/ns/finance/sa/ledger"


class Files:
    """The files of payments, and an identity that looks at them every time."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.key = 0
        bundle(tmp / "bundle")
        self.write()
        ticks = iter(range(0, 10**9, 10))
        self.identity = Identity(tmp / "identity", tmp / "bundle", clock=lambda: float(next(ticks)))

    def write(self, **members: Any) -> None:
        document = identity_document(ISSUER) | members
        write_identity(self.tmp / "identity", document, f"payments-{self.key}")

    def rotate(self) -> None:
        self.key += 1
        self.write()

    def calls(self, callees: dict[str, str] | None = None) -> Calls[SSLContext]:
        return Calls(self.identity, callees or {ADDRESS: "finance/ledger"}, lambda made: made)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def call(files: Files, callee: str = "finance/ledger") -> Call[SSLContext]:
    calls = files.calls()
    generation, _ = calls.generations.take()
    return calls.call(callee, generation)


# Addresses


@pytest.mark.parametrize(
    ("scheme", "host", "port"),
    [
        ("https", "ledger.finance.svc", 8443),
        ("https", "LEDGER.finance.SVC", 8443),
        ("wss", "ledger.finance.svc", 8443),
    ],
)
def test_callee_is_found_by_its_address(files: Files, scheme: str, host: str, port: int) -> None:
    assert files.calls().callee_at(scheme, host, port) == "finance/ledger"


@pytest.mark.parametrize(
    ("scheme", "host", "port"),
    [
        ("http", "ledger.finance.svc", 8443),
        ("https", "ledger.finance.svc", 443),
        ("https", "ledger.finance.svc", None),
        ("https", "ledger.finance.svc.", 8443),
        ("https", "ledger.finance.svc.evil.example", 8443),
        ("https", "evil.example", 8443),
    ],
)
def test_other_addresses_are_no_callees(
    files: Files, scheme: str, host: str, port: int | None
) -> None:
    assert files.calls().callee_at(scheme, host, port) is None


@pytest.mark.parametrize(
    "address",
    [
        "http://ledger.finance.svc",
        "ledger.finance.svc:8443",
        "https://user@ledger.finance.svc",
        "https://ledger.finance.svc/entries",
        "https://ledger.finance.svc?x",
        "https://",
    ],
)
def test_address_must_be_an_origin(files: Files, address: str) -> None:
    with pytest.raises(ValueError, match="origin"):
        files.calls({address: "finance/ledger"})


def test_password_in_an_address_is_not_quoted(files: Files) -> None:
    with pytest.raises(ValueError, match="a user name is not an origin") as caught:
        files.calls({"https://user:hunter2@ledger.finance.svc": "finance/ledger"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("callee", ["finance/ledger", LEDGER])
def test_callee_needs_a_name_and_a_spiffe_id(files: Files, callee: str) -> None:
    calls = files.calls({ADDRESS: callee})
    generation, _ = calls.generations.take()
    found = calls.call(callee, generation)
    assert (found.spiffe_id, found.expected) == (LEDGER, Expected.exactly(LEDGER))
    assert found.wanted is not None
    assert (found.wanted.audience, found.wanted.thumbprint) == (LEDGER, generation.thumbprint)


def test_unlisted_callee_is_not_called(files: Files) -> None:
    with pytest.raises(UnknownCalleeError, match="finance/other"):
        call(files, "finance/other")


def test_token_request_needs_an_issuer(files: Files) -> None:
    files.write(issuers={}, issuerIDs={})
    with pytest.raises(NoIssuerError, match=DOMAIN):
        call(files)


def test_issuer_comes_from_the_files_or_defaults_to_its_service(files: Files) -> None:
    snapshot = files.identity.current
    named = files.calls().issuer(snapshot).expected
    assert named.name == f"spiffe://{DOMAIN}/ns/troth-system/sa/troth-issuer"
    files.write(issuerIDs={})
    assert files.calls().issuer(files.identity.current).expected == Expected.issuer(ISSUER, DOMAIN)


# Redirects


@pytest.mark.parametrize(
    "location",
    [
        "/entries/1",
        "entries/1",
        "https://ledger.finance.svc:8443/entries",
        "https://elsewhere.example/",
        "https://elsewhere.example:99999/",
        "//elsewhere.example/",
        "http://audit.finance.svc:8443/",
    ],
)
def test_redirect_to_no_other_callee_may_be_followed(files: Files, location: str) -> None:
    calls = files.calls({ADDRESS: "finance/ledger", "https://audit.finance.svc:8443": "audit"})
    calls.check_redirect("finance/ledger", f"{ADDRESS}/x", 307, location)


@pytest.mark.parametrize(
    "location",
    [
        "https://audit.finance.svc:8443/",
        "HTTPS://AUDIT.finance.svc:8443/",
        "//audit.finance.svc:8443/",
        "https://anybody@audit.finance.svc:8443/",
        "https:\\\\audit.finance.svc:8443/",
        "https://elsewhere.example\\@audit.finance.svc:8443/",
        "\thttps://audit.finance.svc:8443/",
    ],
)
def test_redirect_to_another_callee_is_rejected(files: Files, location: str) -> None:
    calls = files.calls({ADDRESS: "finance/ledger", "https://audit.finance.svc:8443": "audit"})
    with pytest.raises(RedirectRefusedError):
        calls.check_redirect("finance/ledger", f"{ADDRESS}/x", 307, location)
    calls.check_redirect("finance/ledger", f"{ADDRESS}/x", 201, location)


# What goes with a request


def headers(made: Call[SSLContext], token: str | None = None, **given: str) -> dict[str, str]:
    return made.headers(lambda name: given.get(name.lower().replace("-", "_")), token)


def test_transaction_does_not_leave_its_trust_domain(files: Files) -> None:
    own = call(files)
    foreign = Call(ELSEWHERE, own.generation, None)
    with using(TOKEN):
        assert headers(own) == {"Txn-Token": TOKEN}
        assert headers(foreign) == {}
    assert headers(foreign, txn_token=TOKEN) == {}
    assert headers(own) == {}


def test_explicit_transaction_takes_precedence(files: Files) -> None:
    with using(TOKEN):
        assert headers(call(files), txn_token="a.b.c") == {"Txn-Token": "a.b.c"}


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c\r\nX-Evil: 1", "a" * 9000 + ".b.c", "ä.b.c"])
def test_invalid_transaction_is_not_used(token: str) -> None:
    with pytest.raises(ValueError, match="signed token") as caught, using(token):
        pass
    assert not token or token not in str(caught.value)


def test_narrowing_needs_a_transaction() -> None:
    with pytest.raises(LookupError, match="no transaction"):
        narrow(ISSUER, DOMAIN, ["orders.view"], None)


# Generations


def test_files_of_one_moment_form_one_generation(files: Files) -> None:
    generations = files.calls().generations
    first, _ = generations.take()
    assert generations.take()[0] is first
    files.rotate()
    second, _ = generations.take()
    assert second is not first
    assert second.thumbprint != first.thumbprint
    assert generations.before(second) is first


def test_unused_old_generation_ends(
    files: Files,
) -> None:
    generations = files.calls().generations
    expected = Expected.exactly(LEDGER)

    def connected() -> tuple[Generation[SSLContext], SSLContext, list[SSLContext]]:
        generation, done = generations.take()
        return generation, generations.connection(generation, expected), done

    first, connection, _ = connected()
    files.rotate()
    second, next_connection, done = connected()
    assert done == []
    assert generations.give_back(second) == []
    files.rotate()
    third, _, done = connected()
    assert done == [], "the first is still used"
    assert generations.give_back(first) == [connection]
    files.rotate()
    assert connected()[2] == [next_connection]
    assert generations.use(third)
    assert not generations.use(first)


def test_generation_has_one_certificate_if_files_change_while_reading(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client_context
    turned: list[int] = []

    def turning(*arguments: Any) -> SSLContext:
        context = made(*arguments)
        if len(turned) < 1:
            turned.append(1)
            files.rotate()
        return context

    monkeypatch.setattr("troth.edge.outbound.connections.client_context", turning)
    generation, _ = files.calls().generations.take()
    assert generation.thumbprint == files.identity.current.certificate_thumbprint
    assert turned


def test_mismatched_files_keep_the_generation(
    files: Files, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = files.calls().generations
    first, _ = generations.take()
    files.rotate()

    def broken(*_: Any) -> SSLContext:
        raise OSError("half-written")

    monkeypatch.setattr("troth.edge.outbound.connections.client_context", broken)
    for _ in range(3):
        assert generations.take()[0] is first
    assert caplog.text.count("half-written") == 1
    monkeypatch.undo()
    assert generations.take()[0] is not first


def test_many_threads_share_one_generation(files: Files) -> None:
    generations = files.calls().generations
    taken: list[Generation[SSLContext]] = []
    threads = [
        threading.Thread(target=lambda: taken.append(generations.take()[0])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each in taken}) == 1
    assert taken[0].in_use == 8
