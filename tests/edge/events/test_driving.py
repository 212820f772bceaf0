"""The driver for asyncio carries out the same steps as the one for threads."""

import asyncio
from typing import Any

import pytest

from tests.edge.events.trade import POLICY, TOPIC, Trade, delivered
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.consumption.driving import Async
from troth.edge.events.consumption.duplicates import Duplicates
from troth.edge.events.consumption.flow import Consumption, Outcome, UnavailableError
from troth.edge.events.event import Event
from troth.edge.events.message import Message, Sealed
from troth.replay.memory import Memory


class Consumer:
    """Fulfilment as a consumer in an event loop. Waiting takes no time."""

    def __init__(self, trade: Trade, **options: Any) -> None:
        self.handled: list[Event] = []
        self.dead: list[Sealed] = []
        self.failures: list[BaseException] = []
        self.waits: list[float] = []
        self.memory = Memory()
        letters = DeadLetters(trade.identity(trade.fulfilment), POLICY, clock=trade.clock)
        self.consumption = Consumption(
            trade.opener(), letters, deduplicates=True, clock=trade.clock, **options
        )
        self.driver = Async(
            handle=self.handle,
            publish=self.publish,
            duplicates=Duplicates(self.memory, 3600.0, group="fulfilment"),
            wait=self.wait,
        )

    async def consume(self, message: Message) -> Outcome:
        return (await self.driver.run(self.consumption.flow(message))).outcome

    async def handle(self, event: Event) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.handled.append(event)

    async def publish(self, sealed: Sealed) -> None:
        if not self.waits:
            raise UnavailableError("denied")
        self.dead.append(sealed)

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)


async def test_event_is_handled_once(trade: Trade) -> None:
    consumer, sealed = Consumer(trade), trade.seal()
    outcomes = [await consumer.consume(delivered(sealed, offset=offset)) for offset in (7, 7, 8)]
    assert outcomes == [Outcome.HANDLED, Outcome.REDELIVERED, Outcome.DEAD_LETTERED]
    assert len(consumer.handled) == 1
    assert len(consumer.dead) == 1


async def test_failing_handler_is_called_again(trade: Trade) -> None:
    consumer = Consumer(trade)
    consumer.failures = [OSError()]
    assert await consumer.consume(delivered(trade.seal(), offset=7)) is Outcome.HANDLED
    assert consumer.waits == [1.0]


async def test_message_may_be_dropped_without_any_step(trade: Trade) -> None:
    trade.consume(deadLetter=None)
    consumer = Consumer(trade, on_rejected="drop")
    assert await consumer.consume(Message(TOPIC, {}, b"")) is Outcome.DROPPED


async def test_cancelled_handler_releases_its_claim(trade: Trade) -> None:
    consumer, message = Consumer(trade), delivered(trade.seal(), offset=7)
    consumer.failures = [asyncio.CancelledError()]
    with pytest.raises(asyncio.CancelledError):
        await consumer.consume(message)
    assert consumer.memory.remembered == 0
    assert await consumer.consume(message) is Outcome.HANDLED
