"""The adapter for aiokafka without a broker: options, and records as messages."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from tests.edge.events.trade import ORDER, POLICY, Trade
from tests.patience import PATIENCE
from troth.edge.events.adapters.aiokafka import (
    EventConsumer,
    EventProducer,
    certificate_options,
    client_options,
)
from troth.edge.events.adapters.aiokafka.lane import message_of
from troth.edge.events.adapters.aiokafka.producer import DeadLetterProducer
from troth.edge.events.consumption.handlers import handler
from troth.edge.events.consumption.steps import UnavailableError
from troth.edge.events.event import Event
from troth.edge.identity.snapshot import IdentityError

NOBODY = {"bootstrap_servers": "127.0.0.1:1"}
CREATE_TIME, LOG_APPEND_TIME = 0, 1


def record(timestamp_type: int, headers: Any = ()) -> Any:
    return ConsumerRecord(
        "orders", 3, 17, 1_500, timestamp_type, None, b"data", None, 0, 4, headers
    )


@handler(policy=POLICY)
def ignore(event: Event) -> None: ...


def test_only_the_timestamp_of_the_broker_counts() -> None:
    assert message_of(record(LOG_APPEND_TIME)).stored_at == 1.5
    assert message_of(record(CREATE_TIME)).stored_at is None


def test_record_keeps_its_place() -> None:
    message = message_of(record(CREATE_TIME, (("ce_id", b"1"), ("x", None))))
    assert message.origin == "orders/3@17"
    assert message.attributes == {"id": "1"}


def test_mounted_credential_is_read(tmp_path: Path) -> None:
    lines = [
        "bootstrap.servers=a:1,b:2",
        "security.protocol=sasl_plaintext",
        "sasl.mechanism=SCRAM-SHA-512",
        "sasl.username=checkout",
        "sasl.password=p=w=",
    ]
    (tmp_path / "client.properties").write_text("\n".join(lines))
    assert client_options(tmp_path) == {
        "bootstrap_servers": "a:1,b:2",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "checkout",
        "sasl_plain_password": "p=w=",
    }


def test_identity_is_the_credential_of_clients_by_certificate(trade: Trade) -> None:
    options = certificate_options(trade.identity(trade.checkout), ["a:1", "b:2"])
    assert options["bootstrap_servers"] == "a:1,b:2"
    assert options["security_protocol"] == "SSL"
    assert options["ssl_context"].check_hostname


@pytest.mark.parametrize(
    "changed",
    [
        {"group_id": "another"},
        {"client_id": "mine"},
        {"enable_auto_commit": True},
        {"value_deserializer": bytes},
    ],
)
async def test_configuration_that_would_lose_or_change_messages_is_rejected(
    trade: Trade, changed: dict[str, Any]
) -> None:
    identity = trade.identity(trade.fulfilment)
    (name,) = changed
    consumer = EventConsumer(identity, ignore, NOBODY | changed, duplicates=None)
    with pytest.raises(ValueError, match=name):
        await consumer.run()


async def test_producer_that_may_lose_events_is_rejected(trade: Trade) -> None:
    unsafe = NOBODY | {"enable_idempotence": False}
    with pytest.raises(ValueError, match="idempotence"):
        await EventProducer(trade.identity(trade.checkout), POLICY, unsafe).start()


async def test_producer_that_is_not_started_says_so(trade: Trade) -> None:
    producer = EventProducer(trade.identity(trade.checkout), POLICY, NOBODY)
    with pytest.raises(RuntimeError, match="call start"):
        await producer.produce(ORDER, type="shop.order.placed")


async def test_policy_of_another_broker_is_rejected(trade: Trade) -> None:
    trade.consume(type="nats")
    identity = trade.identity(trade.fulfilment)
    with pytest.raises(ValueError, match="not for kafka"):
        await EventConsumer(identity, ignore, NOBODY, duplicates=None).run()


async def test_stopped_consumer_does_not_begin(trade: Trade) -> None:
    consumer = EventConsumer(trade.identity(trade.fulfilment), ignore, NOBODY, duplicates=None)
    consumer.stop()
    await consumer.run()


async def test_function_is_called_outside_the_event_loop(trade: Trade) -> None:
    threads: list[int] = []

    @handler(policy=POLICY)
    def note(_: Any) -> None:
        threads.append(threading.get_ident())

    @handler(policy=POLICY)
    async def note_too(_: Any) -> None:
        threads.append(threading.get_ident())

    for each in (note, note_too):
        consumer = EventConsumer(trade.identity(trade.fulfilment), each, NOBODY, duplicates=None)
        await consumer._handler.call((None,))
    assert threads[0] != threading.get_ident()
    assert threads[1] == threading.get_ident()


async def test_function_that_raises_stop_iteration_fails(trade: Trade) -> None:
    @handler(policy=POLICY)
    def first(_: Any) -> Any:
        return next(iter(()))

    consumer = EventConsumer(trade.identity(trade.fulfilment), first, NOBODY, duplicates=None)
    with pytest.raises(RuntimeError, match="StopIteration"):
        async with asyncio.timeout(PATIENCE):
            await consumer._handler.call((None,))


@pytest.mark.parametrize("error", [IdentityError("no files yet"), OSError("no such file")])
async def test_dead_letter_waits_while_its_configuration_cannot_be_read(
    trade: Trade, error: Exception
) -> None:
    def configuration() -> Any:
        raise error

    letters = DeadLetterProducer(configuration, POLICY)
    with pytest.raises(UnavailableError, match=type(error).__name__):
        await letters.publish(trade.seal(), None)
