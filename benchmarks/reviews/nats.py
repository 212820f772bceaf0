"""A reviewer, and a consumer whose dead letters are in NATS."""

import asyncio
from pathlib import Path
from typing import Any

from nats.aio.client import RawCredentials

from benchmarks.events.trade import POLICY, order, seal
from benchmarks.reviews.index import FAILED, Desk
from sandbox.brokers.nats import NatsServer
from troth.edge.events.adapters.nats import EventClient
from troth.edge.events.bindings import nats
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.review.brokers import DeadLetterTopic
from troth.review.nats.topic import NatsTopic

GROUP, STREAM = "bench-fulfilment", "ORDERS"


class NatsDesk(Desk):
    """The same trade at NATS. The stream of a subject has its name, with `_` for each dot."""

    first = 1
    broker = {"type": "nats", "stream": STREAM, "group": GROUP}  # noqa: RUF012 - constant

    def __init__(self, directory: Path, server: NatsServer) -> None:
        super().__init__(directory, None)
        self._server, self._creds = server, server.owner_creds()

    def fill(self, topic: str, count: int) -> None:
        """Publish the dead letters of different messages."""
        asyncio.run(self._fill(topic, count))

    def topic(self, topic: str) -> DeadLetterTopic:
        """Return a dead-letter topic as the reviewer uses it."""
        return NatsTopic(stream_of(topic), topic, self._connect, stream_of)

    async def _connect(self) -> EventClient:
        client = EventClient()
        creds = RawCredentials(self._creds)
        await client.connect(
            self._server.url, tls=self._server.tls(), user_credentials=creds, pending_size=0
        )
        return client

    async def _fill(self, topic: str, count: int) -> None:
        client = await self._connect()
        jetstream: Any = client.jetstream()
        sealer = self._trade.sealer()
        letters = DeadLetters(self._consumer(topic), POLICY, group=GROUP)
        for number in range(1, count + 1):
            sealed = seal(sealer, self._trade, order(number))
            message = nats.read(sealed.topic, nats.headers(sealed), sealed.data, sequence=number)
            dead = letters.seal(message, FAILED, attempts=3)
            assert dead is not None
            await jetstream.publish(dead.topic, dead.data, headers=nats.headers(dead))
        await client.close()


def stream_of(topic: str) -> str:
    """Return the stream of a subject."""
    return topic.replace(".", "_")
