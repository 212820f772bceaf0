"""Where the log writes its lines: standard output, and a topic."""

import asyncio
from collections.abc import Sequence
from typing import BinaryIO, Final, Protocol

from troth.edge.events.message import Sealed
from troth.edge.events.sealing import Sealer, SealingError
from troth.edge.identity.snapshot import IdentityError
from troth.review.brokers import BrokerUnavailableError, TooLargeError
from troth.review.trail.entry import Entry

TYPE: Final = "dev.troth.auditlog.v1"
"""CloudEvents type of an entry on a topic. Its data is the line."""


class SinkError(Exception):
    """A sink could not write; the text says why. The same entries are written again."""


class Sink(Protocol):
    """Writes entries in their order. It may write an entry twice."""

    name: str
    """Name for metrics and logs."""
    required: bool
    """Whether a decision waits until its entry is written here."""

    async def write(self, entries: Sequence[Entry]) -> None:
        """Write entries; raises `SinkError` if not all of them are certainly written."""


class LineSink:
    """Writes lines to a file, such as standard output."""

    name = "stdout"
    required = True

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._torn = False
        """Whether the last line may have no end."""

    async def write(self, entries: Sequence[Entry]) -> None:
        """Write the lines in a thread, because the reader of a pipe may be slow."""
        text = "".join(f"{each.line}\n" for each in entries).encode()
        before, self._torn = b"\n" if self._torn else b"", True
        try:
            await asyncio.to_thread(self._put, before + text)
        except (OSError, ValueError) as error:  # ValueError: the file is closed
            raise SinkError(f"{self.name} cannot be written: {error}") from None
        self._torn = False

    def _put(self, text: bytes) -> None:
        self._file.write(text)
        self._file.flush()


class EventPublisher(Protocol):
    """Publishes sealed events."""

    async def publish(self, sealed: Sealed) -> None:
        """Publish an event, and return once it is acknowledged.

        Raises `BrokerUnavailableError` or `TooLargeError`.
        """


class TopicSink:
    """Publishes each line as a sealed event of a policy by which the worker may publish."""

    name = "topic"
    required = False

    def __init__(self, sealer: Sealer, publisher: EventPublisher) -> None:
        self._sealer = sealer
        self._publisher = publisher

    async def write(self, entries: Sequence[Entry]) -> None:
        """Publish one entry after the other, so that the topic has them in order."""
        for each in entries:
            try:
                await self._publisher.publish(self._sealed(each))
            except (SealingError, IdentityError, BrokerUnavailableError, TooLargeError) as error:
                raise SinkError(f"the topic cannot be written: {error}") from None

    def _sealed(self, entry: Entry) -> Sealed:
        return self._sealer.seal(
            entry.line.encode(),
            type=TYPE,
            id=f"{entry.log}-{entry.sequence}",  # the same if it is published twice
        )
