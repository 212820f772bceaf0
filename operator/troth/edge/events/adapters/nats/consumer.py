"""Consumer of sealed events for nats-py.

Each message is consumed in a task of its own, as many at once as `concurrency` says. A message that
waits, for its dead letter or for newer files, does not count: up to `most_waiting` of them hold up
no other. Its stream hears regularly that it is still being consumed, and delivers it to nobody
else.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic, time
from types import TracebackType
from typing import Any, Final, Literal, Self

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.errors import ConnectionClosedError, Error, NotJSMessageError

from troth.documents.identity.document import Messages
from troth.edge.events.adapters.nats.producer import publish_dead_letter
from troth.edge.events.adapters.nats.sources import (
    Place,
    Source,
    Taken,
    give_back,
    message_of,
    own_place,
    retry_place,
    subscribed,
)
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.consumption.driving import Async, Duplicates
from troth.edge.events.consumption.flow import (
    ATTEMPTS,
    FIRST_PAUSE,
    LOG_EVERY,
    PATIENCE,
    Consumption,
    Hooks,
)
from troth.edge.events.consumption.handlers import Handler
from troth.edge.events.message import Sealed
from troth.edge.events.opening import MOST_BYTES, Opener
from troth.edge.events.rejection import RejectedError
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import IdentityError
from troth.resources.messaging.broker_type import BrokerType

MOST_WAITING: Final = 256
"""Default of the maximum number of messages that wait at the same time."""

_RETRY_SECONDS = 1.0
_BEATS = 3
"""A stream hears this many times within its `ack_wait` that a message is being consumed."""
_LOG = logging.getLogger("troth.edge.events")


class EventConsumer:
    """Consumes the events of one policy with a handler."""

    def __init__(
        self,
        identity: Identity,
        handler: Handler[..., Any],
        client: Client,
        *,
        duplicates: Duplicates | None,
        subscription: Subscription | None = None,
        concurrency: int = 1,
        most_waiting: int = MOST_WAITING,
        attempts: int = ATTEMPTS,
        patience: float = PATIENCE,
        first_pause: float = FIRST_PAUSE,
        on_rejected: Literal["stop", "drop"] = "stop",
        hooks: Hooks | None = None,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create a consumer that uses a connected client.

        With a stream, it pulls from the durable consumer whose name is the policy's group; create
        it with `ack_policy` explicit, without `max_deliver`, and with the topic as its filter. For
        a push consumer, give its `subscription` with manual acknowledgement. Without a stream, the
        consumer subscribes to the topic in the queue group of that name.

        `duplicates` recognises repeated events; with None they are handled again. `concurrency` is
        the number of events that are handled at once: with 1, events are handled in their order,
        except those that had to wait. A plain function is called in a thread. While `most_waiting`
        messages of one topic wait, no other of it is taken.
        With a retry topic, the consumer also receives from that one, while the policy has it: from
        its stream with a durable consumer of the same name.
        The other options are those of `Consumption`.
        """
        self._identity = identity
        self._handler = handler
        self._client = client
        self._subscription = subscription
        policy, group = handler.policy, handler.group
        self._opener = Opener(identity, policy, group=group, most_bytes=most_bytes, clock=clock)
        self._consumption = Consumption(
            self._opener,
            DeadLetters(identity, policy, group=group, clock=clock),
            deduplicates=duplicates is not None,
            prepare=handler.prepare,
            attempts=attempts,
            patience=patience,
            first_pause=first_pause,
            on_rejected=on_rejected,
            hooks=hooks,
            clock=clock,
        )
        self._driver = Async(
            handle=self._handler.call, publish=self._publish, duplicates=duplicates, wait=self._wait
        )
        self._subscribed = asyncio.Event()
        self._ack_wait = 30.0
        self._active = asyncio.Semaphore(concurrency)
        self._most = most_waiting + concurrency
        self._sources: list[Source] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._tasks: dict[asyncio.Task[Any], Taken] = {}
        self._parked: set[asyncio.Task[Any]] = set()
        self._waiting: set[asyncio.Task[Any]] = set()
        self._returned: list[Taken] = []
        self._ended: asyncio.Future[None] | None = None
        self._stopped = False
        self._logged: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the consumer."""
        self.stop()

    def stop(self) -> None:
        """Let `run` return after the current handlers. Messages that wait are delivered again."""
        self._stopped = True
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    async def run(self) -> None:
        """Consume until `stop` is called.

        Raises `StoppedError` if a message can neither be handled nor rejected; that message is not
        acknowledged. Raises `ConnectionClosedError` if the client is closed, and `ValueError` for a
        durable consumer that could lose messages or has another filter.
        """
        if self._stopped:
            return
        ended = self._ended = asyncio.get_running_loop().create_future()
        works = [asyncio.create_task(self._take_all()), asyncio.create_task(self._keep())]
        try:
            await asyncio.wait({ended, works[0]}, return_when=asyncio.FIRST_COMPLETED)
            if works[0].done():
                works[0].result()
            await ended
            await self._finish()
        finally:
            self._stopped = True
            for each in (*works, *self._tasks):
                each.cancel()
            await asyncio.gather(*works, *self._tasks, return_exceptions=True)
            await give_back(self._returned)

    async def _finish(self) -> None:
        """Wait for the current handlers."""
        for each in self._waiting:
            each.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # Receiving

    async def _take_all(self) -> None:
        """Receive from the policy's topic, and from the retry topic as long as there is one."""
        granted = await self._granted()
        own = asyncio.create_task(self._receive(own_place(granted), self._subscription))
        place: Place | None = None
        retry: asyncio.Task[None] | None = None
        try:
            while True:
                wanted = retry_place(granted)
                if retry is not None and (wanted != place or retry.done()):
                    await self._leave(retry)
                    if not retry.cancelled():
                        retry.result()
                    retry = None
                if retry is None and wanted is not None:
                    retry = asyncio.create_task(self._receive(wanted, patient=True))
                    place = wanted
                done, _ = await asyncio.wait({own}, timeout=_RETRY_SECONDS)
                if done:
                    own.result()
                    return
                granted = self._grant() or granted
        finally:
            await self._leave(*(each for each in (own, retry) if each is not None))

    async def _leave(self, *receiving: asyncio.Task[None]) -> None:
        """End sources. Messages that are in work are finished."""
        self._leaving.update(receiving)
        for each in receiving:
            each.cancel()
        await asyncio.wait(receiving)
        self._leaving.difference_update(receiving)

    async def _receive(
        self, place: Place, given: Subscription | None = None, *, patient: bool = False
    ) -> None:
        source = await self._open(place, given, patient=patient)
        self._sources.append(source)
        self._subscribed.set()
        try:
            while not self._is_ending():
                await source.room.acquire()
                while not source.fetched:
                    await self._fetch(source)
                    # asyncio.wait_for of Python 3.11 drops a cancellation if its result is ready.
                    if self._is_ending():
                        return
                await self._active.acquire()
                taken = Taken(source.fetched.popleft(), source)
                task = asyncio.create_task(self._consume(taken))
                self._tasks[task] = taken
                task.add_done_callback(self._end)
        finally:
            self._sources.remove(source)
            with suppress(Error):
                await source.subscription.unsubscribe()
            await give_back(Taken(each, source) for each in source.fetched)

    def _is_ending(self) -> bool:
        return self._stopped or asyncio.current_task() in self._leaving

    async def _open(self, place: Place, given: Subscription | None, *, patient: bool) -> Source:
        """Wait for the durable consumer, and return the source; raises `ValueError` for a bad one.

        With `patient`, a bad one is waited for too: until then, its messages stay in the stream.
        """
        while True:
            try:
                found = await subscribed(self._client, place, given)
            except Error as error:
                self._closed(error)
                self._log(
                    f"NoConsumer {place.subject}",
                    f"Consumer waits: no durable consumer {place.group} for {place.subject}",
                )
            except ValueError as error:
                if not patient:
                    raise
                self._log(f"BadConsumer {place.subject}", f"Consumer waits: {error}")
            else:
                self._ack_wait = min(self._ack_wait, found.ack_wait or self._ack_wait)
                room = asyncio.Semaphore(self._most)
                return Source(place.stream is not None, room, found.subscription)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _granted(self) -> Messages:
        """Wait for the grant, and return it."""
        granted = self._grant()
        while granted is None:
            await asyncio.sleep(_RETRY_SECONDS)
            granted = self._grant()
        if granted.type is not BrokerType.NATS:
            raise ValueError(
                f"the TopicPolicy {granted.policy} is for {granted.type}, not for nats"
            )
        return granted

    def _grant(self) -> Messages | None:
        try:
            return self._opener.rights(self._identity.current).granted
        except (IdentityError, RejectedError) as error:
            self._log("NoGrant", f"Consumer waits: policy {self._opener.policy}: {error}")
            return None

    async def _fetch(self, source: Source) -> None:
        try:
            await source.fetch()
        except Error as error:
            self._closed(error)
            name = type(error).__name__
            self._log(name, f"NATS reports {name}: policy {self._opener.policy}")
            await asyncio.sleep(_RETRY_SECONDS)

    def _closed(self, error: Exception) -> None:
        if self._client.is_closed:
            raise ConnectionClosedError from error

    # Consuming

    async def _consume(self, taken: Taken) -> None:
        await self._driver.run(self._consumption.flow(message_of(taken)))
        await self._acknowledge(taken)

    def _end(self, task: asyncio.Task[Any]) -> None:
        taken = self._tasks.pop(task)
        taken.source.room.release()
        if task not in self._parked:
            self._active.release()
        self._parked.discard(task)
        self._waiting.discard(task)
        if task.cancelled():
            self._returned.append(taken)
        elif (error := task.exception()) is not None:
            self._returned.append(taken)
            if self._ended is not None and not self._ended.done():
                self._ended.set_exception(error)

    async def _publish(self, sealed: Sealed) -> None:
        async with self._park() as task:
            streamed = self._tasks[task].source.is_streamed
            await publish_dead_letter(self._client, sealed, acknowledged=streamed)

    async def _wait(self, seconds: float) -> None:
        if self._stopped:
            raise asyncio.CancelledError
        async with self._park() as task:
            self._waiting.add(task)
            await asyncio.sleep(seconds)
        self._waiting.discard(task)

    @asynccontextmanager
    async def _park(self) -> AsyncIterator[asyncio.Task[Any]]:
        """Let another message be consumed meanwhile."""
        task = asyncio.current_task()
        assert task is not None
        self._parked.add(task)
        self._active.release()
        try:
            yield task
        except asyncio.CancelledError:
            raise
        except BaseException:
            await self._resume(task)
            raise
        await self._resume(task)

    async def _resume(self, task: asyncio.Task[Any]) -> None:
        await self._active.acquire()
        self._parked.discard(task)

    # Acknowledging

    async def _acknowledge(self, taken: Taken) -> None:
        if taken.source.is_streamed:
            with suppress(NotJSMessageError):
                await taken.message.ack()

    async def _keep(self) -> None:
        """Tell the stream again and again which messages are being consumed."""
        await self._subscribed.wait()
        while True:
            await asyncio.sleep(self._ack_wait / _BEATS)
            fetched = [Taken(each, source) for source in self._sources for each in source.fetched]
            for taken in (*self._tasks.values(), *fetched):
                if taken.source.is_streamed:
                    with suppress(Error):
                        await taken.message.in_progress()

    def _log(self, cause: str, line: str) -> None:
        now = monotonic()
        if now - self._logged.get(cause, float("-inf")) >= LOG_EVERY:
            self._logged[cause] = now
            _LOG.warning("%s", line)
