"""Sealed events with FastStream at a real NATS, with JetStream and without."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from faststream.middlewares import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from faststream.nats.security import NatsCredentials
from nats.aio.client import RawCredentials
from pydantic import BaseModel

from tests.brokers.nats.events import GROUP, STREAM, TOPIC, NatsMarket
from tests.brokers.nats.stage import Stage, sent, until
from tests.brokers.nats.test_events import remembering, settled
from tests.edge.events.trade import CHECKOUT, POLICY
from troth.brokers.nats.rules import inbox_prefix
from troth.edge.events.adapters.faststream.events import VerifiedEvent, attributes
from troth.edge.events.adapters.faststream.guard import _STOPPING
from troth.edge.events.adapters.faststream.nats import EventMiddleware
from troth.edge.events.adapters.nats import producer
from troth.edge.events.rejection import Reason
from troth.trust.grants import Slot


class Order(BaseModel):
    sku: str
    quantity: int


@pytest.fixture
async def market(nats: Stage, tmp_path: Path) -> NatsMarket:
    return NatsMarket(nats, tmp_path)


@asynccontextmanager
async def running(broker: NatsBroker) -> AsyncIterator[NatsBroker]:
    await broker.start()
    try:
        yield broker
    finally:
        await broker.stop()


async def heard(broker: NatsBroker) -> None:
    """Return once the server knows the broker's subscriptions."""
    client = broker._connection
    assert client is not None
    await sent(client)


def broker_of(market: NatsMarket, principal: str, middleware: EventMiddleware) -> NatsBroker:
    stage = market.stage
    return NatsBroker(
        stage.server.url,
        security=NatsCredentials(
            RawCredentials(stage.creds[principal, Slot.FIRST]),
            ssl_context=stage.server.tls(),
            use_ssl=True,
        ),
        inbox_prefix=inbox_prefix(principal),
        middlewares=[middleware],
        logger=None,
    )


class Fulfilment:
    """A FastStream application that consumes orders."""

    def __init__(self, market: NatsMarket, **given: Any) -> None:
        self.market = market
        identity = market.market.identity(market.market.fulfilment)
        options: dict[str, Any] = {"duplicates": None} | given
        self.middleware = EventMiddleware(identity, consumes=POLICY, **options)
        self.broker = broker_of(market, "fulfilment", self.middleware)
        self.orders: list[Order] = []

    def subscriber(self, *, stream: bool = True, **changed: Any) -> Callable[..., Any]:
        given: dict[str, Any] = {"queue": GROUP}
        if stream:
            given = {
                "stream": JStream(STREAM, declare=False),
                "durable": GROUP,
                "pull_sub": PullSub(batch_size=4, timeout=1.0),
                "inbox_prefix": f"{inbox_prefix('fulfilment')}.".encode(),
                "ack_policy": AckPolicy.MANUAL,
            }
        subscriber: Callable[..., Any] = self.broker.subscriber(TOPIC, **(given | changed))
        return subscriber

    def handle(self, **changed: Any) -> None:
        @self.subscriber(**changed)
        async def place(order: Order, event: VerifiedEvent) -> None:
            self.orders.append(order)
            self.market.handled.append(event)


@pytest.mark.parametrize("stream", [True, False])
async def test_order_arrives_as_its_model_with_the_verified_event(
    market: NatsMarket, stream: bool
) -> None:
    await market.open(stream=stream)
    app = Fulfilment(market)
    app.handle(stream=stream)
    identity = market.market.identity(market.market.checkout)
    checkout = broker_of(market, "checkout", EventMiddleware(identity, publishes=POLICY))
    headers = attributes("shop.order.placed", tenant="größer")
    async with running(app.broker), running(checkout):
        await heard(app.broker)
        await checkout.publish(Order(sku="A-1", quantity=2), TOPIC, headers=headers)
        await until(lambda: market.handled)
        if stream:
            await settled(market)
    assert app.orders == [Order(sku="A-1", quantity=2)]
    (event,) = market.handled
    assert (event.actor, event.tenant) == (CHECKOUT, "größer")
    assert market.letters() == []


async def test_rejected_messages_reach_the_dead_letters_and_no_handler(market: NatsMarket) -> None:
    await market.open()
    await market.inject(None, b"nobody signed this")
    sealed = await market.publish()
    await market.copy(sealed)
    app = Fulfilment(market, duplicates=remembering())
    app.handle()
    async with running(app.broker):
        await until(lambda: len(market.letters()) == 2)
        await settled(market)
    assert len(market.handled) == 1
    assert sorted(market.reasons()) == ["Duplicate", "Unsigned"]


@pytest.mark.long
async def test_nothing_is_acknowledged_before_the_dead_letter_is(
    market: NatsMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open(dead_letters=False)
    await market.inject(None, b"nobody signed this")
    waits: list[str] = []

    class Hooks:
        def consumed(self, _: Any) -> None: ...

        def waited(self, reason: str, _: float) -> None:
            waits.append(reason)

    app = Fulfilment(market, hooks=Hooks(), first_pause=0.01)
    app.handle()
    with monkeypatch.context() as denied:
        denied.setattr(producer, "PUBLISH_SECONDS", 1.0)  # a denied message has no answer
        async with running(app.broker):
            await until(lambda: "DeadLetterNotPublished" in waits)
            assert (await market.info()).num_ack_pending == 1
    assert market.letters() == []
    await market.grant_dead_letters()
    app = Fulfilment(market)
    app.handle()
    async with running(app.broker):
        await until(market.letters)
        await settled(market)
    assert market.reasons() == ["Unsigned"]


async def test_handler_that_fails_is_called_again_and_then_rejected(market: NatsMarket) -> None:
    await market.open()
    await market.publish()
    app = Fulfilment(market, attempts=2, first_pause=0.01)
    calls: list[str] = []

    @app.subscriber()
    async def fail(order: Order, event: VerifiedEvent) -> None:
        calls.append(event.id)
        raise ValueError("card 4111")

    async with running(app.broker):
        await until(market.letters)
        await settled(market)
    (letter,) = market.letters()
    assert len(calls) == 2
    assert (letter.rejection.reason, letter.attempts) == (Reason.HANDLER_FAILED, 2)


async def test_parser_and_headers_cannot_change_what_the_handler_gets(market: NatsMarket) -> None:
    await market.open(stream=False)
    app = Fulfilment(market)
    seen: list[Any] = []

    async def parse(received: Any, original: Any) -> Any:
        message = await original(received)
        message.body = b'{"sku":"forged","quantity":9}'
        return message

    @app.subscriber(stream=False, parser=parse)
    async def place(order: Order, message: NatsMessage, event: VerifiedEvent) -> str:
        seen.append((order.sku, dict(message.headers), message.reply_to))
        return "answer"

    sealed = market.market.seal(topic=TOPIC)
    async with running(app.broker):
        await heard(app.broker)
        await market.inject(None, b"nobody signed this")
        await market.copy(sealed, tenant="globex", reply_to="stolen")
        await until(lambda: seen)
    assert seen == [("A-1", {"content-type": "application/json"}, "")]
    assert market.reasons() == ["Unsigned"]


@pytest.mark.parametrize(
    "changed",
    [
        {"ack_policy": AckPolicy.NACK_ON_ERROR},
        {"ack_policy": AckPolicy.REJECT_ON_ERROR},
        {"pull_sub": PullSub(batch_size=4, timeout=1.0, batch=True)},
    ],
)
async def test_subscriber_that_would_lose_messages_is_refused(
    market: NatsMarket, changed: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    await market.open()
    await market.publish()
    app = Fulfilment(market)

    @app.subscriber(**changed)
    async def place(body: Any) -> None:
        market.handled.append(body)

    async with running(app.broker):
        await until(lambda: "Subscriber stops" in caplog.text and not _STOPPING)
    assert market.handled == []
    info = await market.info()
    assert (info.num_pending or 0) + (info.num_ack_pending or 0) == 1
