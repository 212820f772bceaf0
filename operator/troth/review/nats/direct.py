"""Direct Get of a stream's messages (ADR-31 of NATS), in batches where the server has them.

A server before 2.11 answers a request for a batch with one message. It gets requests for single
messages then.
"""

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error
from nats.js.api import Header

from troth.edge.events.bindings import nats
from troth.review.brokers import BrokerUnavailableError, Stored
from troth.review.letters.letter import Position
from troth.serving.cancellation import raise_if_cancelled

MOST_MESSAGES: Final = 250
MOST_BYTES: Final = 4 * 1024 * 1024
"""Maximum of messages and of bytes in a batch."""
ANSWER_SECONDS: Final = 10.0
"""Time for the server to answer."""

_SEQUENCE, _SUBJECT, _TIME = "Nats-Sequence", "Nats-Subject", "Nats-Time-Stamp"
_ADDED = ("Nats-Stream", _SUBJECT, _SEQUENCE, _TIME)
"""Headers that the server adds to a message. It adds them after those that the message has."""
_ADDED_IN_BATCH = (*_ADDED, "Nats-Num-Pending", "Nats-Last-Sequence")
_NO_MESSAGE, _END_OF_BATCH, _NO_RESPONDERS = "404", "204", "503"
_FIRST_BATCHES = (2, 11)


class DirectGet:
    """Gets messages of one subject from a stream. Only one task may use it at a time."""

    def __init__(self, client: Client, stream: str, subject: str) -> None:
        """Create it without I/O."""
        self._client, self._stream, self._subject = client, stream, subject
        self._inbox = client.new_inbox()
        self._requests = 0
        self._subscription: Subscription | None = None
        version = client.connected_server_version
        self.batches = (version.major, version.minor) >= _FIRST_BATCHES
        """Whether the server is believed to answer with batches."""

    async def from_sequence(self, sequence: int, most: int = MOST_MESSAGES) -> list[Stored]:
        """Return messages from a sequence number on, an empty list if there are none.

        Raises `BrokerUnavailableError`.
        """
        asked: dict[str, Any] = {"seq": max(sequence, 1), "next_by_subj": self._subject}
        if not self.batches or most == 1:
            return await self._ask(asked, batch=False)
        batch = {"batch": most, "max_bytes": MOST_BYTES}
        return await self._ask({**asked, **batch}, batch=True)

    async def close(self) -> None:
        """Receive nothing more."""
        if self._subscription is not None and not self._client.is_closed:
            await self._subscription.unsubscribe()

    async def _ask(self, request: Mapping[str, Any], *, batch: bool) -> list[Stored]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await self._answers(request, batch=batch)
        except (TimeoutError, Error) as error:
            raise self._failed(f"no answer in time ({type(error).__name__})") from None
        raise_if_cancelled()
        added = _ADDED_IN_BATCH if batch and self.batches else _ADDED
        return [_stored(each, added) for each in found]

    async def _answers(self, request: Mapping[str, Any], *, batch: bool) -> list[Msg]:
        if self._subscription is None:
            self._subscription = await self._client.subscribe(f"{self._inbox}.*")
        self._requests += 1
        # An answer that comes too late is for an inbox that nobody waits for.
        inbox = f"{self._inbox}.{self._requests}"
        subject = f"$JS.API.DIRECT.GET.{self._stream}"
        await self._client.publish(subject, json.dumps(request).encode(), reply=inbox)
        found: list[Msg] = []
        while True:
            message = await self._next(found)
            if message is None:
                self.batches = False  # an old server, which sends one message and no end
                return found
            if message.subject != inbox:
                continue
            headers = message.headers or {}
            if _SEQUENCE in headers:  # no status has it, and every message
                found.append(message)
                if not batch:
                    return found
                continue
            status = headers.get(Header.STATUS)
            if status in {_NO_MESSAGE, _END_OF_BATCH}:
                return found
            if status == _NO_RESPONDERS:
                raise self._failed("no server answers; set allow_direct of the stream")
            raise self._failed(f"status {str(status)[:3]}")

    async def _next(self, found: list[Msg]) -> Msg | None:
        assert self._subscription is not None
        patience = ANSWER_SECONDS / 2
        try:
            return await self._subscription.next_msg(timeout=patience)
        except TimeoutError:
            if len(found) == 1:
                return None
            raise

    def _failed(self, what: str) -> BrokerUnavailableError:
        return BrokerUnavailableError(f"NATS stream {self._stream}: {what}")


def _stored(message: Msg, added: tuple[str, ...]) -> Stored:
    headers: dict[str, list[str]] = {
        name: [values] if isinstance(values, str) else list(values)
        for name, values in (message.headers or {}).items()
    }
    last = {name: headers[name].pop() for name in added if headers.get(name)}
    sequence = int(last[_SEQUENCE])
    return Stored(
        Position(0, sequence),
        nats.read(
            last[_SUBJECT],
            {name: values for name, values in headers.items() if values},
            message.data,
            stored_at=datetime.fromisoformat(last[_TIME]).timestamp(),
            sequence=sequence,
        ),
    )
