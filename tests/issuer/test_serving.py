"""The issuer over real TLS: who is admitted, and how long the state of a connection counts."""

import asyncio
import base64
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.edge.silence import client_hello, silent_clients
from tests.issuer.builders import CHECKOUT, LEDGER, PAYMENTS
from tests.issuer.running import ISSUER_ID, Running, caller, claims, ran, root, running, write_pair
from tests.patience import PATIENCE
from tests.webhooks.gateway.attacks.wire import eventually
from troth.edge.inbound.connections import handshakes, timed
from troth.edge.inbound.connections.limits import ConnectionLimits
from troth.issuer.tls import IssuerTLS
from troth.serving import connection
from troth.serving.tls_files import TLSFilesError

FORM = ("-d", "grant_type=client_credentials", "--data-urlencode", f"audience={PAYMENTS}")
FIELDS = {"grant_type": "client_credentials", "audience": PAYMENTS}


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as serving:
        yield serving


def keeping(issuer: Running, certificate: Path) -> httpx.AsyncClient:
    """Return a client that keeps its connection."""
    context = ssl.create_default_context(cafile=str(issuer.directory / "ca.crt"))
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return httpx.AsyncClient(verify=context, base_url=issuer.url)


async def refused(issuer: Running, certificate: Path) -> None:
    """Check that TLS rejects a certificate; in TLS 1.3 a client may learn it only when it reads."""
    answer = await issuer.curl("/token", *FORM, caller=certificate)
    assert answer.code in (35, 52, 56), answer
    assert not answer.output


async def test_caller_with_its_certificate_gets_a_token_bound_to_it(
    issuer: Running, tmp_path: Path
) -> None:
    certificate = caller(tmp_path)
    answer = (await issuer.curl("/token", *FORM, caller=certificate)).json
    said = claims(answer["access_token"])
    assert (said["sub"], said["aud"]) == (CHECKOUT, [PAYMENTS])
    # the thumbprint as openssl computes it
    digest = await ran(
        *("sh", "-c"),
        f"openssl x509 -in {certificate} -outform DER | openssl dgst -sha256 -binary | "
        "openssl base64 | tr '+/' '-_' | tr -d '=\n'",
    )
    assert said["cnf"] == {"x5t#S256": digest.output}


async def test_openssl_verifies_the_signature(issuer: Running, tmp_path: Path) -> None:
    answer = (await issuer.curl("/token", *FORM, caller=caller(tmp_path))).json
    signed, _, signature = answer["access_token"].rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    halves = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    (tmp_path / "signature").write_bytes(encode_dss_signature(*halves))
    (tmp_path / "signed").write_text(signed)
    key = issuer.configuration.verifying.jwt_keys[issuer.configuration.signer.kid]
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(pem)
    judged = await ran(
        *("openssl", "dgst", "-sha256", "-verify", str(tmp_path / "key.pem")),
        *("-signature", str(tmp_path / "signature"), str(tmp_path / "signed")),
    )
    assert judged.output == "Verified OK\n"


async def test_caller_without_a_certificate_gets_an_error_and_the_keys(issuer: Running) -> None:
    assert (await issuer.curl("/token", *FORM)).json["error"] == "invalid_client"
    assert "keys" in (await issuer.curl("/keys")).json


async def test_identity_headers_of_a_caller_are_ignored(issuer: Running, tmp_path: Path) -> None:
    headers = ("X-Forwarded-Client-Cert", "X-Forwarded-For", "Forwarded", "X-SPIFFE-ID")
    options = [part for name in headers for part in ("-H", f"{name}: URI={CHECKOUT}")]
    assert (await issuer.curl("/token", *FORM, *options)).json["error"] == "invalid_client"
    ledger = caller(tmp_path, LEDGER)
    answer = await issuer.curl("/token", *FORM, *options, caller=ledger)
    assert answer.json["error"] == "invalid_target"


async def test_certificate_of_another_root_or_an_expired_one_is_rejected(
    issuer: Running, tmp_path: Path
) -> None:
    impostor = caller(tmp_path, CHECKOUT, which="impostor")
    await refused(issuer, impostor)
    late = caller(tmp_path, CHECKOUT, now=datetime.now(UTC) - timedelta(days=3))
    await refused(issuer, late)


async def test_versions_before_tls_1_3_are_rejected(issuer: Running) -> None:
    assert (await issuer.openssl("-tls1_3")).code == 0
    assert (await issuer.openssl("-tls1_2")).code != 0


async def test_session_cannot_be_resumed(issuer: Running) -> None:
    """A resumed session would carry a certificate whose chain is not verified again."""
    request = "GET /keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    said = await issuer.openssl("-tls1_3", "-ign_eof", stdin=request)
    assert "200 OK" in said.output
    assert "New Session Ticket" not in said.output


# State of an open connection


async def test_certificate_that_expires_on_an_open_connection_is_no_proof(
    issuer: Running, tmp_path: Path
) -> None:
    async with keeping(issuer, caller(tmp_path)) as client:
        assert (await client.post("/token", data=FIELDS)).status_code == 200
        issuer.moment = datetime.now(UTC) + timedelta(days=2)
        late = await client.post("/token", data=FIELDS)
    assert late.json()["error"] == "invalid_client"
    assert len(issuer.server.server_state.connections) <= 1


async def test_connection_closes_at_the_end_of_its_lifetime(tmp_path: Path) -> None:
    async with (
        running(tmp_path, lifetime=0.3) as issuer,
        keeping(issuer, caller(tmp_path)) as client,
    ):
        first = await client.post("/token", data=FIELDS)
        assert "connection" not in first.headers
        await asyncio.sleep(0.4)
        last = await client.post("/token", data=FIELDS)
        assert last.status_code == 200
        assert last.headers["connection"] == "close"
        assert "connection" not in (await client.post("/token", data=FIELDS)).headers


async def ended(reader: asyncio.StreamReader) -> bool:
    """Return whether the peer closed the connection without sending a byte."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_connection_with_an_endless_request_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "GRACE", 0.2)
    async with running(tmp_path, lifetime=0.2) as issuer:
        context = ssl.create_default_context(cafile=str(issuer.directory / "ca.crt"))
        reader, writer = await asyncio.open_connection("localhost", issuer.port, ssl=context)
        writer.write(b"POST /token HTTP/1.1\r\nHost: x\r\n")
        async with asyncio.timeout(PATIENCE):
            assert await ended(reader)
        writer.close()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"POST /token HTTP/1.1\r\nHost: x\r\n",
        (
            b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant"
        ),
    ],
    ids=["nothing", "half a head", "half a body"],
)
async def test_slow_request_is_closed_and_an_idle_connection_is_not(
    said: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timed, "REQUEST_WITHIN", 0.3)
    async with running(tmp_path) as issuer, keeping(issuer, caller(tmp_path)) as client:
        assert (await client.post("/token", data=FIELDS)).status_code == 200
        (patient,) = issuer.server.server_state.connections
        context = ssl.create_default_context(cafile=str(issuer.directory / "ca.crt"))
        reader, writer = await asyncio.open_connection("localhost", issuer.port, ssl=context)
        writer.write(said)
        async with asyncio.timeout(PATIENCE):
            assert await ended(reader)
        writer.close()
        assert (await client.post("/token", data=FIELDS)).status_code == 200
        assert patient in issuer.server.server_state.connections


async def test_dropped_root_closes_connections_and_rejects_its_callers(
    issuer: Running, tmp_path: Path
) -> None:
    old, new = caller(tmp_path), caller(tmp_path, name="new", which="second")
    roots = issuer.directory / "ca.crt"
    async with keeping(issuer, old) as idle:
        assert (await idle.post("/token", data=FIELDS)).status_code == 200
        write_pair(issuer.directory, "tls", ISSUER_ID, "localhost", which="second")
        roots.write_bytes(root("second"))
        assert issuer.files.look()
        issuer.server.end_connections()
        with pytest.raises(httpx.TransportError):
            await idle.post("/token", data=FIELDS)
    await refused(issuer, old)
    assert "access_token" in (await issuer.curl("/token", *FORM, caller=new)).json


async def test_callers_of_both_roots_are_served_while_both_are_trusted(
    issuer: Running, tmp_path: Path
) -> None:
    old, new = caller(tmp_path), caller(tmp_path, name="new", which="second")
    (issuer.directory / "ca.crt").write_bytes(root() + root("second"))
    assert issuer.files.look()
    for certificate in (old, new):
        assert "access_token" in (await issuer.curl("/token", *FORM, caller=certificate)).json


async def test_busy_connection_closes_after_its_response_when_the_roots_change(
    issuer: Running, tmp_path: Path
) -> None:
    async with keeping(issuer, caller(tmp_path)) as client:
        assert "connection" not in (await client.post("/token", data=FIELDS)).headers
        (issuer.directory / "ca.crt").write_bytes(root() + root("second"))
        issuer.files.look()
        assert (await client.post("/token", data=FIELDS)).headers["connection"] == "close"


# Files


async def test_new_certificate_is_served_at_once_and_connections_stay_open(
    issuer: Running, tmp_path: Path
) -> None:
    async with keeping(issuer, caller(tmp_path)) as client:
        assert (await client.post("/token", data=FIELDS)).status_code == 200
        before = await issuer.openssl("-tls1_3")
        write_pair(issuer.directory, "tls", ISSUER_ID, "localhost", key="new")
        assert issuer.files.look() is False  # same roots
        after = await issuer.openssl("-tls1_3")
        assert "connection" not in (await client.post("/token", data=FIELDS)).headers
    assert certificate_in(before.output) != certificate_in(after.output)


# Clients that occupy the issuer without a request


@pytest.mark.parametrize("said", [b"", client_hello()], ids=["silent", "half a handshake"])
async def test_handshakes_are_bounded_and_callers_are_served(
    tmp_path: Path, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "FIRST_BYTE_WITHIN", 4 * PATIENCE)
    monkeypatch.setattr(handshakes, "WITHIN", 4 * PATIENCE)
    limits = ConnectionLimits(handshakes=16)
    async with (
        running(tmp_path, limits=limits) as issuer,
        silent_clients(issuer.port, 80, said) as clients,
    ):
        await eventually(lambda: sum(each.closed for each in clients) >= 64)
        assert [each.closed for each in clients] == [True] * 64 + [False] * 16
        assert issuer.refused == ["no-room"] * 64
        answer = await issuer.curl("/token", *FORM, caller=caller(tmp_path))
        assert "access_token" in answer.json


async def test_one_peer_holds_only_its_share_of_the_connections(tmp_path: Path) -> None:
    limits = ConnectionLimits(connections=100, handshakes=100, per_peer=5)
    async with running(tmp_path, limits=limits) as issuer:
        certificate = caller(tmp_path)
        clients = [keeping(issuer, certificate) for _ in range(12)]
        for each in clients:
            assert (await each.post("/token", data=FIELDS)).status_code == 200
        assert len(issuer.server.server_state.connections) == 5
        assert issuer.refused == ["too-many-of-peer"] * 7
        for each in clients:
            await each.aclose()


async def test_bounds_of_the_issuer_fit_into_its_memory_limit(tmp_path: Path) -> None:
    """One connection takes less than its share of the 256 MiB that the chart allows."""
    async with running(tmp_path) as issuer:
        assert "access_token" in (await issuer.curl("/token", *FORM, caller=caller(tmp_path))).json
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        async with silent_clients(issuer.port, 50, client_hello()) as clients:
            await eventually(lambda: len(issuer.server._handshakes.begun) == 50)  # type: ignore[union-attr]
            after, _ = tracemalloc.get_traced_memory()
            assert not any(each.closed for each in clients)
        tracemalloc.stop()
        assert after - before < 50 * 64 * 1024


async def test_request_with_a_trailer_or_two_lengths_is_rejected(issuer: Running) -> None:
    """The issuer reads HTTP as the gateway does."""
    context = ssl.create_default_context(cafile=str(issuer.directory / "ca.crt"))
    head = b"POST /token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    for said in (head + b"\r\n0\r\na: b\r\n\r\n", head + b"Content-Length: 1\r\n\r\n0\r\n\r\n"):
        reader, writer = await asyncio.open_connection("localhost", issuer.port, ssl=context)
        writer.write(said)
        async with asyncio.timeout(PATIENCE):
            assert b" 400 " in await reader.readline()
        writer.close()


def certificate_in(output: str) -> str:
    return output.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0]


async def test_mismatched_pair_of_files_is_not_loaded(issuer: Running, tmp_path: Path) -> None:
    write_pair(tmp_path, "fresh", ISSUER_ID, "localhost", key="fresh")
    (issuer.directory / "tls.crt").write_bytes((tmp_path / "fresh.crt").read_bytes())
    assert issuer.files.look() is False
    assert "access_token" in (await issuer.curl("/token", *FORM, caller=caller(tmp_path))).json
    (issuer.directory / "tls.key").write_bytes((tmp_path / "fresh.key").read_bytes())
    issuer.files.look()
    shown = certificate_in((await issuer.openssl("-tls1_3")).output)
    assert shown.split() == certificate_in((tmp_path / "fresh.crt").read_text()).split()


def mounted(directory: Path) -> Path:
    """Write files as a kubelet does, with a second version that `turn` switches to."""
    mount = directory / "mount"
    mount.mkdir()
    for version, which in (("..1", "root"), ("..2", "second")):
        write_pair(mount / version, "tls", ISSUER_ID, "localhost", which=which, key=which)
        (mount / version / "ca.crt").write_bytes(root(which))
    (mount / "..data").symlink_to("..1")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        (mount / name).symlink_to(f"..data/{name}")
    return mount


def turn(mount: Path) -> None:
    (mount / "..data_tmp").symlink_to("..2")
    (mount / "..data_tmp").rename(mount / "..data")


def test_new_version_of_a_kubelet_mount_is_loaded(tmp_path: Path) -> None:
    files = IssuerTLS(mounted(tmp_path))
    assert not files.look()
    turn(tmp_path / "mount")
    assert files.look()
    assert not files.look()


def test_mount_that_changes_during_a_read_is_read_in_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = mounted(tmp_path)
    load = ssl.SSLContext.load_cert_chain

    def and_then_it_turns(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
        load(context, certificate, key)
        turn(mount)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", and_then_it_turns)
    files = IssuerTLS(mount)
    assert files.roots == sha256(root()).hexdigest()[:16]
    monkeypatch.undo()
    assert files.look()
    assert files.roots == sha256(root("second")).hexdigest()[:16]


async def test_client_without_close_notify_does_not_delay_shutdown(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as issuer:
        context = ssl.create_default_context(cafile=str(issuer.directory / "ca.crt"))
        context.check_hostname = False
        raw = socket.create_connection(("127.0.0.1", issuer.port))
        silent = await asyncio.to_thread(lambda: context.wrap_socket(raw))
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < 5
    silent.close()


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
@pytest.mark.parametrize("content", [None, b"", b"hunter2"])
def test_missing_or_invalid_file_prevents_the_start(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    write_pair(tmp_path, "tls", ISSUER_ID, "localhost")
    (tmp_path / "ca.crt").write_bytes(root())
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TLSFilesError) as caught:
        IssuerTLS(tmp_path)
    assert "hunter2" not in str(caught.value)
