"""Sealed events with FastStream at a real Kafka: nothing unverified reaches a handler."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiokafka.helpers import create_ssl_context
from faststream.exceptions import SetupError
from faststream.kafka import KafkaBroker, KafkaMessage
from faststream.middlewares import AckPolicy
from faststream.security import SASLScram256, SASLScram512
from pydantic import BaseModel

from tests.brokers.kafka.async_events import AsyncMarks, options
from tests.brokers.kafka.events import KafkaMarket
from tests.brokers.kafka.test_async_events import dead
from tests.brokers.kafka.test_events import LONG_KEY, poison
from tests.brokers.nats.stage import until
from tests.edge.events.consumer import Marks
from tests.edge.events.trade import CHECKOUT, ORDER, POLICY
from troth.edge.events.adapters.faststream.events import VerifiedEvent, attributes
from troth.edge.events.adapters.faststream.guard import _STOPPING
from troth.edge.events.adapters.faststream.kafka import EventMiddleware
from troth.edge.events.bindings import kafka as binding
from troth.edge.events.rejection import Reason
from troth.edge.events.sealing import SealingError

SECURITY = {"SCRAM-SHA-256": SASLScram256, "SCRAM-SHA-512": SASLScram512}


class Order(BaseModel):
    sku: str
    quantity: int


def broker_of(market: KafkaMarket, principal: str, middleware: EventMiddleware) -> KafkaBroker:
    given = market.properties(principal)
    security = SECURITY[given["sasl.mechanism"]](
        username=given["sasl.username"],
        password=given["sasl.password"],
        ssl_context=create_ssl_context(cafile=given["ssl.ca.location"]),
        use_ssl=True,
    )
    return KafkaBroker(
        given["bootstrap.servers"],
        security=security,
        middlewares=[middleware],
        allow_auto_create_topics=False,
        logger=None,
    )


class Fulfilment:
    """A FastStream application that consumes orders."""

    def __init__(self, market: KafkaMarket, **given: Any) -> None:
        self.market = market
        self.middleware = EventMiddleware(
            market.market.identity(market.market.fulfilment),
            options(market, market.fulfilment),
            consumes=POLICY,
            **({"duplicates": None} | given),
        )
        self.broker = broker_of(market, market.fulfilment, self.middleware)
        self.orders: list[Order] = []

    def subscriber(self, *, topic: str = "", **changed: Any) -> Callable[..., Any]:
        given: dict[str, Any] = {
            "group_id": self.market.market.group,
            "auto_offset_reset": "earliest",
            "ack_policy": AckPolicy.MANUAL,
        }
        topic = topic or self.market.topic
        subscriber: Callable[..., Any] = self.broker.subscriber(topic, **(given | changed))
        return subscriber

    def handle(self, **changed: Any) -> None:
        @self.subscriber(**changed)
        async def place(order: Order, event: VerifiedEvent) -> None:
            self.orders.append(order)
            self.market.handled.append(event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.broker.start()
        try:
            yield
        finally:
            await self.broker.stop()
            subscribers: list[Any] = self.broker.subscribers
            for each in subscribers:
                # aiokafka does not close it if a fetch waits after an error; see closing.py
                if each.consumer is not None:
                    # FastStream's time limit may have cancelled the end of a connection
                    with suppress(asyncio.CancelledError):
                        await each.consumer._client.close()
            await self.middleware.close()


@asynccontextmanager
async def checkout(market: KafkaMarket) -> AsyncIterator[KafkaBroker]:
    """A FastStream application that publishes orders."""
    identity = market.market.identity(market.market.checkout)
    middleware = EventMiddleware(identity, {}, publishes=POLICY)
    broker = broker_of(market, market.checkout, middleware)
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def test_order_arrives_as_its_model_with_the_verified_event(market: KafkaMarket) -> None:
    await market.open()
    app = Fulfilment(market)
    app.handle()
    headers = attributes("shop.order.placed", tenant="acme", subject="customer-42")
    async with checkout(market) as broker:
        await broker.publish(Order(sku="A-1", quantity=2), topic=market.topic, headers=headers)
    async with app.running():
        await until(lambda: market.handled)
    assert app.orders == [Order(sku="A-1", quantity=2)]
    (event,) = market.handled
    assert (event.actor, event.tenant, event.subject) == (CHECKOUT, "acme", "customer-42")
    assert market.committed() == {0: 1}
    assert market.letters() == []


async def test_event_that_consumers_would_reject_is_not_published(market: KafkaMarket) -> None:
    await market.open()
    placed = attributes("shop.order.placed")
    async with checkout(market) as broker:
        with pytest.raises(SealingError):
            await broker.publish({"sku": 1}, topic=market.topic, headers=placed)
        with pytest.raises(SealingError):
            await broker.publish(ORDER, topic="elsewhere", headers=placed)
        with pytest.raises(ValueError, match="no type"):
            await broker.publish(ORDER, topic=market.topic)
        with pytest.raises(ValueError, match="batch"):
            await broker.publish_batch(ORDER, ORDER, topic=market.topic, headers=placed)
        with pytest.raises(ValueError, match="replies"):
            await broker.publish(ORDER, topic=market.topic, headers=placed, reply_to="answers")
    assert market.records(market.topic) == []


async def test_rejected_messages_reach_the_dead_letters_and_no_handler(market: KafkaMarket) -> None:
    await market.open()
    poison(market)
    market.inject([("ce_id", b"\xff")], b"")
    market.inject([("x", None)], None)
    market.publish()
    app = Fulfilment(market)
    app.handle()
    async with app.running():
        await until(lambda: market.handled)
    assert len(market.handled) == 1
    assert market.reasons() == ["Unsigned", "Malformed", "Malformed"]
    assert market.committed() == {0: 4}


async def test_nothing_is_committed_before_the_dead_letter_is_acknowledged(
    market: KafkaMarket,
) -> None:
    await market.open(dead_letters=False)
    poison(market)
    market.publish()
    waits: list[str] = []

    class Hooks:
        def consumed(self, _: Any) -> None: ...

        def waited(self, reason: str, _: float) -> None:
            waits.append(reason)

    app = Fulfilment(market, hooks=Hooks())
    app.handle()
    async with app.running():
        await until(lambda: waits.count("DeadLetterNotPublished") >= 2)
        assert market.committed() == {}
        await market.grant_dead_letters()
        await until(lambda: market.handled)
    assert market.reasons() == ["Unsigned"]
    assert market.committed() == {0: 2}


async def test_parser_and_decoder_of_the_application_see_nothing_else(market: KafkaMarket) -> None:
    await market.open()
    poison(market)
    forged = [("x-tenant", b"globex"), ("correlation_id", b"forged"), ("reply_to", b"stolen")]
    sealed = market.market.seal(topic=market.topic, tenant="acme")
    market.inject([*binding.headers(sealed), *forged], sealed.data)
    app = Fulfilment(market)
    parsed: list[bytes] = []
    seen: list[Any] = []

    async def parse(record: Any, original: Any) -> Any:
        parsed.append(record.value)
        message = await original(record)
        message.body = b'{"sku":"forged","quantity":9}'
        return message

    @app.subscriber(no_reply=False, parser=parse)
    async def place(order: Order, message: KafkaMessage, event: VerifiedEvent) -> str:
        seen.append((order, dict(message.headers), message.reply_to, message.correlation_id))
        market.handled.append(event)
        return "answer"

    async with app.running():
        await until(lambda: market.handled)
    assert parsed == [ORDER]
    (event,) = market.handled
    verified = {"content-type": "application/json"}
    assert seen == [(Order(sku="A-1", quantity=2), verified, "", event.id)]
    assert market.committed() == {0: 2}


async def test_handler_that_fails_is_called_again_and_then_rejected(market: KafkaMarket) -> None:
    await market.open()
    sent = market.publish(count=2)
    app = Fulfilment(market, attempts=2, first_pause=0.01, duplicates=AsyncMarks(Marks()))
    calls: list[str] = []

    @app.subscriber()
    async def fail(order: Order, event: VerifiedEvent) -> None:
        calls.append(event.id)
        if event.id == sent[0]:
            raise ValueError("card 4111")

    async with app.running():
        await until(lambda: sent[1] in calls)
    assert calls == [sent[0], sent[0], sent[1]]
    (letter,) = market.letters()
    assert (letter.rejection.reason, letter.attempts) == (Reason.HANDLER_FAILED, 2)
    assert "4111" not in letter.rejection.detail
    assert market.committed() == {0: 2}


async def test_message_that_cannot_be_parsed_is_rejected(market: KafkaMarket) -> None:
    await market.open()
    market.publish(count=2)
    app = Fulfilment(market, attempts=2, first_pause=0.01)
    parsed: list[int] = []

    async def parse(record: Any, original: Any) -> Any:
        parsed.append(record.offset)
        if record.offset == 0:
            raise LookupError("no schema registry")
        return await original(record)

    @app.subscriber(parser=parse)
    async def place(order: Order, event: VerifiedEvent) -> None:
        market.handled.append(event)

    async with app.running():
        await until(lambda: market.handled)
    assert market.reasons() == ["HandlerFailed"]
    assert market.committed() == {0: 2}


async def test_copy_of_an_event_is_a_duplicate(market: KafkaMarket) -> None:
    await market.open()
    sealed = market.market.seal(topic=market.topic)
    for _ in range(2):
        market.inject([*binding.headers(sealed)], sealed.data)
    app = Fulfilment(market, duplicates=AsyncMarks(Marks()))
    app.handle()
    async with app.running():
        await dead(market, 1)
    assert len(market.handled) == 1
    assert market.reasons() == ["Duplicate"]


async def test_event_whose_result_is_not_published_is_delivered_again(market: KafkaMarket) -> None:
    await market.open()
    market.publish()
    marks = Marks()
    app = Fulfilment(market, first_pause=0.01, duplicates=AsyncMarks(marks))
    failures = [OSError("the broker is away")]

    class Publisher:
        async def _publish(self, *_: Any, **__: Any) -> None:
            if failures:
                raise failures.pop()

    @app.subscriber()
    async def place(order: Order, event: VerifiedEvent) -> str:
        market.handled.append(event)
        return "placed"

    place._publishers.append(Publisher())
    async with app.running():
        await until(lambda: len(market.handled) == 2 and marks.consumed)
    assert market.committed() == {0: 1}


@pytest.mark.parametrize(
    "error", [SealingError(Reason.SCHEMA_INVALID, "no quantity"), ValueError("no type")]
)
async def test_event_whose_result_can_never_be_published_is_rejected(
    market: KafkaMarket, error: Exception
) -> None:
    await market.open()
    market.publish(count=2)
    app = Fulfilment(market, attempts=2, first_pause=0.01, duplicates=AsyncMarks(Marks()))

    class Publisher:
        async def _publish(self, *_: Any, **__: Any) -> None:
            if len(market.handled) == 1:
                raise error

    @app.subscriber()
    async def place(order: Order, event: VerifiedEvent) -> str:
        market.handled.append(event)
        return "placed"

    place._publishers.append(Publisher())
    async with app.running():
        await until(lambda: len(market.handled) == 2)
    (letter,) = market.letters()
    assert (letter.rejection.reason, letter.attempts) == (Reason.HANDLER_FAILED, 2)
    assert market.committed() == {0: 2}


async def test_message_with_a_long_key_is_rejected_without_its_key(market: KafkaMarket) -> None:
    await market.open()
    poison(market, key=LONG_KEY, most=2_000_000)
    market.publish()
    app = Fulfilment(market)
    app.handle()
    async with app.running():
        await until(lambda: market.handled)
    assert market.reasons() == ["Unsigned"]
    assert market.committed() == {0: 2}


@pytest.mark.parametrize(
    "changed",
    [
        {"ack_policy": AckPolicy.ACK_FIRST},
        {"ack_policy": AckPolicy.NACK_ON_ERROR},
        {"ack_policy": AckPolicy.ACK_FIRST, "max_workers": 2},
        {"batch": True},
        {"batch": True, "ack_policy": AckPolicy.ACK_FIRST},
    ],
)
async def test_subscriber_that_would_lose_messages_is_refused(
    market: KafkaMarket, changed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    await market.open()
    market.publish()
    app = Fulfilment(market)

    @app.subscriber(**changed)
    async def place(body: Any) -> None:
        market.handled.append(body)

    async with app.running():
        await until(lambda: "Subscriber stops" in caplog.text and not _STOPPING)
    assert market.handled == []
    assert market.committed().get(0, 0) == 0


async def test_rejected_message_stops_a_subscriber_without_dead_letter_topic(
    market: KafkaMarket, caplog: pytest.LogCaptureFixture
) -> None:
    await market.open()
    market.market.consume(deadLetter=None)
    market.publish()
    poison(market)
    market.publish()
    app = Fulfilment(market)
    app.handle()
    async with app.running():
        await until(lambda: "Subscriber stops" in caplog.text and not _STOPPING)
    assert len(market.handled) == 1
    assert market.committed() == {0: 1}


async def test_single_message_without_handler_is_refused(market: KafkaMarket) -> None:
    await market.open()
    poison(market)
    app = Fulfilment(market)
    subscriber: Any = app.subscriber()
    async with app.running():
        with pytest.raises(SetupError, match="use a handler"):
            await subscriber.get_one(timeout=60.0)
