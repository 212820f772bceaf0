"""Publishing of messages again, each acknowledged by its stream.

The library's own `publish_async` loses the answer of a stream that rejects a message.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from nats.aio.msg import Msg
from nats.errors import (
    BadHeaderError,
    ConnectionClosedError,
    ConnectionDrainingError,
    Error,
    MaxPayloadError,
    OutboundBufferLimitError,
)
from nats.js.api import Header

from troth.clients.nats import NatsClient
from troth.edge.events.adapters.nats.producer import await_server
from troth.edge.events.consumption.flow import UnavailableError
from troth.review.brokers import (
    BrokerUnavailableError,
    DeniedError,
    NotStoredError,
    Redelivery,
    TooLargeError,
    UnsendableError,
)

ANSWER_SECONDS: Final = 10.0
"""Time for a stream to acknowledge a message."""

_MESSAGE_ID = "Nats-Msg-Id"
_SERVER = "nats-"
"""Begin of the names of headers that are for the server. One could empty the stream."""
_TOO_LARGE = frozenset({10054, 10097})
"""Error codes of JetStream for a message, and for its headers."""
_NO_RESPONDERS = "503"
_LINE = len("NATS/1.0\r\n\r\n")
_SEPARATORS = len(": \r\n")


class _Headers(dict[str, str]):
    """Headers of which some may be repeated; the library writes what `items` returns."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    # the library only iterates over them
    def items(self) -> Sequence[tuple[str, str]]:  # type: ignore[override]
        """Return all headers in their order."""
        return self._pairs


class Publisher:
    """Publishes messages again."""

    def __init__(self, client: NatsClient, stream_of: Callable[[str], str | None]) -> None:
        """Create it without I/O. `stream_of` returns the stream of a topic, None without one."""
        self._client = client
        self._stream_of = stream_of
        self._inbox = client.new_inbox()
        self._answers: dict[str, asyncio.Future[Msg]] = {}
        self._topics: dict[str, str] = {}
        """Topics of messages, by the inbox for the answer."""
        self._denials: Counter[str] = Counter()

    async def publish(self, messages: Sequence[Redelivery]) -> list[Exception | None]:
        """Publish messages in their order; return the failure of each once all have ended.

        A failure is a `BrokerUnavailableError`, a `TooLargeError` or an `UnsendableError`. No other
        publisher may use the client meanwhile, because a denial names only the subject.
        """
        with self._client.denials(self._denied):
            return await self._publish(messages)

    async def _publish(self, messages: Sequence[Redelivery]) -> list[Exception | None]:
        try:
            subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)
        except (Error, OSError) as error:
            return [_unsent(each.topic, error) for each in messages]
        try:
            begun = [await self._begin(n, each) for n, each in enumerate(messages)]
            return [
                await self._outcome(each, message.topic)
                for each, message in zip(begun, messages, strict=True)
            ]
        finally:
            with suppress(Error):
                await subscription.unsubscribe()

    async def _answered(self, message: Msg) -> None:
        future = self._answers.pop(message.subject, None)
        if future is not None and not future.done():
            future.set_result(message)
            self._end_denied(self._topics[message.subject].lower())

    def _denied(self, subject: str) -> None:
        self._denials[subject] += 1
        self._end_denied(subject)

    def _end_denied(self, subject: str) -> None:
        """End the messages of a subject without an answer, if the server has denied that many."""
        inboxes = [each for each in self._answers if self._topics[each].lower() == subject]
        if len(inboxes) > self._denials[subject]:
            return
        self._denials[subject] -= len(inboxes)
        for each in inboxes:
            future = self._answers.pop(each)
            if not future.done():
                future.set_exception(_denial(self._topics[each]))

    async def _begin(
        self, number: int, message: Redelivery
    ) -> asyncio.Future[Msg] | Exception | None:
        try:
            headers = _headers(message)
            if _size(headers, message.data) > self._client.max_payload:
                # the server closes the connection of a client that exceeds its limit
                return _too_large(self._client)
            if self._stream_of(message.topic) is not None:
                return await self._request(f"{self._inbox}.{number}", message, headers)
            await self._client.publish(message.topic, message.data, headers=headers)
        except (ConnectionClosedError, ConnectionDrainingError, OutboundBufferLimitError) as error:
            return _unsent(message.topic, error)
        except (UnicodeError, BadHeaderError):
            return UnsendableError("NATS: a header is not UTF-8, or its name is not allowed")
        except MaxPayloadError:
            return _too_large(self._client)
        except (Error, OSError) as error:
            return _unavailable(message.topic, type(error).__name__)
        try:
            await await_server(self._client, message.topic)
        except UnavailableError:
            return _denial(message.topic)
        except (Error, OSError, TimeoutError) as error:
            return _unavailable(message.topic, type(error).__name__)
        return None

    async def _request(
        self, inbox: str, message: Redelivery, headers: _Headers
    ) -> asyncio.Future[Msg]:
        """Publish a message to a stream, and return the future of its answer."""
        answer = self._answers[inbox] = asyncio.get_running_loop().create_future()
        self._topics[inbox] = message.topic
        try:
            await self._client.publish(message.topic, message.data, inbox, headers)
        except Exception:
            self._answers.pop(inbox, None)  # otherwise it counts as awaiting an answer
            raise
        return answer

    async def _outcome(
        self, begun: asyncio.Future[Msg] | Exception | None, topic: str
    ) -> Exception | None:
        if not isinstance(begun, asyncio.Future):
            return begun
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await begun
        except TimeoutError:
            return _unavailable(topic, "no stream acknowledges the message in time")
        except DeniedError as error:
            return error
        if (answer.headers or {}).get(Header.STATUS) == _NO_RESPONDERS:
            return NotStoredError(f"NATS subject {topic}: no stream stores it")
        return self._failure(members(answer.data), topic)

    def _failure(self, answer: Mapping[str, Any], topic: str) -> Exception | None:
        """Return what an answer says went wrong, None if it says that the message is stored."""
        if "error" in answer:
            error = answer["error"] if isinstance(answer["error"], dict) else {}
            description = str(error.get("description", "its stream rejects the message"))[:200]
            if error.get("err_code") in _TOO_LARGE:
                return TooLargeError(f"NATS: {description}")
            return _unavailable(topic, description)
        stream, expected = answer.get("stream"), self._stream_of(topic)
        if not isinstance(stream, str) or type(answer.get("seq")) is not int:
            return _unavailable(topic, "the answer of its stream is unreadable")
        if stream != expected:
            return _unavailable(topic, f"stream {stream[:100]} stores it, not {expected}")
        return None


def members(data: bytes) -> Mapping[str, Any]:
    """Return the members of a JSON object, none if it is something else."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _headers(message: Redelivery) -> _Headers:
    """Return the headers to send, without those for the server; raises `BadHeaderError`."""
    for name, _ in message.headers:
        # the library would remove the space, so that " Nats-Rollup" reaches the server
        if name != name.strip():
            raise BadHeaderError(name)
    kept = [
        (name, value.decode("utf-8"))
        for name, value in message.headers
        if not name.lower().startswith(_SERVER)
    ]
    return _Headers([*kept, (_MESSAGE_ID, message.id)])


def _size(headers: _Headers, data: bytes) -> int:
    lines = (len(name.encode()) + len(value.encode()) for name, value in headers.items())
    return _LINE + len(data) + sum(each + _SEPARATORS for each in lines)


def _too_large(client: NatsClient) -> TooLargeError:
    return TooLargeError(f"the server accepts {client.max_payload} bytes")


def _denial(topic: str) -> DeniedError:
    return DeniedError(f"NATS subject {topic}: the server denies to publish to it")


def _unsent(topic: str, error: Exception) -> NotStoredError:
    """Return the failure of a message that the library has not sent, as while it reconnects."""
    return NotStoredError(f"NATS subject {topic}: {type(error).__name__}")


def _unavailable(topic: str, what: str) -> BrokerUnavailableError:
    return BrokerUnavailableError(f"NATS subject {topic}: {what}")
