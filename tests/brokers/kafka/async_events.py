"""Checkout and fulfilment with aiokafka at a real Kafka."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.brokers.kafka.events import KafkaMarket
from tests.edge.events.consumer import Claimed, Marks
from tests.edge.events.trade import ORDER, POLICY
from tests.patience import PATIENCE
from troth.edge.events.adapters.aiokafka import EventConsumer, EventProducer
from troth.edge.events.adapters.aiokafka.configuration import options_of
from troth.edge.events.consumption.duplicates import Seen
from troth.edge.events.consumption.handlers import handler
from troth.edge.events.event import Event


def options(market: KafkaMarket, principal: str) -> dict[str, Any]:
    return options_of(market.properties(principal))


async def publish(market: KafkaMarket, *, count: int = 1, **given: Any) -> list[str]:
    """Publish orders; return their IDs."""
    identity = market.market.identity(market.market.checkout)
    wanted = {"type": "shop.order.placed"} | given
    async with EventProducer(identity, POLICY, options(market, market.checkout)) as producer:
        sealed = [await producer.produce(ORDER, **wanted) for _ in range(count)]
    return [each.attributes["id"] for each in sealed]


@asynccontextmanager
async def consuming(
    market: KafkaMarket, call: Callable[[Event], object] | None = None, **given: Any
) -> AsyncIterator[EventConsumer]:
    """Let a consumer work in the background."""
    consumer = consumer_of(market, call, **given)
    task = asyncio.create_task(consumer.run())
    try:
        yield consumer
    finally:
        consumer.stop()
        async with asyncio.timeout(PATIENCE):
            await task


def consumer_of(
    market: KafkaMarket, call: Callable[[Event], object] | None = None, **given: Any
) -> EventConsumer:
    identity = market.market.identity(market.market.fulfilment)
    function = handler(policy=POLICY)(call or market.handled.append)
    wanted: dict[str, Any] = {"duplicates": None} | given
    return EventConsumer(
        identity, function, options(market, market.fulfilment) | market.more, **wanted
    )


class AsyncMarks:
    """Memory of consumed events for an event loop."""

    def __init__(self, marks: Marks) -> None:
        self.marks = marks

    async def begin(self, event: Event, position: str) -> "AsyncClaimed | Seen":
        found = self.marks.begin(event, position)
        return found if isinstance(found, Seen) else AsyncClaimed(found)


class AsyncClaimed:
    def __init__(self, claimed: Claimed) -> None:
        self._claimed = claimed

    async def done(self) -> None:
        self._claimed.done()

    async def release(self) -> None:
        self._claimed.release()
