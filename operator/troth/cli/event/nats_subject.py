"""Reads a stream or a subject of NATS; nothing is acknowledged, and no queue group is joined.

A stream is read by an ephemeral consumer of its own. Needs the extra `nats`.
"""

import asyncio
import base64
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable
from typing import Any, TypeVar

from nats import errors
from nats.aio.msg import Msg
from nats.js import errors as stream_errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from troth.brokers.nats.jwt import Creds, read_creds
from troth.cli.event.credentials import NatsFiles
from troth.cli.event.tailing import Reading, Show, TailError
from troth.edge.events.adapters.nats.connection import EventClient
from troth.edge.events.adapters.nats.pulling import Pull, PullEndedError
from troth.edge.events.bindings import nats

T = TypeVar("T")

_CLOSE_SECONDS = 0.5
_BATCH = 100
_IDLE = 60.0
"""Seconds after which the server deletes the consumer of a client that is gone."""
_DENIED = (
    "NATS does not allow the user to read this; Troth grants a consumer only its own durable "
    "consumer or queue group, so name the credential of another user with --credentials"
)


def read_subject(files: NatsFiles, stream: str | None, reading: Reading, show: Show) -> None:
    """Show the messages of a subject: those in a stream, or without one those that come from now.

    Raises `TailError`.
    """
    try:
        user = read_creds(files.creds)
    except ValueError as error:
        raise TailError(f"user.creds is {error}") from None
    # asyncio warns about each TLS connection of the library that ends, on standard error.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    asyncio.run(_read(files, user, stream, reading, show))


async def _read(
    files: NatsFiles, user: Creds, stream: str | None, reading: Reading, show: Show
) -> None:
    client = _Client(files, user, reading)
    try:
        await client.connect()
        if stream is None:
            await client.listen(show)
        else:
            await client.replay(stream, show)
    except stream_errors.NotFoundError:
        raise TailError(f"NATS has no stream {stream}") from None
    except PullEndedError:
        raise TailError(
            "NATS ended the reading: the stream or the consumer was changed or deleted"
        ) from None
    except (stream_errors.Error, errors.Error, OSError, TimeoutError) as error:
        raise TailError(client.sentence(error)) from None
    finally:
        await client.close()


class _Client:
    def __init__(self, files: NatsFiles, user: Creds, reading: Reading) -> None:
        self._files = files
        self._user = user
        self._reading = reading
        self._client = EventClient()
        self._seen: list[Exception] = []
        self._failed = asyncio.Event()
        pattern = f"{reading.topic.removesuffix('.')}.>" if reading.prefix else reading.topic
        self._subject = pattern

    async def connect(self) -> None:
        user = self._user

        def sign(nonce: str) -> bytes:
            # The library continues without TLS if the server, or a man in the middle, offers none.
            if not self._client._server_info.get("tls_required"):  # noqa: SLF001
                raise ConnectionError("no TLS")
            return base64.b64encode(user.key.sign(nonce.encode()))

        async with asyncio.timeout(self._reading.timeout):
            await self._client.connect(
                self._files.servers,
                name=self._reading.name,
                tls=self._files.tls,
                inbox_prefix=self._files.inbox_prefix,
                user_jwt_cb=lambda: bytearray(user.token.encode()),
                signature_cb=sign,
                error_cb=self._fail,
                closed_cb=self._end,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
            )

    async def close(self) -> None:
        await self._client.close_within(_CLOSE_SECONDS)

    async def listen(self, show: Show) -> None:
        """Show the messages that come from now on."""
        subscription = await self._client.subscribe(self._subject)
        await self._answered(self._client.flush())
        while True:
            message = await self._answered(subscription.next_msg(timeout=None))
            if not show(nats.read(message.subject, message.headers, message.data)):
                return

    async def replay(self, stream: str, show: Show) -> None:
        """Show the messages of a stream, from the start of the reading."""
        jetstream = self._client.jetstream(timeout=self._reading.timeout)
        state = (await self._answered(jetstream.stream_info(stream))).state
        first = self._reading.start.within(max(state.first_seq, 1), state.last_seq + 1)
        if first > state.last_seq and not self._reading.follow:
            return
        config = ConsumerConfig(
            filter_subject=self._subject,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=first,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=_IDLE,
            mem_storage=True,
        )
        consumer = await self._answered(jetstream.add_consumer(stream, config))
        try:
            pending = consumer.num_pending or 0
            await self._pull(stream, consumer.name, pending, state.last_seq, show)
        finally:
            with contextlib.suppress(errors.Error, stream_errors.Error, TimeoutError):
                await jetstream.delete_consumer(stream, consumer.name)

    async def _pull(self, stream: str, consumer: str, pending: int, last: int, show: Show) -> None:
        """Show messages up to `last` or without end."""
        pull = await Pull.open(self._client, stream, consumer)
        follow, timeout = self._reading.follow, self._reading.timeout
        while pending > 0 or follow:
            messages: deque[Msg] = deque()
            await self._answered(
                pull.fetch(messages, _BATCH, wait=timeout / 2 if follow else 0.0, patience=timeout)
            )
            for message in messages:
                place = message.metadata
                if not follow and place.sequence.stream > last:
                    return
                pending = place.num_pending
                if not show(
                    nats.read(
                        message.subject,
                        message.headers,
                        message.data,
                        stored_at=place.timestamp.timestamp(),
                        sequence=place.sequence.stream,
                    )
                ):
                    return
            if not messages and not follow:
                return

    async def _answered(self, awaited: Awaitable[T]) -> T:
        """Return a result; raise if the server reports an error before, or the connection ends."""
        task = asyncio.ensure_future(awaited)
        failed = asyncio.ensure_future(self._failed.wait())
        try:
            await asyncio.wait({task, failed}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise errors.ConnectionClosedError
            return task.result()
        finally:
            task.add_done_callback(_retrieve)
            task.cancel()
            failed.cancel()

    async def _fail(self, error: Exception) -> None:
        self._seen.append(error)
        if _is_denial(error):
            self._failed.set()

    async def _end(self) -> None:
        self._failed.set()

    def sentence(self, error: Exception) -> str:
        """Return the cause in a sentence, which quotes nothing that the server sent."""
        seen = [*self._seen, error]
        if any(_is_denial(each) for each in seen):
            return _DENIED
        text = " ".join(str(each).lower() for each in seen)
        if any(word in text for word in ("authorization", "authentication", "expired", "revoked")):
            return "NATS rejects the credential; name a current one with --credentials"
        if "no tls" in text:
            return "the NATS server offers no TLS, so nothing was sent to it"
        if "certificate" in text:
            return "the certificate of NATS is not from a trusted authority, or is for another name"
        if isinstance(error, stream_errors.ServiceUnavailableError):
            return "the account has no JetStream, or the stream is unavailable"
        return f"NATS does not answer, or the connection ended ({type(seen[0]).__name__})"


def _retrieve(task: asyncio.Future[Any]) -> None:
    """Take the error of a task that nobody waits for: it may miss its cancellation."""
    if not task.cancelled():
        task.exception()


def _is_denial(error: Exception) -> bool:
    return "permissions violation" in str(error).lower()
