"""A dead-letter topic of NATS: one subject in a stream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final

from nats.errors import Error

from troth.clients.nats import NatsClient
from troth.edge.events.adapters.nats.producer import publish_dead_letter
from troth.edge.events.consumption.steps import TooLargeError as LargeError
from troth.edge.events.consumption.steps import UnavailableError
from troth.edge.events.message import Sealed
from troth.review.brokers import (
    BrokerUnavailableError,
    NotStoredError,
    Redelivery,
    Stored,
    TooLargeError,
)
from troth.review.letters.letter import Position
from troth.review.nats.direct import ANSWER_SECONDS, DirectGet
from troth.review.nats.publishing import Publisher, members
from troth.serving.cancellation import raise_if_cancelled

IDLE_SECONDS: Final = 1.0
"""Time without a new message after which `read` yields an empty batch."""

_KEPT = 64
_FRESH_SECONDS = 5.0

Connect = Callable[[], Awaitable[NatsClient]]
"""Returns a connected client; raises the library's errors, and `OSError` without files."""


class NatsTopic:
    """Dead-letter topic of one policy. Only one event loop may use it."""

    def __init__(
        self, stream: str, subject: str, connect: Connect, stream_of: Callable[[str], str | None]
    ) -> None:
        """Create it without connecting.

        `stream_of` returns the stream of a topic to which messages are delivered again, None if no
        stream stores it.
        """
        self._stream, self._subject = stream, subject
        self._connect = connect
        self._stream_of = stream_of
        self._client: NatsClient | None = None
        self._connecting, self._getting = asyncio.Lock(), asyncio.Lock()
        self._publishing = asyncio.Lock()
        self._getter: DirectGet | None = None
        self._kept: dict[Position, Stored] = {}
        self._until = 0.0

    async def incarnation(self) -> str:
        """Return the time at which the stream was created."""
        return str((await self._info())["created"])

    async def bounds(self) -> Mapping[int, tuple[int, int]]:
        """Return the first sequence number of the stream and the one after the last.

        The stream may have other subjects too.
        """
        state = (await self._info())["state"]
        # a stream that has never had a message says 0 and 0, and its first will have the number 1
        return {0: (max(int(state["first_seq"]), 1), int(state["last_seq"]) + 1)}

    async def read(self, positions: Mapping[int, int]) -> AsyncIterator[Sequence[Stored]]:
        """Yield the messages from a sequence number on; see `DeadLetterTopic`."""
        sequence = positions.get(0, 1)
        getter = DirectGet(await self._connected(), self._stream, self._subject)
        try:
            while True:
                found = await getter.from_sequence(sequence)
                if not found:
                    await asyncio.sleep(IDLE_SECONDS)
                    found = await getter.from_sequence(sequence)
                if found:
                    sequence = found[-1].position.offset + 1
                yield found
        finally:
            with suppress(Error):
                await getter.close()

    async def get(self, position: Position) -> Stored | None:
        """Return one message, None if the stream no longer has it.

        The messages behind it are kept for a moment, because a review wants them next.
        """
        if monotonic() < self._until and (kept := self._kept.pop(position, None)):
            return kept
        async with self._getting:
            client = await self._connected()
            if self._getter is None:
                self._getter = DirectGet(client, self._stream, self._subject)
            found = await self._getter.from_sequence(position.offset, _KEPT)
        if not found or found[0].position != position:
            return None
        self._kept = {each.position: each for each in found[1:]}
        self._until = monotonic() + _FRESH_SECONDS
        return found[0]

    async def record(self, sealed: Sealed) -> None:
        """Publish a record, and return once the stream has stored it."""
        try:
            await publish_dead_letter(await self._connected(), sealed, acknowledged=True)
        except LargeError as error:
            raise TooLargeError(str(error)) from None
        except UnavailableError as error:
            raise BrokerUnavailableError(f"NATS subject {sealed.topic}: {error}") from None

    async def redeliver(self, messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        """Publish messages to their topics; see `DeadLetterTopic`."""
        try:
            client = await self._connected()
        except BrokerUnavailableError as error:
            return [NotStoredError(str(error))] * len(messages)
        async with self._publishing:
            return await Publisher(client, self._stream_of).publish(messages)

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close_within(ANSWER_SECONDS)

    async def _connected(self) -> NatsClient:
        raise_if_cancelled()
        async with self._connecting:
            if self._client is None or self._client.is_closed:
                self._getter, self._kept = None, {}
                try:
                    async with asyncio.timeout(ANSWER_SECONDS):
                        self._client = await self._connect()
                except (Error, OSError, ValueError, TimeoutError) as error:
                    name = type(error).__name__
                    raise BrokerUnavailableError(f"NATS cannot be reached ({name})") from None
            return self._client

    async def _info(self) -> Mapping[str, Any]:
        """Return what the server says of the stream; raises `BrokerUnavailableError`."""
        client = await self._connected()
        try:
            answer = await client.request(
                f"$JS.API.STREAM.INFO.{self._stream}", b"", timeout=ANSWER_SECONDS
            )
            info = members(answer.data)
        except (Error, OSError, TimeoutError) as error:
            raise self._failed(f"no description of it ({type(error).__name__})") from None
        if (fault := info.get("error")) is not None:
            description = fault.get("description") if isinstance(fault, dict) else None
            raise self._failed(str(description or "unknown error")[:200])
        config = info.get("config")
        if not isinstance(config, dict) or not {"created", "state"} <= info.keys():
            raise self._failed("the server's description of it cannot be read")
        if not config.get("allow_direct"):
            raise self._failed("it has no allow_direct; set it, so that its messages can be read")
        return info

    def _failed(self, what: str) -> BrokerUnavailableError:
        return BrokerUnavailableError(f"NATS stream {self._stream}: {what}")
