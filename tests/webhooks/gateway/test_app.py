"""Accepted and rejected deliveries, over real sockets."""

import asyncio
import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.edge.loopback import Reply
from tests.webhooks.gateway.running import (
    BODY,
    GATEWAY,
    LEDGER,
    OTHER_SECRET,
    SECRET,
    Answer,
    RunningGateway,
    endpoint,
    head_of,
    raw,
    running_gateway,
    secret,
    target,
    until,
)
from troth.documents.webhook_endpoint import EndpointError
from troth.webhooks.gateway.connection.source import Proxies
from troth.webhooks.gateway.serving import Server as GatewayServer
from troth.webhooks.schemes.delivery import Delivery

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def last_log_line(logs: Any) -> dict[str, Any]:
    """The one line of the last delivery."""
    return dict([line for line in logs if line["event"] == "delivery"][-1])


async def test_signed_fresh_and_new_delivery_reaches_the_target(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        with capture_logs() as logs:
            heard = await at.sender.send(at.sender.signed(name="msg_1"))
        assert (heard.status, heard.body) == (200, b"")
        (seen,) = at.ledger.seen
        assert (seen.method, seen.path, seen.body) == ("POST", "/events/stripe", BODY)
        said = at.ledger.token()
        assert said.gateway == GATEWAY
        assert said.target == LEDGER
        assert said.delivery.endpoint == "shop/stripe"
        assert said.delivery.workflow == "settle-charge"
        assert said.delivery.scheme == "StandardWebhooks"
        assert said.delivery.key_id == "k1"
        assert said.delivery.delivery_id == "msg_1"
        assert said.delivery.body_sha256 == hashlib.sha256(BODY).digest()
        line = last_log_line(logs)
        assert line.pop("duration_ms") > 0
        assert line == {
            "event": "delivery",
            "log_level": "info",
            "delivery_id": "msg_1",
            "claimed_id": "",
            "endpoint": "shop/stripe",
            "scheme": "StandardWebhooks",
            "key_id": "k1",
            "verification": "verified",
            "reason": "",
            "replay": "new",
            "workflow": "settle-charge",
            "target_status": 204,
            "status": 200,
            "txn": said.transaction,
        }
        assert seen.headers["X-Request-Id"] == said.transaction


async def test_target_sees_the_gateways_certificate(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        await at.sender.sent()
        assert at.ledger.seen[0].peer is not None


async def test_only_allowed_headers_reach_the_target(
    tmp_path: Path,
) -> None:
    forged = (
        (b"txn-token", b"a.b.c"),
        (b"x-forwarded-client-cert", b"URI=spiffe://prod.shop.example/ns/shop/sa/admin"),
        (b"x-forwarded-for", b"10.0.0.1"),
        (b"forwarded", b"for=10.0.0.1"),
        (b"authorization", b"Bearer a.b.c"),
        (b"cookie", b"session=1"),
        (b"baggage", b"tenant=blue"),
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        (b"x-request-id", b"theirs"),
        (b"x-github-event", b"push"),
        (b"user-agent", b"Sender/1"),
    )
    async with running_gateway(tmp_path) as at:
        delivery = at.sender.signed()
        delivery = replace(delivery, headers=delivery.headers + forged)
        assert (await at.sender.send(delivery)).status == 200
        (seen,) = at.ledger.seen
        assert {name.lower() for name in seen.headers} == {
            "host",
            "content-type",
            "content-length",
            "user-agent",
            "x-request-id",
            "txn-token",
        }
        assert seen.headers["User-Agent"] == "troth-gateway"
        assert seen.headers["X-Request-Id"] != "theirs"
        assert at.ledger.token().target == LEDGER


async def test_event_header_is_forwarded_once_and_if_short(tmp_path: Path) -> None:
    signing = {"name": "GitHub", "url": "https://hooks.example/shop/github"}
    async with running_gateway(tmp_path, signing=signing, keys={"k1": "a secret for github"}) as at:
        sender = at.sends(at.document, "a secret for github")

        async def seen_of(*events: bytes) -> list[str]:
            delivery = sender.signed(f'{{"n": {len(at.ledger.seen)}}}'.encode())
            headers = tuple((b"x-github-event", each) for each in events)
            heard = await sender.send(replace(delivery, headers=delivery.headers + headers))
            assert heard.status == 200
            return list(at.ledger.seen[-1].headers.get_all("X-Github-Event", []))

        assert await seen_of(b"push") == ["push"]
        assert await seen_of(b"push", b"release") == []
        assert await seen_of(b"x" * 257) == []


async def test_challenge_is_answered_every_time(
    tmp_path: Path,
) -> None:
    signing = {"name": "Slack", "url": "https://hooks.example/shop/slack"}
    secret, limits = "a secret for slack", {"body": 4096, "requestsPerSecond": 1}
    async with running_gateway(tmp_path, signing=signing, limits=limits, keys={"k1": secret}) as at:
        asked = at.sends(at.document, secret).signed(
            b'{"type": "url_verification", "challenge": "3eZbrw1aBm2r"}'
        )
        for _ in range(4):
            heard = await at.sender.send(asked)
            assert (heard.status, heard.body) == (200, b'{"challenge": "3eZbrw1aBm2r"}')
            assert heard.headers["Content-Type"] == "application/json"
        assert at.ledger.seen == []


@pytest.mark.parametrize(
    ("age", "status", "reason"),
    [
        (299, 200, ""),
        (302, 401, "timestamp-too-old"),
        (-299, 200, ""),
        (-302, 401, "timestamp-too-new"),
    ],
)
async def test_stale_or_future_delivery_is_rejected(
    tmp_path: Path, age: float, status: int, reason: str
) -> None:
    async with running_gateway(tmp_path) as at:
        at.clock.still = time.time()  # a busy machine may take seconds to deliver it
        with capture_logs() as logs:
            assert (await at.sender.sent(age=age)).status == status
        assert last_log_line(logs)["reason"] == reason
        assert len(at.ledger.seen) == (status == 200)


def tampered(delivery: Delivery) -> Delivery:
    return replace(delivery, body=delivery.body.replace(b"42", b"43"))


def unsigned(delivery: Delivery) -> Delivery:
    kept = tuple(each for each in delivery.headers if each[0] != b"webhook-signature")
    return replace(delivery, headers=kept)


def signed_twice(delivery: Delivery) -> Delivery:
    again = tuple(each for each in delivery.headers if each[0] == b"webhook-id")
    return replace(delivery, headers=delivery.headers + again)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (tampered, "signature-wrong"),
        (unsigned, "signature-missing"),
        (signed_twice, "header-repeated"),
    ],
)
async def test_altered_delivery_is_rejected_without_details(
    tmp_path: Path, changed: Any, reason: str
) -> None:
    async with running_gateway(tmp_path) as at:
        with capture_logs() as logs:
            heard = await at.sender.send(changed(at.sender.signed()))
        assert (heard.status, heard.body) == (401, b"")
        assert at.ledger.seen == []
        assert last_log_line(logs)["reason"] == reason
        assert last_log_line(logs)["verification"] == "refused"
        assert last_log_line(logs)["replay"] == "not-asked"


@pytest.mark.parametrize(
    ("claims", "logged"),
    [
        ("msg_1", "msg_1"),
        ("a\xe9b", "a\\xe9b"),
        ('a\\"b', 'a\\\\"b'),
        ("x" * 257, "x" * 256 + "..."),
    ],
)
async def test_rejected_delivery_is_logged_with_the_id_that_it_claims(
    tmp_path: Path, claims: str, logged: str
) -> None:
    async with running_gateway(tmp_path) as at:
        url = at.url.removeprefix("http://")
        lines = ["POST /shop/stripe HTTP/1.1", f"Host: {url}", f"webhook-id: {claims}"]
        said = ("\r\n".join([*lines, "Content-Length: 0"]) + "\r\n\r\n").encode("latin-1")
        with capture_logs() as logs:
            assert b" 401 " in await raw(at.url, said)
        line = last_log_line(logs)
        assert (line["delivery_id"], line["claimed_id"]) == ("", logged)
        assert line["verification"] == "refused"


async def test_delivery_that_is_not_verified_at_all_claims_an_id_too(tmp_path: Path) -> None:
    limits = {"body": 10, "requestsPerSecond": 10}
    async with running_gateway(tmp_path, limits=limits) as at:
        with capture_logs() as logs:
            assert (await at.sender.send(at.sender.signed(name="msg_2"))).status == 413
        assert last_log_line(logs)["claimed_id"] == "msg_2"
        assert last_log_line(logs)["verification"] == "not-asked"


async def test_delivery_signed_with_another_key_is_rejected(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        assert (await at.sends(at.document, OTHER_SECRET).sent()).status == 401
        assert at.ledger.seen == []


async def test_old_and_new_key_are_accepted_and_logged(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, keys={"k1": SECRET, "k2": OTHER_SECRET}) as at:
        used: list[tuple[str, str]] = []
        at.gateway._decisions.key_used = lambda *key: used.append(key)
        for key, name in ((SECRET, "k1"), (OTHER_SECRET, "k2")):
            with capture_logs() as logs:
                assert (await at.sends(at.document, key).sent()).status == 200
            assert last_log_line(logs)["key_id"] == name
            assert at.ledger.token().delivery.key_id == name
        assert used == [("shop/stripe", "k1"), ("shop/stripe", "k2")]


async def test_replay_is_answered_as_success_and_not_forwarded(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        delivery = at.sender.signed()
        first = await at.sender.send(delivery)
        with capture_logs() as logs:
            again = await at.sender.send(delivery)
        assert (first.status, again.status) == (200, 200)
        assert first.body == again.body == b""
        assert len(at.ledger.seen) == 1
        assert last_log_line(logs)["replay"] == "repeated"


async def test_repetition_in_flight_is_asked_to_retry(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        delivery = at.sender.signed()
        at.ledger.gate.clear()
        first = asyncio.create_task(at.sender.send(delivery))
        await until(lambda: at.ledger.seen)
        with capture_logs() as logs:
            second = await at.sender.send(delivery)
        assert (second.status, second.headers["Retry-After"]) == (503, "10")
        assert last_log_line(logs)["replay"] == "in-flight"
        at.ledger.gate.set()
        assert (await first).status == 200
        assert (await at.sender.send(delivery)).status == 200
        assert len(at.ledger.seen) == 1


async def test_same_delivery_at_another_endpoint_is_new(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        other = endpoint("shop/other", target=target(at.ledger.server.port))
        at.put(other)
        delivery = at.sender.signed()
        await at.sender.send(delivery)
        await at.sender.send(replace(delivery, target=b"/shop/other"))
        assert len(at.ledger.seen) == 2


@pytest.mark.parametrize(
    "path",
    [
        b"/shop/stripe/",
        b"/shop//stripe",
        b"/shop/./stripe",
        b"/shop%2Fstripe",
        b"/shop/%73tripe",
        b"/other/../shop/stripe",
        b"/SHOP/stripe",
        b"/",
    ],
)
async def test_path_is_matched_byte_for_byte(tmp_path: Path, path: bytes) -> None:
    async with running_gateway(tmp_path) as at:
        delivery = replace(at.sender.signed(), target=path)
        answer = await raw(at.url, head_of(delivery, length=len(BODY)) + BODY)
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert answer.endswith(b"\r\n\r\n")
        assert at.ledger.seen == []


async def test_query_does_not_affect_the_path(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        delivery = replace(at.sender.signed(), target=b"/shop/stripe?a=1")
        assert (await at.sender.send(delivery)).status == 200
        assert at.ledger.seen[0].path == "/events/stripe"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_only_post_is_accepted(tmp_path: Path, method: str) -> None:
    async with running_gateway(tmp_path) as at:
        heard = await at.sender.send(replace(at.sender.signed(), method=method))
        assert (heard.status, heard.headers["Allow"]) == (405, "POST")
        assert at.ledger.seen == []


@pytest.mark.parametrize(
    ("cidrs", "forwarded", "status"),
    [
        (["127.0.0.0/8"], None, 200),
        (["203.0.113.0/24"], None, 403),
        (["203.0.113.0/24"], "203.0.113.9", 403),
    ],
)
async def test_source_address_cannot_be_forged(
    tmp_path: Path, cidrs: list[str], forwarded: str | None, status: int
) -> None:
    async with running_gateway(tmp_path, source={"cidrs": cidrs}) as at:
        delivery = at.sender.signed()
        if forwarded:
            delivery = delivery.with_headers([("x-forwarded-for", forwarded)])
        with capture_logs() as logs:
            heard = await at.sender.send(delivery)
        assert (heard.status, heard.body) == (status, b"")
        assert last_log_line(logs)["verification"] == ("verified" if status == 200 else "not-asked")
        assert len(at.ledger.seen) == (status == 200)


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ("203.0.113.9", 200),
        ("198.51.100.1, 203.0.113.9", 200),
        ("203.0.113.9, 198.51.100.1", 403),
        ("203.0.113.9, 127.0.0.3", 200),
        ("203.0.113.9, nonsense", 403),
        ("", 403),
    ],
)
async def test_source_behind_a_proxy_is_the_last_untrusted_address(
    tmp_path: Path, forwarded: str, status: int
) -> None:
    async with running_gateway(
        tmp_path, source={"cidrs": ["203.0.113.0/24"]}, proxies=Proxies(["127.0.0.0/8"])
    ) as at:
        delivery = at.sender.signed().with_headers([("x-forwarded-for", forwarded)])
        assert (await at.sender.send(delivery)).status == status


async def test_rate_limit_applies_to_one_endpoint(tmp_path: Path) -> None:
    limits = {"body": 4096, "requestsPerSecond": 2}
    async with running_gateway(tmp_path, limits=limits) as at:
        other = endpoint("shop/other", target=target(at.ledger.server.port))
        at.put(other)
        heard: list[Answer] = await asyncio.gather(*(at.sender.sent() for _ in range(12)))
        statuses = [each.status for each in heard]
        assert statuses.count(200) >= 2
        assert statuses.count(429) >= 6
        assert all("Retry-After" in each.headers for each in heard if each.status == 429)
        assert (await at.sends(other).sent()).status == 200


async def test_unverified_deliveries_do_not_use_the_rate(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, limits={"body": 4096, "requestsPerSecond": 2}) as at:
        forged = replace(at.sender.signed(), body=b'{"forged": true}')
        for _ in range(8):
            assert (await at.sender.send(forged)).status == 401
        assert (await at.sender.sent()).status == 200


async def test_replays_do_not_use_the_rate(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, limits={"body": 4096, "requestsPerSecond": 2}) as at:
        delivery = at.sender.signed()
        at.ledger.gate.clear()
        first = asyncio.create_task(at.sender.send(delivery))
        await until(lambda: at.ledger.seen)
        assert {(await at.sender.send(delivery)).status for _ in range(8)} == {503}
        at.ledger.gate.set()
        assert (await first).status == 200
        assert {(await at.sender.send(delivery)).status for _ in range(8)} == {200}
        assert (await at.sender.sent()).status == 200
        assert len(at.ledger.seen) == 2


async def test_body_with_a_large_content_length_is_not_read(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        answer = await raw(at.url, head_of(at.sender.signed(), length=4097))
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_body_that_exceeds_the_limit_is_read_no_further(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        head = head_of(at.sender.signed(), ("Transfer-Encoding", "chunked"))
        chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
        answer = await raw(at.url, head + chunk * 5)  # and no end
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert at.ledger.seen == []


async def test_body_of_the_maximum_size_is_accepted_in_any_pieces(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        delivery = at.sender.signed(b"x" * 4096)
        head = head_of(delivery, ("Transfer-Encoding", "chunked"))
        body = b"".join(b"1\r\nx\r\n" for _ in range(4096)) + b"0\r\n\r\n"
        answer = await raw(at.url, head + body)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert at.ledger.seen[0].body == b"x" * 4096


@pytest.mark.parametrize("coding", ["gzip", "identity, gzip", "br"])
async def test_encoded_body_is_rejected_unread(tmp_path: Path, coding: str) -> None:
    async with running_gateway(tmp_path) as at:
        head = head_of(at.sender.signed(), ("Content-Encoding", coding), length=100)
        assert (await raw(at.url, head)).startswith(b"HTTP/1.1 415 ")


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ((("Host", "other.example"),), b"400"),
        ((("Content-Type", "text/plain"),), b"400"),
        (tuple((f"X-{number}", "1") for number in range(100)), b"431"),
        ((("X-Long", "x" * 33_000),), b"431"),
        ((("Transfer-Encoding", "gzip, chunked"),), b"400"),
    ],
)
async def test_ambiguous_or_large_head_is_rejected(
    tmp_path: Path, more: tuple[tuple[str, str], ...], status: bytes
) -> None:
    async with running_gateway(tmp_path) as at:
        answer = await raw(at.url, head_of(at.sender.signed(), *more))
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert at.ledger.seen == []


async def test_disconnect_before_the_end_sends_nothing(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        delivery = at.sender.signed()
        head = head_of(delivery, length=len(BODY))
        host, _, port = at.url.removeprefix("http://").partition(":")
        with capture_logs() as logs:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(head + BODY[:-1])
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.close()
            await until(lambda: any(line["event"] == "delivery" for line in logs))
        assert last_log_line(logs)["reason"] == "sender-gone"
        assert last_log_line(logs)["verification"] == "not-asked"
        assert at.ledger.seen == []
        assert (await at.sender.send(delivery)).status == 200


async def begun(at: RunningGateway, delivery: Delivery, server: GatewayServer) -> Stream:
    """Send a delivery; return its connection once the target has it, and holds it."""
    at.ledger.gate.clear()
    port = server.servers[0].sockets[0].getsockname()[1]
    stream = await asyncio.open_connection("127.0.0.1", port)
    stream[1].write(head_of(delivery, length=len(BODY)) + BODY)
    await until(lambda: at.ledger.seen)
    return stream


async def test_disconnect_during_forwarding_does_not_lose_the_delivery(
    tmp_path: Path,
) -> None:
    async with running_gateway(tmp_path) as at:
        delivery = at.sender.signed()
        with capture_logs() as logs:
            _, writer = await begun(at, delivery, at.server)
            writer.close()
            await until(lambda: not at.server.server_state.connections)
            at.ledger.gate.set()
            await until(lambda: any(line["event"] == "delivery" for line in logs))
            assert last_log_line(logs)["target_status"] == 204
            assert (await at.sender.send(delivery)).status == 200
        assert last_log_line(logs)["replay"] == "repeated"
        assert len(at.ledger.seen) == 1


@pytest.mark.parametrize("ends", ["stopped", "stopped, its sender gone", "cancelled"])
async def test_server_shutdown_does_not_cancel_a_delivery(
    tmp_path: Path, ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_gateway(tmp_path) as at:
        delivery = at.sender.signed()
        server = GatewayServer(at.gateway, "127.0.0.1", 0)
        server.config.timeout_graceful_shutdown = 0
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        reader, writer = await begun(at, delivery, server)
        if ends == "cancelled":
            serving.cancel()
            await asyncio.wait([serving], timeout=0.1)
            server.servers[0].close()
        else:
            if ends != "stopped":
                writer.close()
                await until(lambda: not server.server_state.connections)
            server.stop()
            await until(lambda: "timeout graceful shutdown exceeded" in caplog.text)
        assert not serving.done()
        at.ledger.gate.set()
        await asyncio.wait([serving])
        if ends == "stopped":
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        with capture_logs() as logs:
            assert (await at.sender.send(delivery)).status == 200
        assert last_log_line(logs)["replay"] == "repeated"
        assert len(at.ledger.seen) == 1


async def test_suspended_endpoint_answers_only_verified_senders(
    tmp_path: Path,
) -> None:
    async with running_gateway(tmp_path, target=None, suspended="the edge is not live") as at:
        heard = await at.sender.sent()
        assert (heard.status, heard.body, heard.headers["Retry-After"]) == (503, b"", "10")
        assert (await at.sender.send(unsigned(at.sender.signed()))).status == 401


async def test_deferred_delivery_claims_nothing(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, target=None, suspended="the edge is not live") as at:
        delivery = at.sender.signed()
        assert (await at.sender.send(delivery)).status == 503
        at.put(at.document | {"target": target(at.ledger.server.port), "suspended": ""})
        assert (await at.sender.send(delivery)).status == 200
        assert len(at.ledger.seen) == 1


async def test_nothing_is_forwarded_without_a_signing_key(tmp_path: Path) -> None:
    async with running_gateway(tmp_path, signs=False) as at:
        assert (await at.sender.sent()).status == 503
        assert at.ledger.seen == []


async def test_unsigned_delivery_is_accepted_until_the_date(tmp_path: Path) -> None:
    text = "a-token-of-gitlabs-1"
    signing = {"name": "GitLabToken", "url": "https://hooks.example/shop/stripe"}
    async with running_gateway(
        tmp_path, keys={"k1": text}, signing=signing, acceptsUnsignedUntil=0
    ) as at:
        sender = at.sends(at.document | {"acceptsUnsignedUntil": 0}, text)
        with capture_logs() as logs:
            assert (await sender.sent()).status == 401
        assert last_log_line(logs)["reason"] == "unsigned-expired"
        assert last_log_line(logs)["verification"] == "refused"
        at.put(at.document | {"acceptsUnsignedUntil": int(at.clock()) + 60}, k1=text)
        with capture_logs() as logs:
            assert (await sender.sent()).status == 200
        assert last_log_line(logs)["verification"] == "unsigned"
        assert len(at.ledger.seen) == 1


async def test_invalid_endpoint_does_not_affect_others(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        with pytest.raises(EndpointError):
            at.put(endpoint("shop/broken", tolerance=0))
        with pytest.raises(EndpointError, match="another endpoint uses it"):
            at.put(endpoint("shop/thief", path="/shop/stripe"), k1=secret(9))
        assert (await at.sender.sent()).status == 200


async def test_change_of_routes_under_load_drops_no_request(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:
        ended = False

        async def change() -> int:
            turns = 0
            while not ended:
                turns += 1
                at.put(at.document | {"tolerance": 300 + turns % 2})
                other = endpoint(f"shop/other-{turns % 7}")
                at.put(other)
                await asyncio.sleep(0)
                at.routes.put(other["endpoint"], None)
            return turns

        changing = asyncio.create_task(change())
        statuses: set[int] = set()
        for _ in range(15):
            heard = await asyncio.gather(*(at.sender.sent() for _ in range(20)))
            statuses |= {each.status for each in heard}
        ended = True
        assert await changing > 15
        assert statuses == {200}
        assert len(at.ledger.seen) == 300


async def test_nothing_secret_is_logged_or_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as logs:
        async with running_gateway(tmp_path) as at:
            sent = [at.sender.signed() for _ in range(3)]
            at.ledger.replies[:] = [Reply(204, (), b""), Reply(500, (), b"an answer of the ledger")]
            for delivery in (*sent, tampered(sent[0]), unsigned(sent[1])):
                await at.sender.send(delivery)
            tokens = [str(seen.headers["Txn-Token"]) for seen in at.ledger.seen]
            await at.sender.send(sent[0])
    assert len(tokens) >= 2
    out = capsys.readouterr()
    everything = f"{logs} {out.out} {out.err} {caplog.text}"
    hidden = [SECRET, SECRET.removeprefix("whsec_"), "amount", "an answer of the ledger", *tokens]
    for delivery in sent:
        hidden += [v.decode() for name, v in delivery.headers if name == b"webhook-signature"]
    assert len(logs) >= 6
    assert [each for each in hidden if each in everything] == []


async def test_internal_error_forwards_nothing_and_quotes_nothing(tmp_path: Path) -> None:
    async with running_gateway(tmp_path) as at:

        def fault(*_: Any) -> None:
            raise RuntimeError(SECRET)

        at.gateway._decisions.key_used = fault
        with capture_logs() as logs:
            heard = await at.sender.sent()
        assert (heard.status, heard.body) == (500, b"")
        assert at.ledger.seen == []
        assert SECRET not in str(logs)
        assert any(line["event"] == "fault" and line["kind"] == "RuntimeError" for line in logs)
