"""The spans of real deliveries, as a collector gets them."""

from pathlib import Path

import pytest

from tests.edge.loopback import Reply
from tests.serving.collector import Collector, collecting, traced
from tests.webhooks.gateway.running import (
    BODY,
    LEDGER,
    OTHER_SECRET,
    SECRET,
    head_of,
    raw,
    running_gateway,
    secret,
)
from troth.webhooks.schemes.delivery import Delivery

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CANARY = "kanarie-4711"


def with_headers(delivery: Delivery, *more: tuple[bytes, bytes]) -> Delivery:
    return Delivery(delivery.method, delivery.target, (*delivery.headers, *more), delivery.body)


def is_sampled(parent: str) -> bool:
    return bool(int(parent.split("-")[3], 16) & 1)


async def test_delivery_is_traced_through_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        with traced(collector, monkeypatch) as tracer:
            async with running_gateway(tmp_path, tracer=tracer) as at:
                assert (await at.sender.send(at.sender.signed(name="msg_1"))).status == 200
                (seen,) = at.ledger.seen
                transaction = at.ledger.token().transaction
        server = collector.one("POST /shop/stripe")
        assert (server.kind, server.parent, server.failed) == ("SERVER", "", False)
        assert server.attributes == {
            "http.request.method": "POST",
            "http.route": "/shop/stripe",
            "url.path": "/shop/stripe",
            "http.response.status_code": 200,
            "http.request.header.content-type": "application/json",
            "troth.webhook.endpoint": "shop/stripe",
            "troth.webhook.scheme": "StandardWebhooks",
            "troth.webhook.verification": "verified",
            "troth.webhook.replay": "new",
            "troth.webhook.workflow": "settle-charge",
            "troth.webhook.delivery_id": "msg_1",
            "troth.transaction": transaction,
        }
        verification = collector.one("verify")
        assert verification.parent == server.span_id
        assert verification.attributes == {
            "troth.webhook.endpoint": "shop/stripe",
            "troth.webhook.scheme": "StandardWebhooks",
            "troth.webhook.verification": "verified",
        }
        client = collector.one("POST")
        assert (client.kind, client.parent, client.failed) == ("CLIENT", server.span_id, False)
        assert client.attributes == {
            "http.request.method": "POST",
            "server.address": "localhost",
            "server.port": at.ledger.server.port,
            "url.path": "/events/stripe",
            "http.response.status_code": 204,
            "troth.target": LEDGER,
            "troth.transaction": transaction,
        }
        parent = seen.headers["traceparent"]
        assert parent.startswith(f"00-{server.trace_id}-{client.span_id}-")
        assert is_sampled(parent)
        assert seen.headers["X-Request-Id"] == transaction


async def test_senders_trace_is_linked_if_the_delivery_is_verified_and_never_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = ((b"traceparent", PARENT.encode()), (b"tracestate", f"vendor={CANARY}".encode()))
    with collecting() as collector:
        with traced(collector, monkeypatch) as tracer:
            async with running_gateway(tmp_path, tracer=tracer) as at:
                await at.sender.send(with_headers(at.sender.signed(), *sent))
                forged = at.sends(at.document, OTHER_SECRET).signed()
                await at.sender.send(with_headers(forged, *sent))
                (seen,) = at.ledger.seen
        accepted, rejected = (each for each in collector.spans if each.kind == "SERVER")
        foreign = PARENT.split("-")[1]
        assert accepted.links == ((foreign, "b7ad6b7169203331"),)
        assert rejected.links == ()
        assert foreign not in {accepted.trace_id, rejected.trace_id}
        assert foreign not in seen.headers["traceparent"]
        assert "tracestate" not in seen.headers


async def test_sender_does_not_decide_what_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_always_off"}
    with collecting() as collector:
        with traced(collector, monkeypatch, **sampler) as tracer:
            async with running_gateway(tmp_path, tracer=tracer) as at:
                sent = with_headers(at.sender.signed(), (b"traceparent", PARENT.encode()))
                assert (await at.sender.send(sent)).status == 200
                (seen,) = at.ledger.seen
        assert collector.spans == []
        assert not is_sampled(seen.headers["traceparent"])


async def test_rejected_delivery_and_failed_target_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with collecting() as collector:
        with traced(collector, monkeypatch) as tracer:
            async with running_gateway(tmp_path, tracer=tracer) as at:
                await at.sends(at.document, OTHER_SECRET).sent()
                at.ledger.replies.append(Reply(500, (), b""))
                await at.sender.sent()
                await raw(at.url, head_of(Delivery("POST", b"/scan", (), b""), length=0))
        rejected, failed = (each for each in collector.spans if each.kind == "SERVER")
        assert not rejected.failed
        assert rejected.attributes["troth.webhook.verification"] == "refused"
        assert rejected.attributes["http.response.status_code"] == 401
        assert "http.request.header.content-type" not in rejected.attributes
        refused = next(each for each in collector.spans if each.parent == rejected.span_id)
        assert (refused.failed, refused.attributes["troth.webhook.reason"]) == (
            False,
            rejected.attributes["troth.webhook.reason"],
        )
        assert failed.failed
        assert failed.attributes["error.type"] == "target-refused"
        client = collector.one("POST")
        assert (client.failed, client.attributes["error.type"]) == (True, "500")


async def test_spans_hold_no_secret_signature_body_or_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ((b"authorization", CANARY.encode()), (b"cookie", CANARY.encode()))
    with collecting() as collector:
        with traced(collector, monkeypatch) as tracer:
            async with running_gateway(tmp_path, tracer=tracer) as at:
                for sender in (at.sender, at.sends(at.document, OTHER_SECRET)):
                    signed = with_headers(sender.signed(BODY), *more)
                    target = signed.target + b"?token=" + CANARY.encode()
                    await sender.send(Delivery(signed.method, target, signed.headers, signed.body))
                tokens = [str(seen.headers["Txn-Token"]) for seen in at.ledger.seen]
                signature = dict(signed.headers)[b"webhook-signature"]
        exported = b"".join(collector.bodies)
        assert len(collector.spans) == 5
        assert all(span.events == 0 for span in collector.spans)
        secrets = [CANARY, SECRET, OTHER_SECRET, secret(1), *tokens, BODY.decode()]
        hidden = [*(each.encode() for each in secrets), signature.split(b",")[1]]
        assert [each for each in hidden if each in exported] == []


@pytest.mark.parametrize("collector_is", ["away", "slow", "refusing"])
async def test_collector_that_is_away_or_slow_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector_is: str
) -> None:
    small = {
        "OTEL_BSP_MAX_QUEUE_SIZE": "8",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    monkeypatch.setattr("troth.serving.otel.CLOSE_WITHIN", 0.1)
    with collecting() as collector:
        used = Collector(port=1) if collector_is == "away" else collector
        collector.status = 400 if collector_is == "refusing" else 200
        if collector_is == "slow":
            collector.open.clear()
        with traced(used, monkeypatch, **small) as tracer:
            async with running_gateway(tmp_path, tracer=tracer) as at:
                answers = [(await at.sender.sent()).status for _ in range(20)]
                if collector_is == "slow":
                    assert collector.asked.is_set() or collector.asked.wait(10)
                    answers += [(await at.sender.sent()).status for _ in range(5)]
        assert set(answers) == {200}
