"""Deliveries reach only their target, once; and the meaning of a missing answer."""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.edge import shop
from tests.edge.loopback import Reply, Way
from tests.patience import PATIENCE
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
from troth.replay.memory import Memory
from troth.webhooks.gateway.forwarding import pool
from troth.webhooks.gateway.forwarding.client import Answer, TargetClient, TargetUnavailableError

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
    monkeypatch.setattr(pool, "CONNECT_WITHIN", 0.3)
    way = Way(0)
    way.open()
    port = int(way.url.rpartition(":")[2])
    way.partition()
    deliver = TargetClient(write_identity(tmp_path), within=30)
    error = await refused(deliver, towards(port))
    assert (error.reason, error.may_have_acted) == ("unreachable", False)
    way.close()


async def test_slow_target_uses_a_bounded_number_of_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CONNECT_WITHIN", 0.5)
    with ledger(tmp_path) as behind:
        deliver = TargetClient(write_identity(tmp_path), most_to_one=2)
        to = towards(behind.server.port)
        behind.gate.clear()
        held = [asyncio.create_task(deliver(to, b"{}", {}, TOKEN)) for _ in range(2)]
        await until(lambda: len(behind.seen) == 2)
        with pytest.raises(TargetUnavailableError) as caught:
            await deliver(to, b"{}", {}, TOKEN)
        assert (caught.value.reason, caught.value.may_have_acted) == ("unreachable", False)
        monkeypatch.setattr(pool, "CONNECT_WITHIN", PATIENCE)
        waiting = [asyncio.create_task(deliver(to, b"{}", {}, TOKEN)) for _ in range(4)]
        await asyncio.sleep(0)
        behind.gate.set()
        assert await asyncio.gather(*held, *waiting) == [Answer(204)] * 6
        assert behind.server.connections == 2
        await deliver.close()


async def test_idle_connection_is_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE", 0.0)
    with ledger(tmp_path) as behind:
        deliver = TargetClient(write_identity(tmp_path))
        for _ in range(2):
            assert await deliver(towards(behind.server.port), b"{}", {}, TOKEN) == Answer(204)
        assert [each.connection for each in behind.seen] == [1, 2]
        await deliver.close()


@pytest.mark.parametrize("value", ["a\r\nTxn-Token: b", "a\nb", "a\rb", "a\n\rb", "naïve"])
async def test_header_that_is_not_one_line_is_not_sent(tmp_path: Path, value: str) -> None:
    with ledger(tmp_path) as behind:
        deliver = TargetClient(write_identity(tmp_path))
        with pytest.raises(TargetUnavailableError) as caught:
            await deliver(towards(behind.server.port), b"{}", {"X": value}, TOKEN)
        await deliver.close()
        assert (caught.value.reason, caught.value.may_have_acted) == ("misconfigured", False)
        assert behind.server.handshakes == 0


async def test_token_that_is_none_is_not_sent(tmp_path: Path) -> None:
    with ledger(tmp_path) as behind:
        deliver = TargetClient(write_identity(tmp_path))
        with pytest.raises(TargetUnavailableError):
            await deliver(towards(behind.server.port), b"{}", {}, "none")
        await deliver.close()
        assert behind.server.handshakes == 0


async def test_redirect_to_an_invalid_url_is_refused(tmp_path: Path) -> None:
    with ledger(tmp_path) as behind:
        behind.replies.append(Reply(302, (("Location", "https://a b/"),), b""))
        error = await refused(TargetClient(write_identity(tmp_path)), towards(behind.server.port))
        assert (error.reason, error.may_have_acted) == ("redirect", False)


# A target that also requires an access token of the gateway


def to_ledger(here: shop.Shop) -> Target:
    named = {"callee": "finance/ledger", "spiffeID": shop.LEDGER, "path": "/"}
    return towards(here.ledger.port, **named)


async def test_invalid_access_token_is_replaced_once(tmp_path: Path) -> None:
    with shop.opened(tmp_path) as here:
        deliver = TargetClient(here.identity())
        replies = [Reply(401, (shop.INVALID,)), Reply(204, (), b""), Reply(401)]
        here.ledger.respond = lambda _: replies.pop(0)
        assert await deliver(to_ledger(here), b"{}", {}, TOKEN) == Answer(204)
        assert await deliver(to_ledger(here), b"{}", {}, TOKEN) == Answer(401)
        await deliver.close()
    first, second, third = [seen.token for seen in here.ledger.seen]
    assert first != second == third
    assert {seen.body for seen in here.ledger.seen} == {b"{}"}
    assert {seen.headers["Txn-Token"] for seen in here.ledger.seen} == {TOKEN}


async def test_target_gets_nothing_without_an_access_token(tmp_path: Path) -> None:
    with shop.opened(tmp_path) as here:
        here.way.close()
        error = await refused(TargetClient(here.identity()), to_ledger(here))
        assert (error.reason, error.may_have_acted) == ("no-token", False)
        assert here.ledger.seen == []


async def test_connections_are_not_shared_between_certificates(tmp_path: Path) -> None:
    with shop.opened(tmp_path) as here:
        deliver = TargetClient(here.identity())
        for _ in range(2):
            for _ in range(2):
                assert await deliver(to_ledger(here), b"{}", {}, TOKEN) == Answer(200)
            here.rotate()
        await deliver.close()
        assert [seen.connection for seen in here.ledger.seen] == [1, 1, 2, 2]
        peers = [seen.thumbprint for seen in here.ledger.seen]
        assert len(set(peers)) == 2
