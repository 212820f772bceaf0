"""The spans of reconciles, as a collector gets them."""

from base64 import b64decode

import pytest

from tests.builders import accept, call, domain, identity, namespace
from tests.reconcile.memory_brokers import in_memory
from tests.reconcile.serving import Server, running
from tests.reconcile.status.test_debounce import BROKER, MARKET
from tests.serving.collector import Collector, Seen, collecting, traced
from troth.cluster.errors import ApiError
from troth.reconcile.brokers.work import BrokerWork
from troth.reconcile.runtime.instrumentation import Instrumentation
from troth.resources.references import Ref

SHOP = [namespace("shop", domain="production"), domain()]
PAYMENTS = identity("payments", ports=["https"], accepts=[accept("checkout")])
CHECKOUT = identity("checkout", calls=[call("payments")])
PLACE = Ref("shop", "payments")


async def reconciled(collector: Collector, monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Reconcile all objects of a server, and all brokers."""
    with traced(collector, monkeypatch) as tracer, in_memory():
        async with running(server, instrumentation=Instrumentation(tracer=tracer)) as it:
            await it.settle()
            work = it.engine.background
            assert isinstance(work, BrokerWork)
            while work.busy:
                await work.settled()
                await it.settle()
            await it.engine.close()


def of(collector: Collector, name: str) -> list[Seen]:
    return [span for span in collector.spans if span.name == name]


def below(collector: Collector, parent: Seen) -> list[str]:
    return [span.name for span in collector.spans if span.parent == parent.span_id]


async def test_reconcile_is_traced_with_its_plans_and_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server([*SHOP, PAYMENTS, CHECKOUT])
    with collecting() as collector:
        await reconciled(collector, monkeypatch, server)
        spans = of(collector, "reconcile ServiceIdentity")
        assert {span.parent for span in spans} == {""}
        assert len({span.trace_id for span in spans}) == len(spans)
        last = [each for each in spans if each.attributes["troth.resource.name"] == "payments"][-1]
        assert last.attributes == {
            "troth.resource.kind": "ServiceIdentity",
            "troth.resource.namespace": "shop",
            "troth.resource.name": "payments",
            "troth.outcome": "settled",
            "troth.reason": server.condition("ServiceIdentity", PLACE, "Ready")["reason"],
        }
        writing = next(each for each in spans if "WriteStatus" in below(collector, each))
        assert "plan" in below(collector, writing)
        applied = next(
            each
            for each in of(collector, "Apply")
            if each.attributes["troth.target.kind"] == "NetworkPolicy"
        )
        assert applied.parent in {each.span_id for each in spans}
        assert applied.attributes["troth.target.namespace"] == "shop"


async def test_refused_write_is_a_failed_span_with_a_reason_and_no_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server([*SHOP, PAYMENTS])
    refusal = ApiError(403, "Forbidden", "kanarie-4711")
    server.refuses = lambda place: refusal if place[0] == "NetworkPolicy" else None
    with collecting() as collector:
        await reconciled(collector, monkeypatch, server)
        failed = {span.name: span for span in collector.spans if span.failed}
        assert failed["Apply"].attributes == {
            "troth.target.kind": "NetworkPolicy",
            "troth.target.namespace": "shop",
            "troth.target.name": "payments-troth",
            "error.type": "Forbidden",
            "http.response.status_code": 403,
        }
        assert b"kanarie-4711" not in b"".join(collector.bodies)
        assert "again" in {span.attributes.get("troth.outcome") for span in collector.spans}


async def test_batch_at_a_broker_is_traced_below_its_reconcile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector:
        await reconciled(collector, monkeypatch, Server([*MARKET, BROKER]))
        reconciles = {each.span_id for each in of(collector, "reconcile MessageBroker")}
        observed, changed = of(collector, "ObserveBroker"), of(collector, "ChangeBroker")
        assert observed
        assert {each.parent for each in (*observed, *changed)} <= reconciles
        granted = changed[-1]
        assert granted.attributes["troth.target.name"] == "main"
        assert granted.attributes["troth.broker.grants"] > 0
        assert granted.attributes["troth.broker.refused"] == 0


async def test_spans_of_reconciles_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server([*MARKET, BROKER, PAYMENTS])
    with collecting() as collector:
        await reconciled(collector, monkeypatch, server)
        exported = b"".join(collector.bodies)
        secrets = [
            each
            for (kind, _), stored in server.objects.items()
            if kind == "Secret"
            for value in (stored.get("data") or {}).values()
            for each in (value.encode(), b64decode(value))
            if len(each) > 12
        ]
        assert len(secrets) > 10
        assert [each for each in secrets if each in exported] == []
        assert b"PRIVATE KEY" not in exported
        assert all(span.events == 0 for span in collector.spans)
