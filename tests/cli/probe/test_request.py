"""Probes against real servers on loopback."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tests.edge import shop as tokens
from tests.edge.loopback import Reply, serving
from tests.edge.mounts import (
    CHECKOUT,
    DOMAIN,
    PAYMENTS,
    PORT,
    ROOT,
    STRANGER,
    Mounts,
    by_token,
    known,
)
from tests.edge.serving import uvicorn_serving
from tests.pki import builders as pki
from troth.cli.probe import request
from troth.cli.probe.request import PROBLEM, attempt
from troth.cli.probe.token import NoTokenError
from troth.documents.probes import (
    Instruction,
    Instructions,
    Outcome,
    PodReport,
    Seen,
    read_report,
)
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import TrothMiddleware

TIMEOUT = 5.0
LOOPBACK = "127.0.0.1"


@pytest.fixture
def identities(tmp_path: Path) -> Path:
    """Return the mounts of a probe pod: checkout, and a stranger."""
    folder = tmp_path / "identities"
    for name, spiffe_id in (("checkout", CHECKOUT), ("stranger", STRANGER)):
        (folder / name).mkdir(parents=True)
        (folder / name / "tls.crt").write_bytes(known(spiffe_id).pem)
        (folder / name / "tls.key").write_bytes(known(spiffe_id).key)
        (folder / name / "ca.crt").write_bytes(b"".join(ROOT.authority.anchors))
    return folder


@contextmanager
def guarded(tmp_path: Path, **document: Any) -> Iterator[int]:
    """Run payments as its team would with `troth.edge`; yield its port."""
    mounts = Mounts(tmp_path / "payments")
    mounts.write(**document)
    identity = Identity(mounts.identity.path, mounts.bundle.path)
    app = Starlette(routes=[Route("/{path:path}", lambda _: Response("done"))])
    with uvicorn_serving(TrothMiddleware(app, identity, PORT), identity) as port:
        yield port


def asking(port: int, **changed: Any) -> Instruction:
    """Return the request of checkout to payments, or another."""
    ask = Instruction(
        LOOPBACK,
        port,
        request=True,
        server=PAYMENTS,
        roots="checkout",
        certificate="checkout",
    )
    return replace(ask, **changed)


def seen(ask: Instruction, identities: Path) -> Seen:
    return attempt(ask, identities, identities / "no-bundle", TIMEOUT)


def test_caller_of_the_guard_is_answered(tmp_path: Path, identities: Path) -> None:
    with guarded(tmp_path) as port:
        assert seen(asking(port), identities) == Seen(Outcome.ANSWERED, 200)
        assert seen(asking(port, request=False), identities) == Seen(Outcome.CONNECTED)


def test_guard_rejects_every_other_presentation_with_a_code(
    tmp_path: Path, identities: Path
) -> None:
    with guarded(tmp_path) as port:
        for changed, code in (
            ({"certificate": ""}, "certificate-missing"),
            ({"certificate": "", "claimed": CHECKOUT}, "certificate-missing"),
            ({"certificate": "stranger"}, "caller-not-accepted"),
            ({"certificate": "stranger", "claimed": CHECKOUT}, "caller-not-accepted"),
        ):
            found = seen(asking(port, **changed), identities)
            assert found == Seen(Outcome.ANSWERED, 403, code), changed


def test_guard_with_tokens_rejects_forged_headers(tmp_path: Path, identities: Path) -> None:
    with guarded(tmp_path, requires=by_token()) as port:
        found = seen(asking(port, claimed=CHECKOUT), identities)
    assert found == Seen(Outcome.ANSWERED, 401, "token-missing")


def test_server_that_requires_a_certificate_sends_an_alert(
    tmp_path: Path, identities: Path
) -> None:
    mounts = Mounts(tmp_path / "payments")
    mounts.write()
    context = Identity(mounts.identity.path, mounts.bundle.path).server_context(require_client=True)
    with serving(lambda _: Reply(), context) as server:
        port = server.server_address[1]
        assert seen(asking(port), identities) == Seen(Outcome.ANSWERED, 200)
        assert seen(asking(port, certificate=""), identities) == Seen(Outcome.ALERT)


def test_other_server_than_the_callee_is_told_apart(tmp_path: Path, identities: Path) -> None:
    with guarded(tmp_path) as port:
        found = seen(asking(port, server=f"spiffe://{DOMAIN}/ns/shop/sa/ledger"), identities)
    assert found == Seen(Outcome.WRONG_SERVER)


def test_server_with_a_foreign_root_is_told_apart(tmp_path: Path, identities: Path) -> None:
    foreign = pki.own_root(which="foreign")
    context = tokens.server_context(tmp_path, PAYMENTS, authority=foreign)
    with serving(lambda _: Reply(), context) as server:
        found = seen(asking(server.server_address[1]), identities)
    assert found == Seen(Outcome.UNTRUSTED)


def test_plain_server_is_told_apart_and_asked_without_tls(identities: Path) -> None:
    with serving(lambda _: Reply(404), None) as server:
        port = server.server_address[1]
        assert seen(asking(port), identities) == Seen(Outcome.NOT_TLS)
        plain = asking(port, server="", certificate="")
        assert seen(plain, identities) == Seen(Outcome.ANSWERED, 404)
        (request,) = [each for each in server.seen if each.method == "GET"]
        assert (request.path, request.body) == ("/", b"")


def test_path_and_forged_headers_are_sent(identities: Path) -> None:
    with serving(lambda _: Reply(), None) as server:
        ask = asking(
            server.server_address[1], server="", certificate="", path="/a?b", claimed=CHECKOUT
        )
        seen(ask, identities)
        (request,) = server.seen
    assert request.path == "/a?b"
    assert CHECKOUT in str(request.headers["X-Forwarded-Client-Cert"])


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        (PROBLEM, b'{"code":"token-missing"}', "token-missing"),
        (f"{PROBLEM}; charset=utf-8", b'{"code":"token-missing"}', "token-missing"),
        ("application/json", b'{"code":"token-missing"}', ""),
        (PROBLEM, b'{"code":"\\u001b[2J"}', ""),
        (PROBLEM, b'{"code":7}', ""),
        (PROBLEM, b'["code"]', ""),
        (PROBLEM, b"not JSON", ""),
        (PROBLEM, b'{"code":"a","code":"b"}', ""),
        (PROBLEM, b'{"code":"token-missing","more":"' + b"x" * 100_000 + b'"}', ""),
    ],
)
def test_code_of_an_answer_is_read_strictly(
    identities: Path, kind: str, body: bytes, code: str
) -> None:
    reply = Reply(401, (("Content-Type", kind),), body)
    with serving(lambda _: reply, None) as server:
        ask = asking(server.server_address[1], server="", certificate="")
        assert seen(ask, identities) == Seen(Outcome.ANSWERED, 401, code)


@contextmanager
def raw(handle: Callable[[socket.socket], object]) -> Iterator[int]:
    """Serve one connection with a function; yield the port."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                handle(accepted)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def test_server_that_closes_without_an_answer_is_told_apart(identities: Path) -> None:
    with raw(lambda accepted: accepted.recv(10_000)) as port:
        ask = asking(port, server="", certificate="")
        assert seen(ask, identities) == Seen(Outcome.CLOSED)


def test_server_that_does_not_speak_http_is_told_apart(identities: Path) -> None:
    with raw(lambda accepted: accepted.sendall(b"SSH-2.0-OpenSSH_9\r\n")) as port:
        ask = asking(port, server="", certificate="")
        assert seen(ask, identities).outcome in {Outcome.GARBLED, Outcome.CLOSED}


def test_every_answer_survives_the_report(identities: Path) -> None:
    for line in ("HTTP/1.1 999 Odd", "HTTP/1.1 600 Odd", "HTTP/1.1 599 Odd", "HTTP/1.1 099 Odd"):
        with raw(partial(_answer, line)) as port:
            ask = asking(port, server="", certificate="")
            found = seen(ask, identities)
        report = PodReport("n", (found,), True)
        assert read_report(report.line.encode(), Instructions("n", (ask,))) == report, line
        assert found.outcome is (Outcome.ANSWERED if " 599 " in line else Outcome.GARBLED)


def test_odd_code_of_the_issuer_survives_the_report(
    identities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise NoTokenError("Odd.Code", final=True)

    monkeypatch.setattr(request, "token_of", refuse)
    ask = asking(1, audience=PAYMENTS, holder="checkout")
    report = PodReport("n", (seen(ask, identities),), True)
    assert read_report(report.line.encode(), Instructions("n", (ask,))) == report


def _answer(line: str, accepted: socket.socket) -> None:
    accepted.recv(10_000)
    accepted.sendall(f"{line}\r\n\r\n".encode())


DRIPS = {"bytes of a line": b"x", "interim answers": b"HTTP/1.1 100 Continue\r\n\r\n"}


@pytest.mark.parametrize("drop", DRIPS.values(), ids=DRIPS)
def test_server_cannot_hold_a_probe(identities: Path, drop: bytes) -> None:
    def drip(accepted: socket.socket) -> None:
        accepted.recv(10_000)
        with contextlib.suppress(OSError):
            while True:
                accepted.sendall(drop)
                time.sleep(0.01)

    with raw(drip) as port:
        ask = asking(port, server="", certificate="")
        found = attempt(ask, identities, identities / "no-bundle", 0.3)
    assert found == Seen(Outcome.SILENT)


def test_closed_port_is_a_reset(identities: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
    assert seen(asking(port), identities) == Seen(Outcome.RESET)


def test_missing_files_fail_before_any_connection(identities: Path) -> None:
    with serving(lambda _: Reply(), None) as server:
        port = server.server_address[1]
        for changed in ({"certificate": "nobody"}, {"roots": "nobody"}):
            assert seen(asking(port, **changed), identities) == Seen(Outcome.FAILED)
        assert server.connections == 0


def test_token_is_requested_from_the_issuer_and_sent(tmp_path: Path) -> None:
    with tokens.opened(tmp_path) as shop:
        ask = Instruction(
            LOOPBACK,
            shop.ledger.server_address[1],
            request=True,
            server=tokens.LEDGER,
            roots="identity",
            certificate="identity",
            audience=tokens.LEDGER,
            holder="identity",
        )
        once = attempt(ask, tmp_path, tmp_path / "bundle", TIMEOUT)
        assert once == Seen(Outcome.ANSWERED, 200)
        nobody = replace(ask, audience="nobody")
        assert attempt(nobody, tmp_path, tmp_path / "bundle", TIMEOUT).outcome is (
            Outcome.TOKEN_REFUSED
        )
        shop.way.close()
        away = attempt(ask, tmp_path, tmp_path / "bundle", TIMEOUT)
        assert away == Seen(Outcome.NO_TOKEN, code="unreachable")
        assert len(shop.ledger.seen) == 1, "no request without a token"


def test_certificate_is_not_presented_to_another_server(tmp_path: Path, identities: Path) -> None:
    context = tokens.server_context(tmp_path, PAYMENTS, authority=ROOT)
    context.verify_mode = ssl.CERT_NONE
    with serving(lambda _: Reply(), context) as server:
        ask = asking(server.server_address[1], server=f"spiffe://{DOMAIN}/ns/shop/sa/ledger")
        assert seen(ask, identities) == Seen(Outcome.WRONG_SERVER)
        assert not server.seen
