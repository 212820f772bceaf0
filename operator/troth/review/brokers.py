"""What the worker needs of a broker. Each type of broker has a module that implements it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from troth.edge.events.message import Message, Sealed
from troth.review.letters.letter import Position


class BrokerUnavailableError(Exception):
    """The broker cannot be reached, or denies what was asked; the text says which."""


class NotStoredError(BrokerUnavailableError):
    """The broker has certainly not stored the message."""


class DeniedError(NotStoredError):
    """The broker has no grant for what was asked."""


class TooLargeError(Exception):
    """The broker accepts no message of this size."""


class UnsendableError(Exception):
    """The broker's protocol cannot carry the message."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Message on a dead-letter topic, and its place there."""

    position: Position
    message: Message
    key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Redelivery:
    """Message to deliver again: its original headers and data, with the redrive among the headers.

    `id` is the same for each attempt to redrive one letter by one review; a broker that recognises
    repeated messages gets it. Messages with one `key` keep their order.
    """

    id: str
    topic: str
    headers: tuple[tuple[str, bytes], ...] = field(repr=False)
    data: bytes = field(repr=False)
    key: bytes | None = field(default=None, repr=False)


class DeadLetterTopic(Protocol):
    """Dead-letter topic of one policy, as its reviewer may use it."""

    async def incarnation(self) -> str:
        """Return a text that changes when the topic is deleted and created again.

        Raises `BrokerUnavailableError`.
        """

    async def bounds(self) -> Mapping[int, tuple[int, int]]:
        """Return the first offset and the one after the last, by partition.

        Raises `BrokerUnavailableError`.
        """

    def read(self, positions: Mapping[int, int]) -> AsyncIterator[Sequence[Stored]]:
        """Yield the messages from an offset in each partition on, for ever, in batches.

        An empty batch says that all is read, and nothing new came for a second. A partition that
        `positions` lacks is read from its first offset; one that is added meanwhile is not read.
        Offsets that the broker no longer has are skipped. Raises `BrokerUnavailableError`.
        """

    async def get(self, position: Position) -> Stored | None:
        """Return one message, None if the broker no longer has it; `BrokerUnavailableError`."""

    async def record(self, sealed: Sealed) -> None:
        """Publish a record on the topic, and return once it is acknowledged.

        Raises `BrokerUnavailableError` or `TooLargeError`.
        """

    async def redeliver(self, messages: Sequence[Redelivery]) -> Sequence[Exception | None]:
        """Publish messages to their topics, and return once each is acknowledged or failed.

        A failure is a `BrokerUnavailableError`, a `TooLargeError` or an `UnsendableError`. After
        the first, a message was perhaps stored, unless it is a `NotStoredError`. Messages with
        one key are published in their order.
        """

    async def close(self) -> None:
        """Close the connections."""
