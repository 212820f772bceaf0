"""Middleware for FastStream's broker for NATS, with JetStream and without."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

from faststream.middlewares import AckPolicy
from faststream.nats.subscriber.usecases.core_subscriber import CoreSubscriber
from faststream.nats.subscriber.usecases.stream_basic import StreamSubscriber
from nats.aio.msg import Msg
from nats.errors import Error
from nats.js.api import AckPolicy as StreamAckPolicy

from troth.edge.events.adapters.faststream.guard import Guard, Middleware
from troth.edge.events.adapters.nats.producer import publish_dead_letter, stream_headers
from troth.edge.events.bindings import nats
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import RejectedError
from troth.edge.identity.snapshot import IdentityError

BEAT_SECONDS: Final = 5.0
"""How often a stream hears that a message is being consumed; `ack_wait` must be longer."""


class EventMiddleware(Middleware[Msg]):
    """Verifies and seals the events of a `NatsBroker` or `NatsRouter`."""

    def __call__(self, msg: Msg | None, /, *, context: Any) -> "_NatsGuard":  # noqa: ANN401 - FastStream's
        """Return the guard of one message; FastStream calls this."""
        return _NatsGuard(self, msg, context=context)


class _NatsGuard(Guard[Msg]):
    _beat: asyncio.Task[None] | None = None

    async def on_receive(self) -> None:
        if isinstance(self.msg, Msg):
            self._beat = asyncio.create_task(self._tell())
        try:
            await super().on_receive()
        except BaseException:
            self._end_beat()
            raise

    async def after_processed(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> bool | None:
        try:
            return await super().after_processed(exc_type, exc_val, exc_tb)
        finally:
            self._end_beat()

    def fault(self, subscriber: Any) -> str | None:  # noqa: ANN401 - as in the base
        if not isinstance(self.msg, Msg):
            return "batches, key-value and object watchers cannot be guarded; use single messages"
        if isinstance(subscriber, CoreSubscriber):
            if self._stream() is not None:
                return "the policy names a stream; subscribe with stream, or messages are lost"
            return None
        if not isinstance(subscriber, StreamSubscriber):
            return "this subscriber cannot be guarded; use one of single messages"
        if subscriber.ack_policy is not AckPolicy.MANUAL:
            return "the subscriber needs ack_policy=AckPolicy.MANUAL, or messages are lost"
        if subscriber.config.ack_policy not in {None, StreamAckPolicy.EXPLICIT}:
            return "the consumer of the stream needs ack_policy explicit, or messages are lost"
        return None

    def message(self) -> Message:
        place: dict[str, Any] = {}
        if self._is_streamed():
            found = self.msg.metadata
            place = {
                "stored_at": found.timestamp.timestamp(),
                "sequence": found.sequence.stream,
            }
        return nats.read(self.msg.subject, self.msg.headers, self.msg.data, **place)

    async def publish(self, sealed: Sealed) -> None:
        client = self.context.get_local("handler_").connection
        await publish_dead_letter(client, sealed, acknowledged=self._is_streamed())

    async def acknowledge(self) -> None:
        if self._is_streamed():
            self._end_beat()
            with suppress(Error):
                await self.msg.ack()

    async def give_back(self) -> None:
        if self._is_streamed():
            self._end_beat()
            for each in self.msg if isinstance(self.msg, list) else [self.msg]:
                with suppress(Error):
                    await each.nak()

    def headers(self, sealed: Sealed) -> dict[str, str]:
        return stream_headers(sealed)

    def _is_streamed(self) -> bool:
        subscriber = self.context.get_local("handler_")
        return subscriber is not None and not isinstance(subscriber, CoreSubscriber)

    def _stream(self) -> str | None:
        owner = self._owner
        assert owner.opener is not None
        try:
            return owner.opener.rights(owner.identity.current).granted.stream
        except (IdentityError, RejectedError):
            return None

    async def _tell(self) -> None:
        """Tell the stream again and again that the message is being consumed."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if self._is_streamed():
                with suppress(Error):
                    await self.msg.in_progress()

    def _end_beat(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
