"""A dead-letter topic in memory, which can end the process at any of its steps."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.edge.events.trade import NOW
from tests.review.desk import DLQ
from troth.edge.events.bindings import kafka
from troth.edge.events.message import Sealed
from troth.review.brokers import BrokerUnavailableError, Redelivery, Stored, TooLargeError
from troth.review.letters.letter import Position


class Killed(BaseException):
    """The process ended here."""


@dataclass
class Death:
    """Ends the process at a step, given by its number. `steps` counts them."""

    at: int | None = None
    steps: int = 0
    names: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.steps += 1
        self.names.append(name)
        if self.steps == self.at:
            raise Killed(name)


@dataclass
class Broker:
    """The topics of one policy. What it has survives the process."""

    letters: list[Stored | None] = field(default_factory=list)
    delivered: list[Redelivery] = field(default_factory=list)
    death: Death = field(default_factory=Death)
    most_bytes: int = 1 << 30
    faults: list[Exception] = field(default_factory=list)
    """Failures of the next requests, in their order."""
    now: float = NOW

    def bury(self, sealed: Sealed, key: bytes | None = None) -> Position:
        """Store an event on the dead-letter topic."""
        offset = len(self.letters)
        message = kafka.read(
            sealed.topic,
            kafka.headers(sealed),
            sealed.data,
            stored_at=self.now,
            partition=0,
            offset=offset,
        )
        assert sealed.topic == DLQ
        self.letters.append(Stored(Position(0, offset), message, key))
        return Position(0, offset)

    def expire(self, offset: int) -> None:
        """Remove a message, as compaction does."""
        self.letters[offset] = None

    def ids(self) -> list[str]:
        """IDs of the redrives that were delivered."""
        return [each.id for each in self.delivered]

    async def incarnation(self) -> str:
        return "the only one"

    async def bounds(self) -> Mapping[int, tuple[int, int]]:
        self._fail()
        return {0: (0, len(self.letters))}

    async def read(self, positions: Mapping[int, int]) -> AsyncIterator[Sequence[Stored]]:
        at = positions.get(0, 0)
        while True:
            found = [each for each in self.letters[at:] if each is not None]
            at = len(self.letters)
            yield found
            if not found:
                await asyncio.sleep(0.02)

    async def get(self, position: Position) -> Stored | None:
        self._fail()
        return self.letters[position.offset]

    async def fetch(self, letters: Sequence[object]) -> Mapping[Position, Stored]:
        self.death.step("fetch")
        self._fail()
        found = [self.letters[each.position.offset] for each in letters]  # type: ignore[attr-defined]
        return {each.position: each for each in found if each is not None}

    async def record(self, sealed: Sealed) -> None:
        self.death.step("before the record")
        self._fail()
        self.bury(sealed)
        self.death.step("after the record")

    async def redeliver(self, messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        results: list[Exception | None] = []
        for each in messages:
            self.death.step("before a delivery")
            fault = self.faults.pop(0) if self.faults else None
            if fault is None and len(each.data) > self.most_bytes:
                fault = TooLargeError("too large")
            if fault is None:
                self.delivered.append(each)
            results.append(fault)
            self.death.step("after a delivery")
        return results

    async def close(self) -> None:
        """Nothing is open."""

    def _fail(self) -> None:
        if self.faults:
            fault = self.faults.pop(0)
            assert isinstance(fault, BrokerUnavailableError)
            raise fault
