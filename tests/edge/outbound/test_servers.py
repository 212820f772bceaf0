"""uvicorn and gunicorn with real mutual TLS."""

import json
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import pytest

from tests.edge.mounts import (
    CHECKOUT,
    GATEWAY,
    KEY,
    PAYMENTS,
    ROOT,
    STRANGER,
    SVID,
    Mounts,
    accepted,
    access_token,
    bundle_map,
    by_token,
    forwarding,
    known,
    svid,
)
from tests.edge.mounts import DOMAIN as OURS
from tests.edge.serving import (
    ROOTS,
    Client,
    gunicorn_serving,
    once,
    refused_by_tls,
    until,
    uvicorn_serving,
)
from tests.pki.builders import by_hand, given, own_root
from troth.edge.frameworks import uvicorn as edge_uvicorn
from troth.edge.identity.files import LOOK_EVERY, Identity
from troth.edge.inbound.asgi import Receive, Scope, Send, TrothMiddleware
from troth.edge.inbound.caller import CALLER

HERE = known(CHECKOUT)


async def service(scope: Scope, _: Receive, send: Send) -> None:
    """Say who calls, and what TLS says."""
    caller = CALLER.get()
    tls = dict(scope["extensions"]["tls"], client_cert_chain=None)
    said = {
        "workload": caller.workload if caller else None,
        "scopes": sorted(caller.scopes) if caller else None,
        "tls": tls,
        "client": scope["client"][0],
    }
    body = json.dumps(said).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def mounts(tmp_path: Path) -> Mounts:
    made = Mounts(tmp_path / "mounts")
    made.write()
    return made


def identity_of(mounts: Mounts) -> Identity:
    return Identity(mounts.identity.path, mounts.bundle.path)


def guarded(identity: Identity) -> TrothMiddleware:
    return TrothMiddleware(service, identity, "https", exempt=["/healthz"])


BOTH = pytest.mark.parametrize("http", ["h11", "httptools"])
WORKERS = pytest.mark.parametrize("worker", ["sync", "gthread"])


@BOTH
def test_uvicorn_passes_the_client_certificate(mounts: Mounts, tmp_path: Path, http: str) -> None:
    identity = identity_of(mounts)
    with uvicorn_serving(guarded(identity), identity, http=http) as port:
        client = Client(port, tmp_path, HERE)
        for _ in range(3):
            said = json.loads(client.get("/charge").body)
            assert said["workload"] == CHECKOUT
            assert said["scopes"] == ["payments.charge", "payments.refund"]
        client.close()
        assert said["tls"]["tls_version"] == 0x0304
        assert said["tls"]["cipher_suite"] in {0x1301, 0x1302, 0x1303}
        assert said["tls"]["client_cert_name"] == ""
        stranger = once(port, tmp_path / "stranger", known(STRANGER), "/charge")
        assert json.loads(stranger.body)["code"] == "caller-not-accepted"
        assert once(port, tmp_path, None, "/charge").status == 403
        probe = json.loads(once(port, tmp_path, None, "/healthz").body)
        assert probe["workload"] is None


@pytest.mark.parametrize("settings", [{}, {"loop": "auto"}, {"loop": "uvloop"}])
def test_uvicorn_uses_the_loop_of_asyncio(mounts: Mounts, settings: dict[str, Any]) -> None:
    """uvicorn prefers uvloop if it is installed, and `Handshakes` needs asyncio's transports."""
    identity = identity_of(mounts)
    assert edge_uvicorn.config(guarded(identity), identity, **settings).loop == "asyncio"


@BOTH
def test_uvicorn_rejects_unverified_certificates(mounts: Mounts, tmp_path: Path, http: str) -> None:
    identity = identity_of(mounts)
    with uvicorn_serving(guarded(identity), identity, http=http) as port:
        loose = svid(CHECKOUT, authority=own_root(which="loose"))
        assert refused_by_tls(Client(port, tmp_path, loose))
        assert once(port, tmp_path, HERE).status == 200


def test_uvicorn_passes_the_chain_with_its_intermediate(mounts: Mounts, tmp_path: Path) -> None:
    top = by_hand("corp")
    between = given(by_hand("corp-intermediate", top), top)
    caller = svid(CHECKOUT, authority=between)
    mounts.write(roots=ROOTS + top.pem, bundles=bundle_map(keys={OURS: KEY}, roots={OURS: between}))
    identity = identity_of(mounts)
    with uvicorn_serving(guarded(identity), identity) as port:
        assert json.loads(once(port, tmp_path, caller).body)["workload"] == CHECKOUT


@BOTH
def test_bound_token_is_verified_over_the_wire(mounts: Mounts, tmp_path: Path, http: str) -> None:
    mounts.write(
        requires=by_token(), accepts=[accepted(each, "a") for each in (CHECKOUT, STRANGER)]
    )
    identity = identity_of(mounts)
    token = ("Authorization", f"Bearer {access_token(certificate=HERE.der, scopes=['a', 'b'])}")
    with uvicorn_serving(guarded(identity), identity, http=http) as port:
        with Client(port, tmp_path, HERE) as client:
            for _ in range(2):
                assert json.loads(client.get("/", token).body)["scopes"] == ["a"]
            missing = client.get("/")
        assert (missing.status, missing.headers["www-authenticate"]) == (401, "Bearer")
        thief = once(port, tmp_path / "thief", known(STRANGER), "/", token)
        assert (thief.status, json.loads(thief.body)["code"]) == (401, "token-holder")
        nobody = once(port, tmp_path, None, "/", token)
        assert json.loads(nobody.body)["code"] == "certificate-missing"


@BOTH
def test_uvicorn_believes_no_forwarded_address(mounts: Mounts, tmp_path: Path, http: str) -> None:
    """By itself it believes a peer on its own machine, such as a sidecar."""
    identity = identity_of(mounts)
    spoofed = ("X-Forwarded-For", "192.0.2.1")
    with uvicorn_serving(guarded(identity), identity, http=http) as port:
        said = json.loads(once(port, tmp_path, HERE, "/charge", spoofed).body)
        assert said["client"] == "127.0.0.1"


@WORKERS
def test_gunicorn_takes_no_path_from_a_header(mounts: Mounts, tmp_path: Path, worker: str) -> None:
    assert mounts.identity.path.exists()
    with gunicorn_serving(tmp_path / "mounts", worker) as port:
        said = json.loads(once(port, tmp_path, HERE, "/charge/1", ("SCRIPT_NAME", "/charge")).body)
        assert said["script_name"] == ""


@WORKERS
def test_gunicorn_passes_the_client_certificate(
    mounts: Mounts, tmp_path: Path, worker: str
) -> None:
    gateway = known(GATEWAY)
    mounts.write(accepts=[accepted(CHECKOUT, "payments.charge"), forwarding(GATEWAY)])
    with gunicorn_serving(tmp_path / "mounts", worker) as port:
        spoofed = [("X-User", "admin"), ("X_Forwarded_Client_Cert", "URI=spiffe://a.example/a")]
        said = json.loads(once(port, tmp_path, HERE, "/charge", *spoofed).body)
        assert (said["workload"], said["scopes"]) == (CHECKOUT, ["payments.charge"])
        assert said["headers"] == ["HTTP_ACCEPT_ENCODING", "HTTP_HOST"]
        assert once(port, tmp_path, None, "/charge").status == 403
        assert once(port, tmp_path, None, "/healthz").status == 200
        digest = sha256(HERE.der).hexdigest()
        forwarded = ("X-Forwarded-Client-Cert", f"Hash={digest};URI={CHECKOUT}")
        said = json.loads(once(port, tmp_path, gateway, "/charge", forwarded).body)
        assert (said["workload"], said["forwarded_by"]) == (CHECKOUT, GATEWAY)
        twice = once(port, tmp_path / "gateway", gateway, "/", forwarded, forwarded)
        assert json.loads(twice.body)["code"] == "gateway-not-accepted"
        loose = svid(CHECKOUT, authority=own_root(which="loose"))
        assert refused_by_tls(Client(port, tmp_path / "loose", loose))


class Traffic:
    """Callers that go on calling, over one connection and over new ones, and count what fails."""

    def __init__(self, port: int, files: Path, current: dict[str, Any]) -> None:
        self.port, self.files, self.current = port, files, current
        self.done = threading.Event()
        self.served = 0
        self.failed: list[str] = []
        self._threads = [
            threading.Thread(target=self._call, args=(number, number % 2 == 0))
            for number in range(4)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 40) -> None:
        """Let so many more requests be served."""
        enough = self.served + count
        until(lambda: self.served >= enough or self.failed)

    def _call(self, number: int, kept: bool) -> None:
        client: Client | None = None
        while not self.done.is_set():
            try:
                if client is None:
                    own, roots = self.current["svid"], self.current["roots"]
                    client = Client(self.port, self.files / str(number), own, roots=roots)
                answer = client.get("/charge")
                if answer.status != 200:
                    self.failed.append(answer.body.decode())
                self.served += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, the request failed
                self.failed.append(repr(error))
                client = None
            if not kept and client is not None:
                client.close()
                client = None
        if client is not None:
            client.close()


def looked() -> None:
    """Wait until a server has looked at its files again."""
    time.sleep(LOOK_EVERY + 0.2)


@BOTH
def test_certificates_roots_and_peers_are_replaced_under_traffic_with_no_failed_request(
    mounts: Mounts, tmp_path: Path, http: str
) -> None:
    identity = identity_of(mounts)
    old, new = ROOT, own_root(which="successor")
    both = ROOTS + b"".join(new.authority.anchors)
    keys = {OURS: KEY}
    joined = bundle_map(keys=keys, roots={OURS: old})
    joined["trust_domains"][OURS]["keys"] += bundle_map(keys=keys, roots={OURS: new})[
        "trust_domains"
    ][OURS]["keys"][:1]
    current: dict[str, Any] = {"svid": HERE, "roots": ROOTS}

    def fresh(spiffe_id: str) -> SVID:
        return svid(spiffe_id, authority=new, dns_names=("localhost",))

    with uvicorn_serving(guarded(identity), identity, http=http) as port:
        kept = Client(port, tmp_path / "kept", HERE)
        assert kept.get().status == 200
        with Traffic(port, tmp_path, current) as traffic:
            traffic.more()
            mounts.write(roots=both, bundles=joined)
            looked()
            current["roots"] = both
            traffic.more()
            replaced = fresh(PAYMENTS)
            mounts.write(replaced, roots=both, bundles=joined)
            looked()
            traffic.more()
            current["svid"] = fresh(CHECKOUT)
            traffic.more()
        assert traffic.failed == []
        assert traffic.served > 160
        mounts.write(
            replaced,
            roots=b"".join(new.authority.anchors),
            bundles=bundle_map(keys=keys, roots={OURS: new}),
        )
        looked()
        assert once(port, tmp_path, current["svid"], roots=both).status == 200
        assert refused_by_tls(Client(port, tmp_path / "old", HERE, roots=both))
        # A connection that was opened by the old root is checked again with every request.
        assert json.loads(kept.get().body)["code"] == "caller-unknown"
        kept.close()


def test_gunicorn_follows_the_files_with_no_failed_request(mounts: Mounts, tmp_path: Path) -> None:
    current = {"svid": HERE, "roots": ROOTS}
    fresh = svid(PAYMENTS, dns_names=("localhost",))
    with gunicorn_serving(tmp_path / "mounts", "gthread") as port:
        with Traffic(port, tmp_path, current) as traffic:
            traffic.more()
            mounts.write(fresh)
            looked()
            traffic.more()
        assert traffic.failed == []
        client = Client(port, tmp_path, HERE)
        client.get()
        assert client.connection.sock.getpeercert(binary_form=True) == fresh.der
        mounts.write(fresh, accepts=[])
        looked()
        assert json.loads(client.get().body)["code"] == "caller-not-accepted"
        client.close()


def test_tls_sessions_are_not_resumed(mounts: Mounts, tmp_path: Path) -> None:
    """A resumed session would bring a certificate along that nobody verifies again."""
    identity = identity_of(mounts)
    with uvicorn_serving(guarded(identity), identity) as port:
        client = Client(port, tmp_path, HERE)
        client.get()
        session = client.connection.sock.session
        assert session is None or not session.has_ticket
        client.close()


def test_half_written_identity_keeps_the_previous_one(mounts: Mounts, tmp_path: Path) -> None:
    identity = identity_of(mounts)
    with uvicorn_serving(guarded(identity), identity) as port:
        assert once(port, tmp_path, HERE).status == 200
        for name in ("tls.crt", "identity.json"):
            path = mounts.identity.path / name
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content[: len(content) // 2])
            looked()
            assert once(port, tmp_path, HERE).status == 200
