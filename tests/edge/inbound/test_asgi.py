"""ASGI: a request reaches the application only with a verified caller."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.edge.mounts import (
    CHECKOUT,
    GATEWAY,
    PAYMENTS,
    STRANGER,
    SVID,
    Mounts,
    access_token,
    by_token,
    known,
    transaction_token,
)
from troth.edge.identity.files import Identity
from troth.edge.inbound.asgi import (
    CALLER_KEY,
    Message,
    Receive,
    Scope,
    Send,
    TrothMiddleware,
    caller_of,
)
from troth.edge.inbound.caller import CALLER, Caller

HERE = known(CHECKOUT)


class Application:
    """What a service would be: it notes what it was given, and answers."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.callers: list[Caller | None] = []

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        self.scopes.append(scope)
        self.callers.append(CALLER.get())
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        elif scope["type"] == "websocket":
            await send({"type": "websocket.accept"})

    @property
    def caller(self) -> Caller | None:
        return self.callers[-1]


def mounted(tmp_path: Path, **changed: Any) -> Identity:
    mounts = Mounts(tmp_path)
    mounts.write(**changed)
    return Identity(mounts.identity.path, mounts.bundle.path)


def scope(
    *headers: tuple[str, str],
    peer: SVID | None = HERE,
    path: str = "/charge",
    kind: str = "http",
    extensions: Any = None,
) -> Scope:
    tls = {"client_cert_chain": list(peer.chain) if peer else []}
    return {
        "type": kind,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "extensions": {"tls": tls} | (extensions or {}),
    }


async def sent(guarded: Any, asked: Scope) -> list[Message]:
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": f"{asked['type']}.connect"}

    async def send(message: Message) -> None:
        messages.append(message)

    await guarded(asked, receive, send)
    return messages


def document(messages: Iterable[Message]) -> dict[str, Any]:
    start, body = messages
    assert (b"content-type", b"application/problem+json") in start["headers"]
    assert (b"cache-control", b"no-store") in start["headers"]
    read: dict[str, Any] = json.loads(body["body"])
    assert read["status"] == start["status"]
    return read


async def test_handler_sees_the_caller(tmp_path: Path) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https")
    messages = await sent(guarded, scope(("txn-token", transaction_token())))
    assert messages[0]["status"] == 204
    assert app.caller is not None
    assert (app.caller.workload, app.caller.tenant) == (CHECKOUT, "blue")
    assert caller_of(app.scopes[0]) is app.caller
    assert CALLER.get() is None


async def test_rejected_request_does_not_reach_the_application(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https")
    trace = ("traceparent", f"00-{'a' * 32}-{'1' * 16}-01")
    with caplog.at_level(logging.WARNING, "troth.edge"):
        answer = document(await sent(guarded, scope(trace, peer=known(STRANGER))))
    assert (answer["status"], answer["code"]) == (403, "caller-not-accepted")
    assert app.scopes == []
    (record,) = caplog.records
    assert record.getMessage() == (
        f"rejected caller-not-accepted on port https: peer {STRANGER}, request {'a' * 32}"
    )


async def test_rejected_token_is_neither_logged_nor_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = TrothMiddleware(Application(), mounted(tmp_path, requires=by_token()), "https")
    stolen = access_token(STRANGER, certificate=known(STRANGER).der)
    messages = await sent(guarded, scope(("authorization", f"Bearer {stolen}")))
    assert document(messages)["code"] == "token-holder"
    assert (b"www-authenticate", b'Bearer error="invalid_token"') in messages[0]["headers"]
    for part in stolen.split("."):
        assert part not in caplog.text
        assert part.encode() not in messages[1]["body"]


async def test_header_cannot_forge_a_log_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = TrothMiddleware(Application(), mounted(tmp_path), "https")
    odd = scope(("traceparent", "00-x\nrefused nothing"), ("x-request-id", "y\nz"), peer=None)
    await sent(guarded, odd)
    assert [record.getMessage() for record in caplog.records] == [
        "rejected certificate-missing on port https: peer -, request -"
    ]


async def test_identity_headers_do_not_reach_the_application(tmp_path: Path) -> None:
    app = Application()
    guarded = TrothMiddleware(
        app, mounted(tmp_path, requires=by_token()), "https", strip=["X-Api-Key"]
    )
    token = access_token(certificate=HERE.der)
    await sent(
        guarded,
        scope(
            ("host", "payments"),
            ("authorization", f"Bearer {token}"),
            ("x-forwarded-client-cert", "URI=spiffe://evil"),
            ("x_forwarded_client_cert", "URI=spiffe://evil"),
            ("x-user", "admin"),
            ("x_tenant_id", "red"),
            ("remote-user", "root"),
            ("x-roles", "admin"),
            ("X.Groups", "admins"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-api-key", "a key"),
            ("txn-token", transaction_token()),
        ),
    )
    assert app.scopes[0]["headers"] == [(b"host", b"payments")]
    assert app.caller is not None
    assert (app.caller.subject, app.caller.tenant) == ("customer-42", "blue")


async def test_allowed_headers_reach_the_application_as_unverified(tmp_path: Path) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https", allow=["X-Roles", "baggage"])
    names = ("x-roles", "x_roles", "unverified-x-roles", "x-groups", "baggage")
    await sent(guarded, scope(*((name, f"value of {name}") for name in names)))
    assert app.scopes[0]["headers"] == [
        (b"unverified-x-roles", b"value of x-roles"),
        (b"unverified-x-roles", b"value of x_roles"),
        (b"unverified-baggage", b"value of baggage"),
    ]


async def test_application_keeps_its_authorization_with_mtls(tmp_path: Path) -> None:
    app = Application()
    await sent(
        TrothMiddleware(app, mounted(tmp_path), "https"), scope(("authorization", "Basic Og=="))
    )
    assert app.scopes[0]["headers"] == [(b"authorization", b"Basic Og==")]


@pytest.mark.parametrize(
    "extensions",
    [
        None,
        {},
        {"tls": None},
        {"tls": {}},
        {"tls": {"client_cert_chain": []}},
        {"tls": {"client_cert_chain": list(HERE.chain), "client_cert_error": "expired"}},
        {"tls": {"client_cert_name": f"CN={CHECKOUT}"}},
    ],
)
async def test_request_without_a_verified_certificate_has_no_caller(
    tmp_path: Path, extensions: Any
) -> None:
    guarded = TrothMiddleware(Application(), mounted(tmp_path), "https")
    asked = scope()
    asked["extensions"] = extensions
    assert document(await sent(guarded, asked))["code"] == "certificate-missing"


async def test_exempt_path_is_open_and_has_no_caller(tmp_path: Path) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https", exempt=["/healthz"])
    spoofed = scope(("x-user", "admin"), peer=None, path="/healthz")
    spoofed[CALLER_KEY] = "anybody"
    assert (await sent(guarded, spoofed))[0]["status"] == 204
    assert app.caller is None
    assert CALLER_KEY not in app.scopes[0]
    assert app.scopes[0]["headers"] == []


@pytest.mark.parametrize(
    "path", ["/healthz/", "/healthz/charge", "//healthz", "/HEALTHZ", "/healthz%00", "/charge", ""]
)
async def test_exempt_path_must_match_exactly(tmp_path: Path, path: str) -> None:
    guarded = TrothMiddleware(Application(), mounted(tmp_path), "https", exempt=["/healthz"])
    answer = document(await sent(guarded, scope(peer=None, path=path)))
    assert answer["code"] == "certificate-missing"


async def test_lifespan_is_passed_through(tmp_path: Path) -> None:
    app = Application()
    await sent(TrothMiddleware(app, mounted(tmp_path), "https"), {"type": "lifespan"})
    assert app.scopes == [{"type": "lifespan"}]


async def test_websocket_is_guarded_like_a_request(tmp_path: Path) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https")
    assert (await sent(guarded, scope(kind="websocket")))[0]["type"] == "websocket.accept"
    assert app.caller is not None
    closed = await sent(guarded, scope(kind="websocket", peer=None))
    assert closed == [{"type": "websocket.close", "code": 1008}]
    denial: dict[str, Any] = {"websocket.http.response": {}}
    denied = await sent(guarded, scope(kind="websocket", peer=None, extensions=denial))
    assert denied[0]["type"] == "websocket.http.response.start"
    assert document(denied)["code"] == "certificate-missing"
    assert len(app.scopes) == 1


async def test_other_protocols_are_not_served(tmp_path: Path) -> None:
    app = Application()
    with pytest.raises(ValueError, match="unsupported type"):
        await sent(TrothMiddleware(app, mounted(tmp_path), "https"), scope(kind="telepathy"))
    assert app.scopes == []


async def test_changed_file_applies_to_the_next_request_after_a_check(tmp_path: Path) -> None:
    mounts = Mounts(tmp_path)
    mounts.write()
    moment = 0.0
    identity = Identity(mounts.identity.path, mounts.bundle.path, clock=lambda: moment)
    guarded = TrothMiddleware(Application(), identity, "https")
    assert (await sent(guarded, scope()))[0]["status"] == 204
    mounts.write(accepts=[])
    moment = 2.0
    assert document(await sent(guarded, scope()))["code"] == "caller-not-accepted"


async def test_scope_of_the_server_is_not_modified(tmp_path: Path) -> None:
    asked = scope(("x-user", "admin"))
    before = dict(asked, headers=list(asked["headers"]))
    await sent(TrothMiddleware(Application(), mounted(tmp_path), "https"), asked)
    assert asked == before


async def test_forwarded_caller_needs_a_declared_gateway(tmp_path: Path) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https")
    spoofed = ("x-forwarded-client-cert", f"Hash={'ab' * 32};URI={GATEWAY}")
    await sent(guarded, scope(spoofed))
    assert app.caller is not None
    assert (app.caller.workload, app.caller.forwarded_by) == (CHECKOUT, None)
    assert PAYMENTS not in repr(app.caller)
