"""TLS of senders: the mounted certificate, and pinned client certificates."""

import asyncio
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.patience import PATIENCE
from tests.pki import builders as pki
from tests.pki.builders import Made, by_hand
from tests.webhooks.gateway.attacks import scene as attacks
from tests.webhooks.gateway.attacks.scene import Scene, delivery, secret_data
from tests.webhooks.gateway.attacks.wire import Answers, listen
from troth.edge.inbound.connections import handshakes
from troth.edge.inbound.connections.limits import ConnectionLimits
from troth.serving import tls_files
from troth.serving.tls_files import TLSFilesError
from troth.webhooks.gateway.connection import tls
from troth.webhooks.gateway.connection.tls import SenderTLS
from troth.webhooks.gateway.routes import Routes, served

SENDER = "spiffe://partner.example/billing"


def made(name: str, issuer: Made | None = None, *names: x509.GeneralName, days: int = 1) -> Made:
    """A certificate that is good now, or was `days` ago."""
    since = datetime.now(UTC) - pki.NOW
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return by_hand(
        name,
        issuer,
        ca=issuer is None,
        names=list(names) or None,
        purposes=purposes if issuer else None,
        begins=since - timedelta(days=10),
        lifetime=since + timedelta(days=days),
    )


ROOT, PARTNERS, OTHERS = made("root"), made("partners"), made("others")
LOCALHOST = x509.DNSName("localhost")
URI = x509.UniformResourceIdentifier(SENDER)


def written(directory: Path, which: Made, name: str = "tls") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.crt").write_bytes(which.pem)
    (directory / f"{name}.key").write_bytes(which.key_pem)
    return directory / f"{name}.crt"


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.reset_defaults()
    for module in (tls, tls_files):
        monkeypatch.setattr(module, "log", structlog.get_logger())


@dataclass
class Secured:
    """A gateway that speaks TLS."""

    scene: Scene
    files: SenderTLS
    directory: Path
    opened: list[asyncio.StreamWriter] = field(default_factory=list)

    def context(self, shown: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=ROOT.pem.decode())
        if shown is not None:
            context.load_cert_chain(shown, shown.with_suffix(".key"))
        return context

    async def hears(self, said: bytes, shown: Path | None = None) -> Answers:
        """Say something; where the handshake fails nothing is heard."""
        try:
            reader, writer = await asyncio.open_connection(
                "localhost", self.scene.port, ssl=self.context(shown)
            )
            writer.write(said)
            heard = await listen(reader)
        except (ssl.SSLError, ConnectionError):
            return Answers(b"", ended=True)
        writer.close()
        return heard


@asynccontextmanager
async def secured(directory: Path, *pinned: Made, **options: Any) -> AsyncIterator[Secured]:
    """Serve `shop/orders`, and an endpoint for each of the authorities that are pinned."""
    place = directory / "server"
    written(place, made("server", ROOT, LOCALHOST))
    routes = Routes()
    files = SenderTLS(place, routes.authorities)
    async with attacks.gateway(routes, tls=files.context, **options) as scene:
        for number, root in enumerate(pinned):
            pin(scene, root, f"pinned{number}")
        files.look()
        running = Secured(scene, files, place)
        yield running
        for each in running.opened:
            each.close()


def pin(scene: Scene, root: Made, name: str) -> None:
    certificate = {"sans": [f"URI:{SENDER}"], "authorities": root.pem.decode()}
    data = secret_data(name, source={"clientCertificate": certificate})
    scene.routes.put(f"shop.{name}", served(data))


def to(name: str, message: str = "msg_1") -> bytes:
    return delivery(b"POST /shop/%b HTTP/1.1" % name.encode(), message=message)


async def test_delivery_over_tls_is_accepted(tmp_path: Path) -> None:
    async with secured(tmp_path) as gateway:
        assert (await gateway.hears(to("orders"))).status == 200


async def test_tls_1_2_is_accepted_and_nothing_older(tmp_path: Path) -> None:
    async with secured(tmp_path) as gateway:
        context = gateway.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        port = gateway.scene.port
        _, writer = await asyncio.open_connection("localhost", port, ssl=context)
        writer.close()
        assert gateway.files.context.minimum_version == ssl.TLSVersion.TLSv1_2


# Client certificates


async def test_client_certificate_is_requested_only_if_pinned(tmp_path: Path) -> None:
    shown = written(tmp_path, made("stranger", OTHERS, URI), "stranger")
    async with secured(tmp_path) as gateway:
        assert (await gateway.hears(to("orders"), shown)).status == 200


async def test_only_the_pinned_client_certificate_is_accepted(tmp_path: Path) -> None:
    partner = written(tmp_path, made("partner", PARTNERS, URI), "partner")
    stranger = written(tmp_path, made("stranger", OTHERS, URI), "stranger")
    late = written(tmp_path, made("late", PARTNERS, URI, days=-1), "late")
    namesake = written(tmp_path, made("namesake", PARTNERS, LOCALHOST), "namesake")
    async with secured(tmp_path, PARTNERS) as gateway:
        assert (await gateway.hears(to("pinned0"), partner)).status == 200
        assert (await gateway.hears(to("pinned0"))).status == 403
        assert (await gateway.hears(to("pinned0"), stranger)).status == 0
        assert (await gateway.hears(to("pinned0"), late)).status == 0
        assert (await gateway.hears(to("pinned0"), namesake)).status == 403
        assert (await gateway.hears(to("orders"))).status == 200
        assert len(gateway.scene.target.received) == 2


async def test_certificate_of_an_unpinned_root_gets_no_connection(
    tmp_path: Path,
) -> None:
    """TLS comes before the path: it is asked for with one endpoint that pins, and of everybody."""
    stranger = written(tmp_path, made("stranger", OTHERS, URI), "stranger")
    async with secured(tmp_path, PARTNERS) as gateway:
        heard = await gateway.hears(to("orders"), stranger)
        assert (heard.status, heard.ended) == (0, True), "in TLS 1.3 its own handshake is done"
        context = gateway.context(stranger)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("localhost", gateway.scene.port, ssl=context)
        assert gateway.scene.target.received == []
        assert (await gateway.hears(to("orders"))).status == 200


async def test_pin_of_one_endpoint_does_not_affect_others(tmp_path: Path) -> None:
    """TLS takes the roots of all of them together."""
    partner = written(tmp_path, made("partner", PARTNERS, URI), "partner")
    async with secured(tmp_path, PARTNERS, OTHERS) as gateway:
        assert (await gateway.hears(to("pinned0"), partner)).status == 200
        assert (await gateway.hears(to("pinned1"), partner)).status == 403


async def test_header_is_no_client_certificate(tmp_path: Path) -> None:
    pem = made("partner", PARTNERS, URI).pem.replace(b"\n", b"%0A")
    headers = (b"X-Forwarded-Client-Cert: Cert=" + pem, b"X-SSL-Client-Cert: " + pem)
    message = delivery(b"POST /shop/pinned0 HTTP/1.1", *headers)
    async with secured(tmp_path, PARTNERS) as gateway:
        assert (await gateway.hears(message)).status == 403


async def test_later_pin_applies_to_new_and_open_connections(
    tmp_path: Path,
) -> None:
    partner = written(tmp_path, made("partner", PARTNERS, URI), "partner")
    async with secured(tmp_path) as gateway:
        reader, writer = await asyncio.open_connection(
            "localhost", gateway.scene.port, ssl=gateway.context(partner)
        )
        pin(gateway.scene, PARTNERS, "orders2")
        assert gateway.files.look()
        writer.write(to("orders2"))
        assert (await listen(reader)).status == 403
        writer.close()
        assert (await gateway.hears(to("orders2"), partner)).status == 200


# The files


def mounted(directory: Path) -> Path:
    """Lay files out as a kubelet does, of which a second version waits to be turned to."""
    mount = directory / "mount"
    mount.mkdir()
    for version in ("..1", "..2"):
        written(mount / version, made(f"server{version}", ROOT, LOCALHOST))
    (mount / "..data").symlink_to("..1")
    for name in ("tls.crt", "tls.key"):
        (mount / name).symlink_to(f"..data/{name}")
    return mount


def test_new_version_of_the_mount_is_used(tmp_path: Path) -> None:
    mount = mounted(tmp_path)
    files = SenderTLS(mount, frozenset)
    assert not files.look()
    (mount / "..data_tmp").symlink_to("..2")
    (mount / "..data_tmp").rename(mount / "..data")
    assert files.look()
    assert not files.look()


async def test_half_written_pair_is_not_used(tmp_path: Path) -> None:
    async with secured(tmp_path) as gateway:
        new = made("new", ROOT, LOCALHOST)
        (gateway.directory / "tls.crt").write_bytes(new.pem)
        assert not gateway.files.look()
        assert (await gateway.hears(to("orders", "msg_1"))).status == 200
        (gateway.directory / "tls.key").write_bytes(new.key_pem)
        assert gateway.files.look()
        assert (await gateway.hears(to("orders", "msg_2"))).status == 200


@pytest.mark.parametrize("name", ["tls.crt", "tls.key"])
@pytest.mark.parametrize("content", [None, b"", b"hunter2"])
def test_gateway_does_not_start_without_its_files(
    tmp_path: Path, name: str, content: bytes | None
) -> None:
    written(tmp_path, made("server", ROOT, LOCALHOST))
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TLSFilesError) as caught:
        SenderTLS(tmp_path, frozenset)
    assert "hunter2" not in str(caught.value)


async def test_invalid_roots_do_not_affect_others(tmp_path: Path) -> None:
    written(tmp_path, made("server", ROOT, LOCALHOST))
    files = SenderTLS(tmp_path, lambda: ["rubbish", PARTNERS.pem.decode()])
    assert files.look() is False


# Time


async def test_missing_handshake_times_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "FIRST_BYTE_WITHIN", 0.3)
    async with secured(tmp_path) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.scene.port)
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()


async def silent(gateway: Secured, count: int) -> list[asyncio.StreamReader]:
    """Connections on which nothing is said, in the order in which they were taken."""
    held = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.scene.port)
        held.append(reader)
        gateway.opened.append(writer)
        await asyncio.sleep(0.01)
    return held


async def test_many_open_handshakes_do_not_block_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "FIRST_BYTE_WITHIN", 2 * PATIENCE)
    async with secured(tmp_path, limits=ConnectionLimits(handshakes=4)) as gateway:
        held = await silent(gateway, 10)
        async with asyncio.timeout(PATIENCE):  # before their time is over
            assert [await each.read() for each in held[:6]] == [b""] * 6
        assert gateway.scene.refused == ["no-room"] * 6
        for number in range(4):
            assert (await gateway.hears(to("orders", f"msg_{number}"))).status == 200
        assert len(gateway.scene.target.received) == 4


async def test_silent_connection_takes_little_memory(tmp_path: Path) -> None:
    async with secured(tmp_path) as gateway:
        assert (await gateway.hears(to("orders"))).status == 200
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        await silent(gateway, 20)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert after - before < 20 * 64 * 1024


async def test_sender_without_close_notify_does_not_delay_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troth.serving.connection.LAST_CALL", 0.1)
    async with secured(tmp_path) as gateway:
        raw = socket.create_connection(("127.0.0.1", gateway.scene.port))
        context = gateway.context()
        silent = await asyncio.to_thread(
            lambda: context.wrap_socket(raw, server_hostname="localhost")
        )
        began = asyncio.get_running_loop().time()
        gateway.scene.server.stop()
    assert asyncio.get_running_loop().time() - began < 10
    silent.close()
