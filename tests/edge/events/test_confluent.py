"""The adapter for confluent-kafka without a broker: configuration, and records as messages."""

from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, KafkaError
from confluent_kafka import Message as Record

from tests.edge.events.trade import ORDER, POLICY, Trade
from troth.edge.events.adapters.confluent import (
    EventConsumer,
    EventProducer,
    certificate_properties,
    client_properties,
)
from troth.edge.events.adapters.confluent import consumer as consumer_module
from troth.edge.events.adapters.confluent.consumer import _message
from troth.edge.events.adapters.confluent.producer import DeadLetterProducer
from troth.edge.events.adapters.kafka_files import LONGEST_LETTER_KEY, letter_key
from troth.edge.events.consumption.flow import UnavailableError
from troth.edge.events.consumption.handlers import handler
from troth.edge.events.event import Event
from troth.edge.events.rejection import Reason

NOBODY = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}


class Delivered:
    """A record as the library returns it."""

    def __init__(self, timestamp: tuple[int, int], headers: Any = ()) -> None:
        self._timestamp, self._headers = timestamp, headers

    def topic(self) -> str:
        return "orders"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 17

    def value(self) -> bytes:
        return b"data"

    def timestamp(self) -> tuple[int, int]:
        return self._timestamp

    def headers(self) -> Any:
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers or None


def received(timestamp: tuple[int, int], headers: Any = ()) -> Any:
    return _message(cast("Record", Delivered(timestamp, headers)))


@handler(policy=POLICY)
def ignore(event: Event) -> None: ...


def test_only_the_timestamp_of_the_broker_counts() -> None:
    assert received((TIMESTAMP_LOG_APPEND_TIME, 1_500)).stored_at == 1.5
    assert received((TIMESTAMP_CREATE_TIME, 1_500)).stored_at is None


def test_record_keeps_its_place() -> None:
    message = received((TIMESTAMP_CREATE_TIME, 0), [("ce_id", b"1")])
    assert message.origin == "orders/3@17"
    assert message.attributes == {"id": "1"}


def test_record_whose_headers_cannot_be_read_is_malformed() -> None:
    fault = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    message = received((TIMESTAMP_LOG_APPEND_TIME, 1_500), fault)
    assert message.fault is not None
    assert message.fault.reason is Reason.MALFORMED
    assert (message.origin, message.stored_at) == ("orders/3@17", 1.5)


def test_mounted_credential_is_read_from_anywhere(tmp_path: Path) -> None:
    lines = ["bootstrap.servers=a:1,b:2", "sasl.password=p=w=", "ssl.ca.location=ca.crt", ""]
    (tmp_path / "client.properties").write_text("\n".join(lines))
    assert client_properties(tmp_path) == {
        "bootstrap.servers": "a:1,b:2",
        "sasl.password": "p=w=",
        "ssl.ca.location": str(tmp_path / "ca.crt"),
    }


def test_identity_is_the_credential_of_clients_by_certificate(trade: Trade) -> None:
    identity = trade.identity(trade.checkout)
    properties = certificate_properties(identity, ["a:1", "b:2"], "/roots.pem")
    assert properties == {
        "bootstrap.servers": "a:1,b:2",
        "security.protocol": "ssl",
        "ssl.certificate.location": str(trade.checkout.identity.path / "tls.crt"),
        "ssl.key.location": str(trade.checkout.identity.path / "tls.key"),
        "ssl.ca.location": "/roots.pem",
    }
    assert "ssl.ca.location" not in certificate_properties(identity, ["a:1"])


@pytest.mark.parametrize(
    "changed",
    [
        {"group.id": "another"},
        {"client.id": "mine"},
        {"enable.auto.offset.store": True},
        {"enable.auto.commit": "false"},
    ],
)
def test_configuration_that_would_lose_messages_is_rejected(
    trade: Trade, changed: dict[str, Any]
) -> None:
    identity = trade.identity(trade.fulfilment)
    (name,) = changed
    with (
        pytest.raises(ValueError, match=name),
        EventConsumer(identity, ignore, NOBODY | changed, duplicates=None) as consumer,
    ):
        consumer.poll(0)


def test_producer_that_may_lose_events_is_rejected(trade: Trade) -> None:
    identity = trade.identity(trade.checkout)
    with pytest.raises(ValueError, match="idempotence"):
        EventProducer(identity, POLICY, NOBODY | {"enable.idempotence": False})


def test_policy_of_another_broker_is_rejected(trade: Trade) -> None:
    trade.consume(type="nats")
    identity = trade.identity(trade.fulfilment)
    with (
        pytest.raises(ValueError, match="not for kafka"),
        EventConsumer(identity, ignore, NOBODY, duplicates=None) as consumer,
    ):
        consumer.poll(0)


def test_coroutine_is_no_handler_for_threads(trade: Trade) -> None:
    @handler(policy=POLICY)
    async def wait(event: Event) -> None: ...

    with pytest.raises(TypeError, match="plain function"):
        EventConsumer(trade.identity(trade.fulfilment), wait, NOBODY, duplicates=None)


def test_configuration_is_read_for_each_connection(trade: Trade) -> None:
    reads: list[int] = []

    def configuration() -> dict[str, Any]:
        reads.append(1)
        return NOBODY

    identity = trade.identity(trade.fulfilment)
    with EventConsumer(identity, ignore, configuration, duplicates=None) as consumer:
        assert reads == []
        consumer.poll(0)
        consumer.poll(0)
        assert len(reads) == 1
        trade.consume(group="prod.another")
        consumer.poll(0)
        assert len(reads) == 2


@pytest.mark.parametrize(
    "code",
    [KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL],
)
def test_configuration_is_read_again_if_the_broker_rejects_the_credential(
    trade: Trade, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    reads: list[int] = []

    def configuration() -> dict[str, Any]:
        reads.append(1)
        return NOBODY

    monkeypatch.setattr(consumer_module, "RECONNECT_SECONDS", float("inf"))
    identity = trade.identity(trade.fulfilment)
    with EventConsumer(identity, ignore, configuration, duplicates=None) as consumer:
        consumer.poll(0)
        consumer._report(KafkaError(code))
        consumer.poll(0)
        assert len(reads) == 1
        monkeypatch.setattr(consumer_module, "RECONNECT_SECONDS", 0.0)
        consumer.poll(0)
        consumer.poll(0)
        assert len(reads) == 2
        consumer._report(KafkaError(KafkaError._TRANSPORT))
        consumer.poll(0)
        assert len(reads) == 2


def test_consumer_stays_while_its_credential_cannot_be_read(
    trade: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing: list[Exception] = []

    def configuration() -> dict[str, Any]:
        for each in missing:
            raise each
        return NOBODY

    monkeypatch.setattr(consumer_module, "RECONNECT_SECONDS", 0.0)
    identity = trade.identity(trade.fulfilment)
    with EventConsumer(identity, ignore, configuration, duplicates=None) as consumer:
        consumer.poll(0)
        before = consumer._consumer
        consumer._report(KafkaError(KafkaError._AUTHENTICATION))
        missing.append(FileNotFoundError("client.properties"))
        consumer.poll(0)
        assert consumer._consumer is before
        missing.clear()
        consumer.poll(0)
        assert consumer._consumer is not before


def test_dead_letter_waits_while_its_producer_cannot_be_created(trade: Trade) -> None:
    failures = [FileNotFoundError("client.properties"), None]

    def configuration() -> dict[str, Any]:
        failure = failures.pop(0)
        if failure is not None:
            raise failure
        return {**NOBODY, "security.protocol": "ssl", "ssl.ca.location": "/missing"}

    letters = DeadLetterProducer(configuration, POLICY)
    sealed = trade.seal()
    for cause in ("FileNotFoundError", "KafkaException"):
        with pytest.raises(UnavailableError, match=cause):
            letters.send(sealed, None)


def test_dead_letter_has_no_long_key() -> None:
    assert letter_key(None) is None
    assert letter_key(b"x" * LONGEST_LETTER_KEY) == b"x" * LONGEST_LETTER_KEY
    assert letter_key(b"x" * (LONGEST_LETTER_KEY + 1)) is None


def test_event_that_is_not_published_is_logged(
    trade: Trade, caplog: pytest.LogCaptureFixture
) -> None:
    identity = trade.identity(trade.checkout)
    given = NOBODY | {"message.timeout.ms": 1}
    failures: list[Any] = []
    with EventProducer(identity, POLICY, given, clock=trade.clock) as producer:
        producer.produce(ORDER, type="shop.order.placed")
        producer.produce(
            ORDER, type="shop.order.placed", on_delivery=lambda error, _: failures.append(error)
        )
    logged = [each.message for each in caplog.records if each.levelname == "ERROR"]
    assert logged == ["Event is not published: topic prod.orders.v1: _MSG_TIMED_OUT"]
    assert [each.name() for each in failures] == ["_MSG_TIMED_OUT"]
