"""What the middlewares for FastStream's brokers share.

FastStream enters a middleware (`on_receive`) before it parses a message. There the guard verifies
it, and continues only if the handler is due. The flow of the message runs in a task of its own. The
task requests each call of the handler and receives its result.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import time
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from fast_depends.pydantic import PydanticSerializer
from faststream import BaseMiddleware
from faststream.exceptions import AckMessage, SetupError, SkipMessage, StopConsume
from faststream.message import StreamMessage
from faststream.response import PublishCommand

from troth.edge.events.adapters.faststream.events import EVENT, seal, unsealed_headers
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.consumption.driving import Async, Duplicates
from troth.edge.events.consumption.flow import (
    ATTEMPTS,
    FIRST_PAUSE,
    PATIENCE,
    Consumption,
    Flow,
    Hooks,
)
from troth.edge.events.event import Event
from troth.edge.events.message import Message, Sealed
from troth.edge.events.opening import MOST_BYTES, Opener
from troth.edge.events.sealing import Sealer
from troth.edge.identity.files import Identity

T = TypeVar("T")

_LOG = logging.getLogger("troth.edge.events")
_STOPPING: set[asyncio.Task[None]] = set()
"""Subscribers that stop; asyncio itself keeps no reference to a task."""


class Middleware(ABC, Generic[T]):
    """Verifies and seals the events of a FastStream broker or router."""

    def __init__(
        self,
        identity: Identity,
        *,
        consumes: str | None = None,
        publishes: str | None = None,
        group: str | None = None,
        duplicates: Duplicates | None = None,
        attempts: int = ATTEMPTS,
        patience: float = PATIENCE,
        first_pause: float = FIRST_PAUSE,
        on_rejected: Literal["stop", "drop"] = "stop",
        hooks: Hooks | None = None,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create the middleware for the policies `consumes` and `publishes`, `<namespace>/<name>`.

        Without `consumes`, each message is refused; without `publishes`, messages are published
        as they are. For several policies, give each router its own middleware. `duplicates`
        recognises repeated events; with None they are handled again. The other options are those of
        `Consumption`.
        """
        self.sealer = (
            None
            if publishes is None
            else Sealer(identity, publishes, most_bytes=most_bytes, clock=clock)
        )
        self.duplicates = duplicates
        self.pause = first_pause
        self.serializer = PydanticSerializer()
        self.identity = identity
        self.opener: Opener | None = None
        self.consumption: Consumption | None = None
        if consumes is not None:
            self.opener = Opener(
                identity, consumes, group=group, most_bytes=most_bytes, clock=clock
            )
            self.consumption = Consumption(
                self.opener,
                DeadLetters(identity, consumes, group=group, clock=clock),
                deduplicates=duplicates is not None,
                attempts=attempts,
                patience=patience,
                first_pause=first_pause,
                on_rejected=on_rejected,
                hooks=hooks,
                clock=clock,
            )

    @abstractmethod
    def __call__(self, msg: T | None, /, *, context: Any) -> "Guard[T]":  # noqa: ANN401 - FastStream's
        """Return the guard of one message; FastStream calls this."""


class Guard(BaseMiddleware[PublishCommand, Any], ABC, Generic[T]):
    """Guard of one message that is received or published."""

    def __init__(self, owner: Middleware[T], msg: T | None, *, context: Any) -> None:  # noqa: ANN401
        super().__init__(msg, context=context)
        self._owner = owner
        self._course: _Course | None = None
        self._called = False

    # What a broker's guard supplies

    @abstractmethod
    def fault(self, subscriber: Any) -> str | None:  # noqa: ANN401 - FastStream's subscriber
        """Return why messages of a subscriber could be lost or reach the handler unverified."""

    @abstractmethod
    def message(self) -> Message:
        """Return the message that was received."""

    @abstractmethod
    async def publish(self, sealed: Sealed) -> None:
        """Return once a dead letter is acknowledged."""

    @abstractmethod
    async def acknowledge(self) -> None:
        """Let the broker not deliver the message again."""

    @abstractmethod
    async def give_back(self) -> None:
        """Let the broker deliver the message again."""

    @abstractmethod
    def headers(self, sealed: Sealed) -> dict[str, str]:
        """Return the headers of a sealed event."""

    # Receiving

    async def on_receive(self) -> None:
        """Verify the message, before FastStream parses it."""
        if self.msg is None:  # it is to be published
            return
        subscriber = self.context.get_local("handler_")
        fault = self._fault(subscriber)
        if fault is not None:
            await self._stop(fault)
            raise SkipMessage
        assert self._owner.consumption is not None
        flow = self._owner.consumption.flow(self.message())
        self._course = _Course(flow, self.publish, self._owner.duplicates)
        try:
            due = await self._course.is_handler_due()
        except Exception as error:
            await self._stop(error)
            raise SkipMessage from error
        except BaseException:
            await self._abandon()
            raise
        if not due:
            self._course = None
            await self.acknowledge()
            raise SkipMessage

    def _fault(self, subscriber: Any) -> str | None:  # noqa: ANN401
        if self._owner.consumption is None:
            return "the middleware has no policy to consume by; set consumes"
        if subscriber is None:
            return "get_one and iteration cannot be guarded; use a handler"
        return self.fault(subscriber)

    async def consume_scope(
        self,
        call_next: Callable[[Any], Awaitable[Any]],
        msg: StreamMessage[Any],
    ) -> Any:  # noqa: ANN401 - as the handler returns
        """Call the handler with what was verified, and again if it fails."""
        course = self._course
        assert course is not None
        assert course.event is not None
        _cover(msg, course.event)
        with self.context.scope(EVENT, course.event):
            while True:
                try:
                    result = await call_next(msg)
                except (AckMessage, SkipMessage):
                    result = None
                except StopConsume:
                    raise
                except Exception as error:
                    course.fail(error)
                    if await course.is_handler_due():
                        continue
                    self._course = None
                    await self.acknowledge()
                    raise SkipMessage from error
                self._called = True
                return result

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,  # noqa: ARG002 - FastStream's signature
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,  # noqa: ARG002
    ) -> bool | None:
        """Acknowledge the message, or let it be delivered again if its result was not published.

        A result that can never be published, because it raises `SealingError` or another
        `ValueError`, fails like the handler.
        """
        course = self._course
        if course is None:
            return False
        if exc_val is None:
            course.succeed()
        elif isinstance(exc_val, StopConsume) or not isinstance(exc_val, Exception):
            await self._abandon()
            return False
        elif self._called and not isinstance(exc_val, ValueError):
            name = type(exc_val).__name__
            origin = self.message().origin
            _LOG.warning("Message is handled again: %s: its result raised %s", origin, name)
            await self._abandon(self._owner.pause)
            return False
        try:
            while await course.is_handler_due():
                # A message that FastStream cannot parse fails in each attempt, and so does a result
                # that cannot be sealed or encoded.
                assert isinstance(exc_val, Exception)
                course.fail(exc_val)
        except BaseException as error:
            if not isinstance(error, Exception):
                await self._abandon()
                raise
            await self._stop(error)
            return False
        await self.acknowledge()
        return False

    async def _stop(self, cause: object) -> None:
        """Stop the subscriber: the acknowledgement of a later message could include this one."""
        _LOG.error("Subscriber stops: %s", cause)
        await self._abandon()
        subscriber = self.context.get_local("handler_")
        if subscriber is None:
            raise SetupError(str(cause))
        # StopConsume would let FastStream cancel the task that closes its connections.
        subscriber.running = False
        task = asyncio.create_task(subscriber.stop())
        _STOPPING.add(task)
        task.add_done_callback(_STOPPING.discard)

    async def _abandon(self, pause: float = 0.0) -> None:
        if self._course is not None:
            await self._course.cancel()
        try:
            await asyncio.sleep(pause)
        finally:
            await self.give_back()

    # Publishing

    async def publish_scope(
        self,
        call_next: Callable[[PublishCommand], Awaitable[Any]],
        cmd: PublishCommand,
    ) -> Any:  # noqa: ANN401 - as the broker returns
        """Seal a message that is published."""
        if self._owner.sealer is not None:
            sealed = seal(self._owner.sealer, cmd, self._owner.serializer)
            cmd.body = sealed.data
            cmd.headers = unsealed_headers(cmd) | self.headers(sealed)
        return await call_next(cmd)


class _Course:
    """The flow of a message, in a task of its own."""

    def __init__(
        self,
        flow: Flow,
        publish: Callable[[Sealed], Awaitable[object]],
        duplicates: Duplicates | None,
    ) -> None:
        self.event: Event | None = None
        self._asked = asyncio.Event()
        self._answer: asyncio.Future[None] | None = None
        driver = Async(handle=self._handle, publish=publish, duplicates=duplicates)
        self._task = asyncio.create_task(driver.run(flow))

    async def is_handler_due(self) -> bool:
        """Wait until the handler is due, or the message may be acknowledged; raise as the flow."""
        if self._answer is not None and not self._answer.done():
            return True
        asked = asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({self._task, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        if self._task.done():
            self._task.result()
            return False
        return True

    def succeed(self) -> None:
        """Report that the handler has succeeded."""
        self._asked.clear()
        assert self._answer is not None
        self._answer.set_result(None)

    def fail(self, error: Exception) -> None:
        """Report that the handler has failed."""
        self._asked.clear()
        assert self._answer is not None
        self._answer.set_exception(error)

    async def cancel(self) -> None:
        """End the flow, which gives up its claim."""
        self._task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await self._task

    async def _handle(self, event: Event) -> None:
        self.event = event
        self._answer = asyncio.get_running_loop().create_future()
        self._asked.set()
        await self._answer


def _cover(msg: StreamMessage[Any], event: Event) -> None:
    """Replace all of a parsed message that the seal does not cover."""
    msg.body = event.data
    msg.content_type = event.content_type
    msg.headers = {"content-type": event.content_type}
    msg.batch_headers = []
    msg.reply_to = ""
    msg.message_id = msg.correlation_id = event.id
    msg.clear_cache()
