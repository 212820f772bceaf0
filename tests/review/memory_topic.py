"""A dead-letter topic in memory, with partitions, expiry, faults and recreation."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from troth.edge.events.bindings import kafka
from troth.edge.events.message import Message, Sealed
from troth.review.brokers import BrokerUnavailableError, Redelivery, Stored
from troth.review.letters.letter import Position


class MemoryTopic:
    """Messages by their places. `fault` is what each call raises."""

    def __init__(self, partitions: int = 1) -> None:
        self.logs: list[list[Message | None]] = [[] for _ in range(partitions)]
        self.first = [0] * partitions
        self.name = "first"
        self.fault: BrokerUnavailableError | None = None
        self.delivered: list[Redelivery] = []
        self.reads: list[dict[int, int]] = []
        self.closed = False

    def store(self, message: Message, partition: int = 0) -> Position:
        """Store a message at the end of a partition."""
        place = Position(partition, len(self.logs[partition]))
        self.logs[partition].append(replace(message, partition=partition, offset=place.offset))
        return place

    def seal(self, sealed: Sealed, partition: int = 0) -> Position:
        return self.store(kafka.read(sealed.topic, kafka.headers(sealed), sealed.data), partition)

    def recreate(self) -> None:
        """Delete the topic, and create it again."""
        self.logs = [[] for _ in self.logs]
        self.first = [0] * len(self.logs)
        self.name += "-again"

    async def incarnation(self) -> str:
        await self._wait()
        return self.name

    async def bounds(self) -> Mapping[int, tuple[int, int]]:
        await self._wait()
        return {n: (self.first[n], len(log)) for n, log in enumerate(self.logs)}

    async def read(self, positions: Mapping[int, int]) -> AsyncIterator[Sequence[Stored]]:
        self.reads.append(dict(positions))
        places = {n: positions.get(n, 0) for n in range(len(self.logs))}
        while True:
            await self._wait()
            batch: list[Stored] = []
            for partition, place in places.items():
                log = self.logs[partition]
                for offset in range(max(place, self.first[partition]), len(log)):
                    message = log[offset]
                    if message is not None:
                        batch.append(Stored(Position(partition, offset), message))
                places[partition] = len(log)
            yield batch

    async def get(self, position: Position) -> Stored | None:
        await self._wait()
        log = self.logs[position.partition]
        if not self.first[position.partition] <= position.offset < len(log):
            return None
        message = log[position.offset]
        return None if message is None else Stored(position, message)

    async def record(self, sealed: Sealed) -> None:
        await self._wait()
        self.seal(sealed)

    async def redeliver(self, messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        await self._wait()
        self.delivered += messages
        return [None] * len(messages)

    async def close(self) -> None:
        self.closed = True

    async def _wait(self) -> None:
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
