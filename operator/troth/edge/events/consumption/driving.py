"""Drivers that carry out the steps of a flow: in asyncio tasks, and in threads."""

import asyncio
from collections.abc import Awaitable, Callable
from time import sleep
from typing import Any, Protocol

from troth.edge.events.consumption.duplicates import Seen
from troth.edge.events.consumption.flow import (
    Claim,
    Consumed,
    Flow,
    Handle,
    Mark,
    Publish,
    Release,
    Step,
    Wait,
)
from troth.edge.events.event import Event
from troth.edge.events.message import Sealed


class Duplicates(Protocol):
    """Memory of the consumed events, such as `duplicates.Duplicates`."""

    async def begin(self, event: Event, position: str) -> "Claimed | Seen":
        """Claim an event; raises `StoreUnavailableError`."""


class Claimed(Protocol):
    """Claim of an event."""

    async def done(self) -> None:
        """Mark the event as consumed; raises `StoreUnavailableError`."""

    async def release(self) -> None:
        """Give up the claim. Raises nothing."""


class BlockingDuplicates(Protocol):
    """Memory of the consumed events for programs with threads: see `blocking_duplicates`."""

    def begin(self, event: Event, position: str) -> "BlockingClaimed | Seen":
        """Claim an event; raises `StoreUnavailableError`."""


class BlockingClaimed(Protocol):
    """Claim of an event, for programs with threads."""

    def done(self) -> None:
        """Mark the event as consumed; raises `StoreUnavailableError`."""

    def release(self) -> None:
        """Give up the claim. Raises nothing."""


class Async:
    """Runs flows in asyncio's event loop."""

    def __init__(
        self,
        *,
        handle: Callable[[Any], Awaitable[object]],
        publish: Callable[[Sealed], Awaitable[object]],
        duplicates: Duplicates | None,
        wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Create a driver.

        `handle` calls the application. `publish` returns once the broker has acknowledged a dead
        letter, and raises `UnavailableError` or `TooLargeError`. `duplicates` is needed if the
        `Consumption` deduplicates. `wait` returns after some seconds, during which the adapter may
        consume other messages.
        """
        self._wait = wait
        self._handle = handle
        self._publish = publish
        self._duplicates = duplicates

    async def run(self, flow: Flow) -> Consumed:
        """Run a flow to its end; then commit the message. If this raises, do not commit it."""
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._carry_out(step)
                except BaseException as error:  # noqa: BLE001 - the flow decides
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as stop:
            consumed: Consumed = stop.value
            return consumed

    async def _carry_out(self, step: Step) -> object:
        match step:
            case Wait(seconds):
                await self._wait(seconds)
            case Claim(event, position):
                assert self._duplicates is not None
                return await self._duplicates.begin(event, position)
            case Mark(claim):
                await claim.done()
            case Release(claim):
                await claim.release()
            case Handle(argument):
                await self._handle(argument)
            case Publish(dead_letter):
                await self._publish(dead_letter)
        return None


class Blocking:
    """Runs flows in the calling thread."""

    def __init__(
        self,
        *,
        handle: Callable[[Any], object],
        publish: Callable[[Sealed], object] | None,
        duplicates: BlockingDuplicates | None,
    ) -> None:
        """As in `Async`. Without `publish`, `advance` returns where a dead letter is due."""
        self._handle = handle
        self._publish = publish
        self._duplicates = duplicates

    def run(self, flow: Flow) -> Consumed:
        """Run a flow to its end, as in `Async`. This needs `publish`."""
        while not isinstance(reached := self.advance(flow), Consumed):
            assert isinstance(reached, Wait)
            sleep(reached.seconds)
        return reached

    def advance(self, flow: Flow, failure: Exception | None = None) -> Wait | Publish | Consumed:
        """Run a flow until it waits or ends, or a dead letter is due and there is no `publish`.

        Call this again after the wait, or once the broker has acknowledged the dead letter. If it
        has not, `failure` is an `UnavailableError` or a `TooLargeError`.
        """
        outcome: object = None
        thrown: BaseException | None = failure
        while True:
            try:
                step = flow.send(outcome) if thrown is None else flow.throw(thrown)
            except StopIteration as stop:
                consumed: Consumed = stop.value
                return consumed
            if isinstance(step, Wait) or (isinstance(step, Publish) and self._publish is None):
                return step
            outcome = thrown = None
            try:
                outcome = self._carry_out(step)
            except BaseException as error:  # noqa: BLE001 - the flow decides
                thrown = error

    def _carry_out(self, step: Step) -> object:
        match step:
            case Claim(event, position):
                assert self._duplicates is not None
                return self._duplicates.begin(event, position)
            case Mark(claim):
                claim.done()
            case Release(claim):
                claim.release()
            case Handle(argument):
                self._handle(argument)
            case Publish(dead_letter):
                assert self._publish is not None
                self._publish(dead_letter)
        return None
