"""One connection to a target: it sends a request and reads the head of its answer.

httptools parses answers (llhttp), as it parses requests at the gateway's server. A connection that
gets anything besides the answers to its requests is closed, so that no answer can be taken for that
of another delivery.
"""

import asyncio
import math
from dataclasses import dataclass, field

import httptools

MOST_ANSWER = 64 * 1024
"""Maximum size in bytes of an answer. Its body is dropped, to keep the connection."""
REST_WITHIN = 1.0
"""Time in seconds in which the body of an answer must end, and a closed connection too."""
_CHECK_INTERVAL = 0.5

_OK = 200
_UPGRADED = 101


class NoAnswerError(Exception):
    """A request was sent, and no answer came. `reason` is one word for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Head:
    """Head of an answer; names of headers are in lower case."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)

    def values(self, name: bytes) -> list[str]:
        """Return every value of a header."""
        return [value.decode("latin-1") for each, value in self.headers if each == name]


class Connection(asyncio.Protocol):
    """Connection that carries one request at a time.

    `due` is the time on the loop's clock by which the next step must have happened: the answer, the
    end of its body, or the next request. It is checked twice a second, which is cheaper than a
    timer for each request.
    """

    def __init__(self) -> None:
        self.due = math.inf
        self._loop = asyncio.get_running_loop()
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._head: asyncio.Future[Head] | None = None
        self._end: asyncio.Future[None] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._received = 0
        self._is_answered = self._is_kept = True

    async def exchange(self, request: bytes, due: float) -> Head:
        """Send a request, and return the head of its answer.

        Raises `NoAnswerError` if it does not arrive until `due`, or is invalid.
        """
        self.due, self._received = due, 0
        self._is_answered = self._is_kept = False
        self._head = self._loop.create_future()
        self._transport.write(request)
        try:
            return await self._head
        except BaseException:
            self.abort()
            raise

    async def is_reusable(self) -> bool:
        """Wait for the end of the answer's body, and return whether another request may follow."""
        if not self._is_answered and self._parser is not None:
            self.due = self._loop.time() + REST_WITHIN
            self._end = self._loop.create_future()
            await self._end
        return self._is_kept and not self._transport.is_closing()

    def is_open(self) -> bool:
        """Return whether a request may be sent now."""
        return self._loop.time() < self.due and not self._transport.is_closing()

    def close(self) -> None:
        """Close the connection, and abort it soon if the target does not."""
        self.due = self._loop.time() + REST_WITHIN
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    # Events of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Parse an answer."""
        if self._is_answered or self._parser is None:
            self.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._is_kept = False
            self.abort()
        else:
            if self._received > MOST_ANSWER and not self._is_answered:
                self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End what waits for the answer."""
        super().connection_lost(exc)
        self._watching.cancel()
        self._is_kept = False
        self._parser = None  # breaks a reference cycle
        if self._head is not None and not self._head.done():
            self._head.set_exception(NoAnswerError("answer-lost"))
        self._ended()

    def _ended(self) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    def _watch(self) -> None:
        if self._loop.time() >= self.due:
            self._end_late()
        self._watching = self._loop.call_later(_CHECK_INTERVAL, self._watch)

    def _end_late(self) -> None:
        if self._head is not None and not self._head.done():
            self._head.set_exception(NoAnswerError("too-slow"))
        if self._is_answered and not self._transport.is_closing():
            self.close()
        else:
            self.abort()

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """Reject an answer to nothing."""
        if self._is_answered:
            raise NoAnswerError("answer-lost")
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Return the head of the final answer."""
        assert self._parser is not None
        assert self._head is not None
        status = self._parser.get_status_code()
        if (status >= _OK or status == _UPGRADED) and not self._head.done():
            self._head.set_result(Head(status, tuple(self._headers)))

    def on_message_complete(self) -> None:
        """Note the end of the final answer."""
        assert self._parser is not None
        if self._parser.get_status_code() >= _OK:
            self._is_answered = True
            self._is_kept = self._parser.should_keep_alive()
            self._ended()
