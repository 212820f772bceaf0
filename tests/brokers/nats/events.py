"""Checkout and fulfilment at a real NATS, with JetStream or without."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo

from tests.brokers.nats.stage import Stage, consume, publish, sent, until
from tests.edge.events.market import Market
from tests.edge.events.trade import POLICY
from tests.patience import PATIENCE
from troth.edge.events.adapters.nats import EventClient, EventConsumer, EventProducer
from troth.edge.events.bindings import nats as binding
from troth.edge.events.consumption.dead_letters import DeadLetter, DeadLetterReader
from troth.edge.events.consumption.handlers import handler
from troth.edge.events.event import Event
from troth.edge.events.message import Sealed
from troth.trust.grants import Grant

STREAM, LETTERS, GROUP, TOPIC = "ORDERS", "LETTERS", "fulfilment", "prod.orders"
ORDER = b'{"sku":"A-1","quantity":2}'


class NatsMarket:
    """A topic and its dead-letter topic, with the grants that Troth gives its principals."""

    def __init__(self, stage: Stage, path: Path) -> None:
        self.stage = stage
        self._path = path
        self.handled: list[Event] = []
        self.market: Market
        self.witness: Client
        self._letters: list[Msg] = []
        self._grants: list[Grant] = []

    async def open(
        self,
        *,
        stream: bool = True,
        dead_letters: bool = True,
        ack: AckPolicy = AckPolicy.EXPLICIT,
        ack_wait: float = 30.0,
    ) -> None:
        """Create streams and credentials, and grant what the policy declares."""
        entry = {"stream": STREAM} if stream else {}
        self.market = Market(self._path, topic=TOPIC, group=GROUP, type="nats", **entry)
        self.witness = await self.stage.witness()

        async def bury(message: Msg) -> None:
            self._letters.append(message)

        if not stream:
            await self.witness.subscribe(self.market.dead_letters, cb=bury)
        else:
            jetstream = self.witness.jetstream(timeout=PATIENCE)
            for name, subject in ((STREAM, TOPIC), (LETTERS, self.market.dead_letters)):
                await jetstream.add_stream(name=name, subjects=[subject], storage="memory")
            config = ConsumerConfig(
                durable_name=GROUP, ack_policy=ack, ack_wait=ack_wait, filter_subject=TOPIC
            )
            await jetstream.add_consumer(STREAM, config)
            await jetstream.subscribe(self.market.dead_letters, stream=LETTERS, cb=bury)
        await self.grant(
            publish("checkout", TOPIC),
            consume("fulfilment", TOPIC, GROUP, STREAM if stream else ""),
        )
        if dead_letters:
            await self.grant_dead_letters()

    async def grant(self, *grants: Grant) -> None:
        self._grants += grants
        missing = {"checkout", "fulfilment"} - {each for each, _ in self.stage.creds}
        await self.stage.give(missing, *self._grants)

    async def grant_dead_letters(self) -> None:
        await self.grant(publish("fulfilment", self.market.dead_letters))

    async def publish(self, **options: Any) -> Sealed:
        """Publish an order as checkout."""
        client = await self.stage.connect("checkout")
        identity = self.market.identity(self.market.checkout)
        producer = EventProducer(identity, POLICY, client)
        given: dict[str, Any] = {"type": "shop.order.placed", "timeout": PATIENCE} | options
        sealed = await producer.publish(ORDER, **given)
        await sent(client)
        return sealed

    async def inject(self, headers: dict[str, str] | None, data: bytes = b"") -> None:
        """Publish a message as somebody who may do everything."""
        await self.witness.publish(TOPIC, data, headers=headers)
        await sent(self.witness)

    async def inject_raw(self, headers: bytes, data: bytes = b"") -> None:
        """Publish a message with headers that no library writes."""
        size = len(headers)
        line = f"HPUB {TOPIC} {size} {size + len(data)}\r\n".encode()
        await self.witness._send_command(line + headers + data + b"\r\n")
        await sent(self.witness)

    async def copy(self, sealed: Sealed, **headers: str) -> None:
        """Publish a sealed event once more, with other headers."""
        await self.inject(binding.headers(sealed) | headers, sealed.data)

    @asynccontextmanager
    async def consumer(
        self, call: Callable[[Event], object] | None = None, **options: Any
    ) -> AsyncIterator[EventConsumer]:
        """A consumer that works in the background."""
        # The server closes connections whose permissions change.
        client = await self.stage.connect("fulfilment", client=EventClient(), allow_reconnect=True)
        identity = self.market.identity(self.market.fulfilment)
        given: dict[str, Any] = {"duplicates": None} | options
        function = handler(policy=POLICY)(call or self.handled.append)
        consumer = EventConsumer(identity, function, client, **given)
        task = asyncio.create_task(consumer.run())
        try:
            yield consumer
        finally:
            consumer.stop()
            async with asyncio.timeout(PATIENCE):
                await task

    async def info(self) -> ConsumerInfo:
        jetstream = self.witness.jetstream(timeout=PATIENCE)
        found: ConsumerInfo = await jetstream.consumer_info(STREAM, GROUP)
        return found

    def letters(self) -> list[DeadLetter]:
        """Return all dead letters so far, verified."""
        reader = DeadLetterReader(self.market.identity(self.market.fulfilment), POLICY)
        read = [
            reader.read(binding.read(each.subject, each.headers, each.data))
            for each in self._letters
        ]
        assert all(isinstance(each, DeadLetter) for each in read), read
        return [each for each in read if isinstance(each, DeadLetter)]

    def reasons(self) -> list[str]:
        return [str(each.rejection.reason) for each in self.letters()]


async def listening(consumer: EventConsumer, sources: int = 1) -> None:
    """Return once the server knows a consumer's subscriptions: core NATS keeps nothing for it."""
    await until(lambda: len(consumer._sources) == sources)
    await sent(consumer._client)
