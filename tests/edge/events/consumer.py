"""A consumer without a broker: it runs flows, and records what they ask for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.edge.events.trade import POLICY, Trade
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.consumption.driving import Blocking
from troth.edge.events.consumption.duplicates import Seen
from troth.edge.events.consumption.flow import (
    Consumed,
    Consumption,
    TooLargeError,
    Wait,
)
from troth.edge.events.event import Event
from troth.edge.events.message import Message, Sealed
from troth.replay.store import StoreUnavailableError


@dataclass
class Marks:
    """Memory of consumed events. While `away` it cannot decide. Others handle those in `held`."""

    consumed: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    away: bool = False

    def begin(self, event: Event, position: str) -> "Claimed | Seen":
        if self.away:
            raise StoreUnavailableError("the store is away")
        if event.id in self.consumed:
            same = position and self.consumed[event.id] == position
            return Seen.REDELIVERED if same else Seen.DUPLICATE
        if event.id in self.held:
            return Seen.IN_FLIGHT
        self.held.add(event.id)
        return Claimed(self, event.id, position)


@dataclass
class Claimed:
    marks: Marks
    id: str
    position: str

    def done(self) -> None:
        if self.marks.away:
            raise StoreUnavailableError("the store is away")
        self.marks.held.discard(self.id)
        self.marks.consumed[self.id] = self.position

    def release(self) -> None:
        self.marks.held.discard(self.id)


class Consumer:
    """Fulfilment as a consumer. Waiting advances the clock, and calls `meanwhile`."""

    def __init__(self, trade: Trade, *, marks: Marks | None = None, **options: Any) -> None:
        self.trade = trade
        self.marks = marks
        self.handled: list[Event] = []
        self.dead: list[Sealed] = []
        self.waits: list[Wait] = []
        self.counted: list[Consumed] = []
        self.counted_seconds: dict[str, float] = {}
        self.failures: list[BaseException] = []
        self.topic_failures: list[Exception] = []
        self.largest: int | None = None
        self.on_event: Callable[[Event], object] = self.handled.append
        self.meanwhile: Callable[[], object] = lambda: None
        identity = trade.identity(trade.fulfilment)
        given: dict[str, Any] = {
            "deduplicates": marks is not None,
            "clock": trade.clock,
            "hooks": self,
        }
        letters = DeadLetters(identity, POLICY, clock=trade.clock)
        self.consumption = Consumption(trade.opener(), letters, **(given | options))
        self._driver = Blocking(handle=self._handle, publish=self._publish, duplicates=marks)

    def consume(self, message: Message) -> Consumed:
        """Run the flow of a message to its end."""
        flow = self.consumption.flow(message)
        while not isinstance(reached := self._driver.advance(flow), Consumed):
            assert isinstance(reached, Wait)
            self.waits.append(reached)
            self.trade.now += reached.seconds
            self.meanwhile()
            assert len(self.waits) < 1000, "the flow waits for ever"
        return reached

    def begin(self, message: Message) -> object:
        """Run the flow of a message until it waits or ends, and close it, as at a rebalance."""
        flow = self.consumption.flow(message)
        try:
            return self._driver.advance(flow)
        finally:
            flow.close()

    @property
    def seconds(self) -> float:
        """Seconds waited so far."""
        return sum(each.seconds for each in self.waits)

    @property
    def causes(self) -> set[str]:
        """Causes of waiting so far."""
        return {each.reason for each in self.waits}

    @property
    def letters(self) -> list[Mapping[str, str]]:
        return [each.attributes for each in self.dead]

    def consumed(self, consumed: Consumed) -> None:
        self.counted.append(consumed)

    def waited(self, reason: str, seconds: float) -> None:
        self.counted_seconds[reason] = self.counted_seconds.get(reason, 0.0) + seconds

    def _handle(self, event: Event) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.on_event(event)

    def _publish(self, sealed: Sealed) -> None:
        if self.topic_failures:
            raise self.topic_failures.pop(0)
        size = len(sealed.data) + sum(map(len, sealed.attributes.values()))
        if self.largest is not None and size > self.largest:
            raise TooLargeError(f"{size} bytes")
        self.dead.append(sealed)
