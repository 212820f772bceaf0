"""Deliveries reach only their target, once; and the meaning of a missing answer."""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.edge.loopback import Reply, Way
from tests.webhooks.gateway.running import (
    LEDGER,
    STRANGER,
    ledger,
    running_gateway,
    target,
    until,
    write_identity,
)
from tests.webhooks.gateway.test_app import last_log_line
from troth.documents.webhook_endpoint import Target
from troth.webhooks.gateway.forwarding import client as delivering
from troth.webhooks.gateway.forwarding.client import Answer, TargetClient, TargetUnavailableError
from troth.webhooks.gateway.replay.memory import Memory

TOKEN = "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"


def towards(port: int, **changed: Any) -> Target:
    return Target.model_validate(target(port, **changed))


async def refused(deliver: TargetClient, to: Target) -> TargetUnavailableError:
    with pytest.raises(TargetUnavailableError) as caught:
        await deliver(to, b"{}", {}, TOKEN)
    await deliver.close()
    return caught.value


async def test_unreachable_target_releases_the_claim(
    tmp_path: Path,
) -> None:
    with ledger(tmp_path) as behind:
        way = Way(behind.server.port)
        way.open()
        port = int(way.url.rpartition(":")[2])
        async with running_gateway(tmp_path, on=behind, target=target(port)) as at:
            way.close()
            delivery = at.sender.signed()
            with capture_logs() as logs:
                heard = await at.sender.send(delivery)
            assert (heard.status, heard.headers["Retry-After"]) == (503, "10")
            assert last_log_line(logs)["reason"] == "unreachable"
            assert last_log_line(logs)["target_status"] == 0
            way.open()
            assert (await at.sender.send(delivery)).status == 200
            assert len(behind.seen) == 1
        way.close()


@pytest.mark.parametrize("status", [500, 400, 404, 302, 408, 429, 599])
async def test_target_error_releases_the_claim(tmp_path: Path, status: int) -> None:
    async with running_gateway(tmp_path) as at:
        at.ledger.replies.append(Reply(status, (("Location", "/elsewhere"),), b"why"))
        delivery = at.sender.signed()
        with capture_logs() as logs:
            heard = await at.sender.send(delivery)
        assert (heard.status, heard.body) == (502, b"")
        assert last_log_line(logs)["target_status"] == status
        assert (await at.sender.send(delivery)).status == 200
        assert (await at.sender.send(delivery)).status == 200
        assert [seen.path for seen in at.ledger.seen] == ["/events/stripe"] * 2


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_is_a_success_without_details(tmp_path: Path, status: int) -> None:
    async with running_gateway(tmp_path) as at:
        body = b"" if status == 204 else b"x" * 100_000
        at.ledger.replies.append(Reply(status, (("Set-Cookie", "a=1"),), body))
        heard = await at.sender.sent()
        assert (heard.status, heard.body) == (200, b"")
        assert "Set-Cookie" not in heard.headers


async def test_slow_target_gets_no_second_delivery_in_parallel(
    tmp_path: Path,
) -> None:
    now = 1000.0
    async with running_gateway(tmp_path, Memory(clock=lambda: now), within=0.3) as at:
        delivery = at.sender.signed()
        at.ledger.gate.clear()
        with capture_logs() as logs:
            assert (await at.sender.send(delivery)).status == 503
        assert last_log_line(logs)["reason"] == "too-slow"
        with capture_logs() as logs:
            assert (await at.sender.send(delivery)).status == 503
        assert last_log_line(logs)["replay"] == "in-flight"
        at.ledger.gate.set()
        now += at.gateway._forwarder.lease + 1  # the claim lapses
        assert (await at.sender.send(delivery)).status == 200
        assert len(at.ledger.seen) == 2


async def test_claim_outlasts_the_longest_delivery(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, within=7.0) as at:
        assert at.gateway._forwarder.lease > 7.0 + 5.0


async def test_lost_answer_lets_the_claim_lapse(tmp_path: Path) -> None:
    with ledger(tmp_path) as behind:
        way = Way(behind.server.port)
        way.open()
        port = int(way.url.rpartition(":")[2])
        async with running_gateway(tmp_path, on=behind, target=target(port)) as at:
            behind.gate.clear()
            delivery = at.sender.signed()
            with capture_logs() as logs:
                sending = asyncio.create_task(at.sender.send(delivery))
                await until(lambda: behind.seen)
                way.close()
                assert (await sending).status == 503
            assert last_log_line(logs)["reason"] == "answer-lost"
            behind.gate.set()
            way.open()
            assert (await at.sender.send(delivery)).status == 503
            assert len(behind.seen) == 1
        way.close()


async def test_other_identity_at_the_targets_address_gets_nothing(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, target_is=STRANGER) as at:
        delivery = at.sender.signed()
        with capture_logs() as logs:
            assert (await at.sender.send(delivery)).status == 503
        assert last_log_line(logs)["reason"] == "another-identity"
        assert at.ledger.seen == []
        assert at.ledger.server.handshakes == 1
    (tmp_path / "again").mkdir()
    with ledger(tmp_path / "again") as mended:
        async with running_gateway(tmp_path / "again", on=mended) as at:
            assert (await at.sender.send(delivery)).status == 200


async def test_server_with_other_roots_gets_nothing(tmp_path: Path) -> None:
    from tests.edge import shop
    from tests.edge.loopback import serving
    from tests.pki import builders as pki

    stranger = pki.own_root(which="another root")
    context = shop.server_context(tmp_path, LEDGER, authority=stranger)
    with serving(lambda _: Reply(), context) as server:
        error = await refused(TargetClient(write_identity(tmp_path)), towards(server.port))
    assert (error.reason, error.may_have_acted) == ("not-trusted", False)
    assert server.seen == []


@pytest.mark.parametrize(
    ("callees", "changed", "reason"),
    [
        ({"ledger": STRANGER}, {}, "not-called"),
        ({"other": LEDGER}, {}, "not-called"),
        ({"ledger": LEDGER}, {"spiffeID": STRANGER}, "not-called"),
        (
            {"ledger": "spiffe://partner.example/ns/shop/sa/ledger"},
            {"spiffeID": "spiffe://partner.example/ns/shop/sa/ledger"},
            "foreign",
        ),
    ],
)
async def test_endpoint_and_identity_must_name_the_same_target(
    tmp_path: Path, callees: dict[str, str], changed: dict[str, str], reason: str
) -> None:
    with ledger(tmp_path) as behind:
        deliver = TargetClient(write_identity(tmp_path, **callees))
        error = await refused(deliver, towards(behind.server.port, **changed))
        assert (error.reason, error.may_have_acted) == (reason, False)
        assert behind.server.handshakes == 0


async def test_nothing_is_forwarded_without_an_identity(tmp_path: Path) -> None:
    from troth.edge.identity.files import Identity

    deliver = TargetClient(Identity(tmp_path / "nothing", tmp_path / "nothing"))
    assert (await refused(deliver, towards(1))).reason == "no-identity"


@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
async def test_invalid_host_is_unavailable(tmp_path: Path, host: str) -> None:
    error = await refused(TargetClient(write_identity(tmp_path)), towards(1, host=host))
    assert not error.may_have_acted


async def test_added_callee_is_reached_without_a_restart(tmp_path: Path) -> None:
    with ledger(tmp_path) as behind:
        identity = write_identity(tmp_path, other=STRANGER)
        deliver = TargetClient(identity)
        to = towards(behind.server.port)
        with pytest.raises(TargetUnavailableError):
            await deliver(to, b"{}", {}, TOKEN)
        write_identity(tmp_path, other=STRANGER, ledger=LEDGER)
        assert await deliver(to, b"{}", {}, TOKEN) == Answer(204)
        await deliver.close()


async def test_resolved_address_does_not_change_the_checked_name(
    tmp_path: Path,
) -> None:
    with ledger(tmp_path) as behind:
        there = ("127.0.0.1", behind.server.port)
        table = {("localhost", 8443): there, ("ledger.shop.svc", 8443): there}
        deliver = TargetClient(write_identity(tmp_path), resolve=table)
        assert await deliver(towards(8443), b"{}", {}, TOKEN) == Answer(204)
        assert behind.seen[0].headers["Host"] == "localhost:8443"
        # the certificate is for localhost
        error = await refused(deliver, towards(8443, host="ledger.shop.svc"))
        assert error.reason == "not-trusted"


async def test_connection_is_reused(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        at.ledger.replies.extend(Reply(200, (), b"x" * 30_000) for _ in range(4))
        for _ in range(5):
            await at.sender.sent()
        assert at.ledger.server.connections == 1


async def test_client_never_sends_a_delivery_twice(tmp_path: Path) -> None:
    """A connection that ends with the request on it, as a server's that was just closing."""
    from tests.edge import shop

    taken = 0

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        with suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            await reader.readuntil(b"{}")
            taken += 1
            writer.close()

    context = shop.server_context(tmp_path, LEDGER)
    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    async with server:
        deliver = TargetClient(write_identity(tmp_path))
        port = server.sockets[0].getsockname()[1]
        error = await refused(deliver, towards(port))
    assert (error.reason, error.may_have_acted) == ("answer-lost", True)
    assert taken == 1


async def test_answer_counts_although_its_body_never_ends(tmp_path: Path) -> None:
    from tests.edge import shop

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            await reader.readuntil(b"{}")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nand")
            await reader.read()
        writer.close()

    context = shop.server_context(tmp_path, LEDGER)
    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=context)
    async with server:
        deliver = TargetClient(write_identity(tmp_path), within=5)
        port = server.sockets[0].getsockname()[1]
        assert await deliver(towards(port), b"{}", {}, TOKEN) == Answer(200)
        await deliver.close()


async def test_target_that_accepts_no_connection_has_got_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "CONNECT_WITHIN", 0.3)
    way = Way(0)
    way.open()
    port = int(way.url.rpartition(":")[2])
    way.partition()
    deliver = TargetClient(write_identity(tmp_path), within=30)
    error = await refused(deliver, towards(port))
    assert (error.reason, error.may_have_acted) == ("unreachable", False)
    way.close()
