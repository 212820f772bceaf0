"""WSGI: a request reaches the application only with a verified caller."""

import json
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.edge.mounts import (
    CHECKOUT,
    GATEWAY,
    SVID,
    Mounts,
    accepted,
    access_token,
    by_token,
    forwarding,
    known,
    transaction_token,
)
from troth.edge.identity.files import Identity
from troth.edge.inbound.caller import CALLER, Caller
from troth.edge.inbound.wsgi import (
    CALLER_KEY,
    CHAIN_KEY,
    HEADERS_KEY,
    Environ,
    StartResponse,
    TrothMiddleware,
    caller_of,
)

HERE = known(CHECKOUT)


class Application:
    def __init__(self) -> None:
        self.environs: list[Environ] = []
        self.callers: list[Caller | None] = []
        self.closed = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self.environs.append(environ)
        start_response("200 OK", [])
        return self._parts()

    def _parts(self) -> Iterator[bytes]:
        try:
            self.callers.append(CALLER.get())
            yield b"served"
        finally:
            self.closed += 1

    @property
    def caller(self) -> Caller | None:
        return self.callers[-1]


def mounted(tmp_path: Path, **changed: Any) -> Identity:
    mounts = Mounts(tmp_path)
    mounts.write(**changed)
    return Identity(mounts.identity.path, mounts.bundle.path)


def environ(*headers: tuple[str, str], peer: SVID | None = HERE, came: bool = True) -> Environ:
    """The environment as a server makes it: names folded, equal ones joined."""
    made: Environ = {
        "PATH_INFO": "/charge",
        "SCRIPT_NAME": "",
        CHAIN_KEY: peer.chain if peer else (),
    }
    for name, value in headers:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        made[key] = f"{made[key]},{value}" if key in made else value
    if came:
        made[HEADERS_KEY] = [(name.upper(), value) for name, value in headers]
    return made


def served(guarded: TrothMiddleware, asked: Environ) -> tuple[str, dict[str, str], bytes]:
    answers: list[tuple[str, dict[str, str]]] = []
    parts = guarded(asked, lambda status, headers: answers.append((status, dict(headers))))
    body = b"".join(parts)
    close = getattr(parts, "close", None)
    if close is not None:
        close()
    ((status, headers),) = answers
    return status, headers, body


def code(guarded: TrothMiddleware, asked: Environ) -> str:
    status, headers, body = served(guarded, asked)
    document: dict[str, str] = json.loads(body)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Content-Length"] == str(len(body))
    assert status.startswith(str(document["status"]))
    return document["code"]


def test_handler_sees_the_caller_until_its_answer_is_closed(tmp_path: Path) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https")
    assert served(guarded, environ(("Txn-Token", transaction_token())))[2] == b"served"
    assert app.caller is not None
    assert (app.caller.workload, app.caller.tenant) == (CHECKOUT, "blue")
    assert caller_of(app.environs[0]) is app.caller
    assert CALLER.get() is None
    assert app.closed == 1


def test_failed_application_leaves_no_caller(tmp_path: Path) -> None:
    def failing(_: Environ, __: StartResponse) -> Iterable[bytes]:
        raise LookupError

    with pytest.raises(LookupError):
        served(TrothMiddleware(failing, mounted(tmp_path), "https"), environ())
    assert CALLER.get() is None


def test_rejected_request_does_not_reach_the_application(tmp_path: Path) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https")
    assert code(guarded, environ(peer=None)) == "certificate-missing"
    without = environ()
    del without[CHAIN_KEY]
    assert code(guarded, without) == "certificate-missing"
    spoofed = environ(("Troth.Client_Cert_Chain", HERE.chain[0]), peer=None)
    assert code(guarded, spoofed) == "certificate-missing"
    assert app.environs == []


@pytest.mark.parametrize("came", [True, False])
def test_token_is_verified_and_stripped(tmp_path: Path, came: bool) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path, requires=by_token()), "https")
    token = ("Authorization", f"Bearer {access_token(certificate=HERE.der)}")
    assert served(guarded, environ(token, came=came))[2] == b"served"
    assert "HTTP_AUTHORIZATION" not in app.environs[0]
    assert HEADERS_KEY not in app.environs[0]
    assert code(guarded, environ(token, token, came=came)) == "token-malformed"
    status, headers, _ = served(guarded, environ(came=came))
    assert (status, headers["WWW-Authenticate"]) == ("401 Unauthorized", "Bearer")


HEADERS = [
    ("Host", "payments"),
    ("Authorization", "Basic Og=="),
    ("X-Forwarded-Client-Cert", "URI=spiffe://evil"),
    ("X-Forwarded-For", "10.0.0.1"),
    ("Forwarded", "for=10.0.0.1"),
    ("X_User", "admin"),
    ("X-Tenant-Id", "red"),
    ("Remote-User", "root"),
    ("X-Roles", "admin"),
    ("X-Groups", "admins"),
    ("X-Api-Key", "a key"),
    ("Unverified-X-Roles", "admin"),
]


@pytest.mark.parametrize("came", [True, False])
def test_identity_headers_do_not_reach_the_application(tmp_path: Path, came: bool) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https", strip=["X-Api-Key"])
    server = {"REMOTE_USER": "root", "AUTH_TYPE": "Basic"}
    served(guarded, environ(*HEADERS, came=came) | server)
    kept = {key for key in app.environs[-1] if key.startswith("HTTP_") or key in server}
    assert kept == {"HTTP_HOST", "HTTP_AUTHORIZATION"}


@pytest.mark.parametrize("came", [True, False])
def test_allowed_headers_reach_the_application_as_unverified(tmp_path: Path, came: bool) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https", allow=["X-Roles", "X-User"])
    headers = [*HEADERS, ("X_Roles", "owner"), ("X__Roles", "auditor"), ("X.User", "eve")]
    served(guarded, environ(*headers, came=came))
    seen = {
        key: value for key, value in app.environs[-1].items() if "ROLES" in key or "USER" in key
    }
    assert seen == {
        "HTTP_UNVERIFIED_X_ROLES": "admin,owner,auditor",
        "HTTP_UNVERIFIED_X_USER": "admin,eve",
    }


def element(client: SVID, spiffe_id: str) -> tuple[str, str]:
    digest = sha256(client.der).hexdigest()
    return ("X-Forwarded-Client-Cert", f"Hash={digest};URI={spiffe_id}")


def test_forwarded_caller_counts_only_if_headers_are_distinguishable(tmp_path: Path) -> None:
    """`X_Forwarded_Client_Cert` is folded into the same name, and no gateway strips it."""
    app = Application()
    files = mounted(tmp_path, accepts=[forwarding(GATEWAY), accepted(CHECKOUT, "payments.charge")])
    guarded = TrothMiddleware(app, files, "https")
    gateway, true = known(GATEWAY), element(HERE, CHECKOUT)
    spoofed = ("X_Forwarded_Client_Cert", true[1])
    served(guarded, environ(true, peer=gateway))
    assert app.caller is not None
    assert (app.caller.workload, app.caller.forwarded_by) == (CHECKOUT, GATEWAY)
    assert code(guarded, environ(true, peer=gateway, came=False)) == "gateway-not-accepted"
    assert code(guarded, environ(spoofed, peer=gateway, came=False)) == "gateway-not-accepted"
    served(guarded, environ(spoofed, peer=gateway))
    assert app.caller.workload == GATEWAY


def test_exempt_path_is_open_and_has_no_caller(tmp_path: Path) -> None:
    app = Application()
    guarded = TrothMiddleware(app, mounted(tmp_path), "https", exempt=["/healthz"])
    asked = environ(("X-User", "admin"), peer=None) | {"PATH_INFO": "/healthz"}
    asked[CALLER_KEY] = "anybody"
    assert served(guarded, asked)[2] == b"served"
    assert app.caller is None
    assert CALLER_KEY not in app.environs[0]
    assert "HTTP_X_USER" not in app.environs[0]
    under = environ(peer=None) | {"SCRIPT_NAME": "/api", "PATH_INFO": "/healthz"}
    assert code(guarded, under) == "certificate-missing"
