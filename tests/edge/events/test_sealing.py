"""A sealer rejects what consumers would reject, and takes context from the served request."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.edge.events.trade import CHECKOUT, NOW, ORDER, TOPIC, Trade, delivered, leaf, schema
from tests.edge.mounts import transaction_token
from troth.edge.events.attributes import LONGEST_VALUE
from troth.edge.events.bindings import nats
from troth.edge.events.event import Event
from troth.edge.events.rejection import Reason
from troth.edge.events.sealing import SealingError
from troth.edge.identity.files import IdentityError
from troth.edge.inbound.caller import CALLER, Caller
from troth.edge.outbound.transactions import using
from troth.pki.tokens.checks import TransactionToken

BY_TOKEN = {"require": ["Actor", "Subject", "Tenant"], "evidence": "TransactionToken"}
ALL = {"require": ["Actor", "Subject", "Tenant", "RequestID"]}


def reason(trade: Trade, data: bytes = ORDER, /, **options: Any) -> Reason:
    with pytest.raises(SealingError) as caught:
        trade.seal(data, **options)
    return caught.value.reason


@contextmanager
def serving(**context: str) -> Iterator[None]:
    """Serve a request of customer-42 with a verified transaction."""
    transaction = TransactionToken(
        issuer="i",
        trust_domain="d",
        transaction="00000000-0000-0000-0000-000000000007",
        subject="customer-42",
        scopes=frozenset(),
        requester="r",
        context=context,
        request={},
        expires=0,
        issued=0,
        token="t",
    )
    reset = CALLER.set(Caller("w", frozenset(), transaction))
    try:
        yield
    finally:
        CALLER.reset(reset)


def test_data_that_does_not_satisfy_the_schema_is_not_sealed(trade: Trade) -> None:
    with pytest.raises(SealingError, match="SchemaInvalid") as caught:
        trade.seal(b'{"sku":"secret-sku","quantity":0}')
    assert "secret-sku" not in str(caught.value)


def test_event_without_required_context_is_not_sealed(trade: Trade) -> None:
    trade.publish(context=ALL)
    with pytest.raises(SealingError, match="no Subject and Tenant and RequestID"):
        trade.seal()


def test_required_context_comes_from_the_served_request(trade: Trade) -> None:
    trade.publish(context=ALL)
    with serving(tenant="acme"):
        event = trade.open(delivered(trade.seal()))
    assert isinstance(event, Event)
    assert (event.subject, event.tenant) == ("customer-42", "acme")
    assert event.request_id == "00000000-0000-0000-0000-000000000007"


def test_context_that_the_policy_does_not_require_stays_out(trade: Trade) -> None:
    with serving(tenant="acme"):
        event = trade.open(delivered(trade.seal()))
    assert isinstance(event, Event)
    assert (event.subject, event.tenant, event.request_id) == (None, None, None)


def test_token_of_the_current_transaction_is_the_evidence(trade: Trade) -> None:
    trade.publish(context=BY_TOKEN)
    trade.consume(context=BY_TOKEN)
    with using(transaction_token(now=datetime.fromtimestamp(NOW, UTC))):
        event = trade.open(delivered(trade.seal()))
    assert isinstance(event, Event)
    assert (event.subject, event.tenant) == ("customer-42", "blue")


def test_evidence_is_required(trade: Trade) -> None:
    trade.publish(context=BY_TOKEN)
    assert reason(trade, subject="customer-42", tenant="blue") is Reason.TRANSACTION_TOKEN_INVALID


@pytest.mark.parametrize(
    "given", [{"tenant": "globex"}, {"subject": "somebody"}, {"request_id": "r-1"}]
)
def test_context_that_the_evidence_contradicts_is_not_sealed(
    trade: Trade, given: dict[str, str]
) -> None:
    trade.publish(context=BY_TOKEN)
    token = transaction_token(now=datetime.fromtimestamp(NOW, UTC))
    assert reason(trade, ORDER, transaction=token, **given) is Reason.TRANSACTION_TOKEN_INVALID


def test_expired_evidence_is_not_sealed(trade: Trade) -> None:
    trade.publish(context=BY_TOKEN)
    token = transaction_token(now=datetime.fromtimestamp(NOW - 3600, UTC))
    assert reason(trade, transaction=token) is Reason.TRANSACTION_TOKEN_INVALID


@pytest.mark.parametrize("name", ["subject", "tenant", "request_id", "about", "id"])
@pytest.mark.parametrize("value", ["", "a\nb", "\u202e", "x" * 257])
def test_text_that_is_not_printable_is_not_sealed(trade: Trade, name: str, value: str) -> None:
    assert reason(trade, ORDER, **{name: value}) is Reason.MALFORMED


@pytest.mark.parametrize(
    "options", [{"type": "two words"}, {"content_type": "application/cloudevents+json"}]
)
def test_malformed_options_are_not_sealed(trade: Trade, options: dict[str, str]) -> None:
    assert reason(trade, ORDER, **options) is Reason.MALFORMED


def test_topic_is_the_policys(trade: Trade) -> None:
    assert trade.seal().topic == TOPIC
    assert reason(trade, topic="prod.refunds.v1") is Reason.WRONG_TOPIC
    trade.publish(topic=None, prefix="prod.")
    assert reason(trade) is Reason.WRONG_TOPIC
    assert trade.seal(topic="prod.refunds.v1").topic == "prod.refunds.v1"


def test_workload_without_grant_seals_nothing(trade: Trade) -> None:
    trade.publish(action="Consume", producers=[CHECKOUT])
    assert reason(trade) is Reason.NOT_GRANTED


@pytest.mark.parametrize("beside", [{"schemas": None}, {}])
def test_schema_with_a_fault_seals_nothing(trade: Trade, beside: dict[str, Any]) -> None:
    trade.publish(schemaFault="SchemaMissing", **beside)
    assert reason(trade) is Reason.SCHEMA_UNAVAILABLE


def test_large_data_is_not_sealed(trade: Trade) -> None:
    trade.publish(schemas=None)
    assert reason(trade, b"x" * (1024 * 1024 + 1)) is Reason.TOO_LARGE


def test_topic_that_consumers_reject_is_not_sealed(trade: Trade) -> None:
    trade.publish(topic=None, prefix="prod.")
    trade.consume(topic=None, prefix="prod.")
    longest_topic = "prod." + "x" * (LONGEST_VALUE - 5)
    sealed = trade.seal(topic=longest_topic)
    assert isinstance(trade.open(nats.read(sealed.topic, nats.headers(sealed), ORDER)), Event)
    assert reason(trade, topic=longest_topic + "x") is Reason.TOO_LARGE


def test_expired_certificate_seals_nothing(trade: Trade) -> None:
    trade.publish(leaf(CHECKOUT, lifetime=timedelta(hours=1)))
    trade.now += 3600
    assert reason(trade) is Reason.CERTIFICATE_INVALID


def test_identity_without_certificate_seals_nothing(trade: Trade) -> None:
    sealer = trade.sealer()
    files = trade.checkout.identity
    document = (files.path / "identity.json").read_bytes()
    roots = (files.path / "ca.crt").read_bytes()
    for name in ("tls.crt", "tls.key"):
        (files.path / name).unlink()
    files.write({"identity.json": document, "ca.crt": roots})
    with pytest.raises(IdentityError, match="no certificate to sign events with"):
        sealer.seal(ORDER, type="shop.order.placed")


def test_renewed_key_seals_the_next_event(trade: Trade) -> None:
    sealer = trade.sealer()
    first = sealer.seal(ORDER, type="shop.order.placed")
    trade.publish()
    second = sealer.seal(ORDER, type="shop.order.placed")
    assert first.attributes["trothchain"] != second.attributes["trothchain"]
    assert isinstance(trade.open(delivered(second)), Event)


def test_newest_schema_that_the_data_satisfies_is_named(trade: Trade) -> None:
    newer = schema('{"required":["currency"],"type":"object"}')
    trade.publish(schemas=[newer, schema()])
    old = trade.seal().attributes["dataschema"]
    new = trade.seal(b'{"currency":"EUR"}').attributes["dataschema"]
    assert schema()["digest"] in old
    assert newer["digest"] in new


def test_id_can_be_chosen_and_is_otherwise_unique(trade: Trade) -> None:
    assert trade.seal(id="order-7").attributes["id"] == "order-7"
    assert trade.seal().attributes["id"] != trade.seal().attributes["id"]
