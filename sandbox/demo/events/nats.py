"""The exchange at NATS, with nats-py."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, Literal, TypeVar

from nats import errors
from nats.aio.client import Client, RawCredentials

from sandbox.brokers.nats import NatsServer
from sandbox.demo.errors import DemoError
from sandbox.demo.events.exchange import (
    ATTEMPTS,
    FIRST_PAUSE,
    GROUP,
    PATIENCE,
    POLICY,
    SECONDS,
    Fulfilment,
    Party,
)
from sandbox.demo.events.orders import TYPE
from sandbox.demo.messages.broker import DEAD_LETTERS, ORDERS
from sandbox.demo.messages.nats import STREAMS
from troth.edge.events.adapters.nats import EventConsumer, EventProducer, connect
from troth.edge.events.bindings import nats
from troth.edge.events.consumption.duplicates import Duplicates, window_of
from troth.edge.events.message import Message, Sealed
from troth.replay.memory import Memory

STREAM = next(name for name, topic in STREAMS.items() if topic == DEAD_LETTERS)
POLL = 0.01
CLOSING = 3.0
"""Maximum time in seconds for closing a connection."""
T = TypeVar("T")


async def _ignore(_error: Exception) -> None:
    """Ignore what the library reports beside its answers: checkout loses its grant."""


OPTIONS: Mapping[str, Any] = {
    "error_cb": _ignore,
    "reconnect_time_wait": 0.1,
    "max_reconnect_attempts": -1,
}


class NatsExchange:
    """The connections of checkout, of fulfilment, and of the owner of the streams.

    The event loop runs only in a call, so fulfilment consumes only then.
    """

    binding: Literal["kafka", "nats"] = "nats"

    def __init__(
        self,
        server: NatsServer,
        runner: asyncio.Runner,
        parties: tuple[Party, Party],
        got: Fulfilment,
    ) -> None:
        self._runner = runner
        self._publishing, self._fulfilment = parties
        self._got = got
        window = window_of(self._fulfilment.granted("Consume").context.max_age)
        self._duplicates = Duplicates(Memory(), window, group=GROUP)
        self._consumer: EventConsumer | None = None
        self._run: asyncio.Task[None] | None = None
        self._clients: list[Client] = []
        self._checkout, self._consuming = self._await(self._connect(*parties))
        self._producer = EventProducer(self._publishing.identity, POLICY, self._checkout)
        self._owner = self._await(self._connect_owner(server))
        self._read = 0

    def order(self, data: bytes, **context: Any) -> Sealed:  # noqa: ANN401 - those of `Sealer.seal`
        """Publish an order with the library."""
        return self._await(self._producer.publish(data, type=TYPE, **context))

    def publish(self, sealed: Sealed) -> None:
        """Publish a message. Without an ID of its own, the stream stores each copy."""
        headers = nats.headers(sealed)
        jetstream = self._checkout.jetstream()
        self._await(jetstream.publish(ORDERS, sealed.data, headers=headers))

    def consume(self, count: int) -> None:
        """Run the consumer until the messages are committed."""
        self._await(self._consume(count))

    def stop(self) -> None:
        """End the consumer."""
        if self._run is not None and self._consumer is not None:
            self._consumer.stop()
            self._await(self._run)
        self._run = self._consumer = None

    def reconnect(self) -> None:
        """Connect checkout again: the library gives up after two rejected logins."""
        *_, self._checkout = self._await(self._connect(self._publishing))
        self._producer = EventProducer(self._publishing.identity, POLICY, self._checkout)

    def dead_letter(self) -> Message:
        """Read the next message of the stream."""
        return self._await(self._next())

    def close(self) -> None:
        """End the consumer, and close the connections.

        The library may wait without end for a connection that the server ends at this moment, as it
        does when a grant is revoked.
        """
        self.stop()
        for client in self._clients:
            self._runner.run(_closed(client))

    async def _connect(self, *parties: Party) -> list[Client]:
        for party in parties:
            self._clients.append(await connect(party.credential, [POLICY], **OPTIONS))
        return list(self._clients)

    async def _connect_owner(self, server: NatsServer) -> Client:
        owner = Client()
        creds = RawCredentials(server.owner_creds())
        await owner.connect(server.url, tls=server.tls(), user_credentials=creds, **OPTIONS)
        self._clients.append(owner)
        return owner

    async def _consume(self, count: int) -> None:
        if self._run is None:
            self._consumer = EventConsumer(
                self._fulfilment.identity,
                self._got.handler,
                self._consuming,
                duplicates=self._duplicates,
                attempts=ATTEMPTS,
                patience=PATIENCE,
                first_pause=FIRST_PAUSE,
                hooks=self._got,
            )
            self._run = asyncio.create_task(self._consumer.run())
        while len(self._got.outcomes) < count:
            if self._run.done():
                self._run.result()
            await asyncio.sleep(POLL)

    async def _next(self) -> Message:
        jetstream = self._owner.jetstream()
        while True:
            try:
                found = await jetstream.get_msg(STREAM, seq=self._read + 1)
            except errors.Error:  # it is not there yet, or the server has closed the connection
                await asyncio.sleep(POLL)
                continue
            self._read += 1
            assert found.time is not None
            return nats.read(
                DEAD_LETTERS,
                found.headers,
                found.data or b"",
                stored_at=found.time.timestamp(),
                sequence=found.seq,
            )

    def _await(self, request: Coroutine[Any, Any, T] | asyncio.Task[T]) -> T:
        """Return the result; raises `DemoError` if there is none in time."""

        async def bounded() -> T:
            async with asyncio.timeout(SECONDS):
                return await request

        try:
            return self._runner.run(bounded())
        except (errors.Error, TimeoutError) as error:
            what = getattr(request, "__qualname__", "the consumer")
            raise DemoError(f"NATS does not answer: {what}: {error!r}") from error


async def _closed(client: Client) -> None:
    with suppress(errors.Error, TimeoutError):
        async with asyncio.timeout(CLOSING):
            await client.close()
