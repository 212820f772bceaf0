"""The steps of a message's flow, how they fail, and how a flow ends. `flow` explains them."""

from collections.abc import Generator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from troth.edge.events.event import Event
from troth.edge.events.message import Sealed
from troth.edge.events.rejection import Rejection


class UnavailableError(Exception):
    """The broker has not acknowledged a dead letter. The flow waits, and tries again.

    The text says why, for the log. The broker may have stored the dead letter nevertheless.
    """


class TooLargeError(Exception):
    """The broker does not accept a dead letter of this size."""


class StoppedError(Exception):
    """A message could not be consumed, and there is no dead-letter topic. It is not committed."""

    def __init__(self, origin: str, rejection: Rejection) -> None:
        super().__init__(
            f"the message {origin} cannot be consumed ({rejection}); declare deadLetter in the "
            "TopicPolicy, or drop rejected messages with on_rejected='drop'"
        )
        self.origin = origin
        self.rejection = rejection


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim an event; the result is the claim (any object but None), or a `Seen`.

    `position` is the message's place in its log, empty if no log has it. `StoreUnavailableError`
    is thrown into the flow if the store cannot decide.
    """

    event: Event
    position: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Mark a claimed event as consumed, or `StoreUnavailableError` is thrown."""

    claim: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Release:
    """Give up a claim. Nothing is thrown: a claim that stays ends by itself."""

    claim: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Handle:
    """Call the handler with an argument; what it raises is thrown."""

    argument: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish a dead letter, and return once the broker has acknowledged it.

    `UnavailableError` is thrown if it has not, and `TooLargeError` if it never will.
    """

    dead_letter: Sealed


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait, and meanwhile take no later message of the same partition."""

    seconds: float
    reason: str


class Outcome(StrEnum):
    """What became of a message that may be committed."""

    HANDLED = "Handled"
    REDELIVERED = "Redelivered"
    NOT_ADDRESSED = "NotAddressed"
    DEAD_LETTERED = "DeadLettered"
    DROPPED = "Dropped"


@dataclass(frozen=True, slots=True)
class Consumed:
    """Result of a flow: the message may be committed.

    `rejection` is None unless it was dead-lettered or dropped. `attempts` counts the calls of the
    handler.
    """

    outcome: Outcome
    origin: str
    rejection: Rejection | None = None
    attempts: int = 0


Step = Claim | Mark | Release | Handle | Publish | Wait
Flow = Generator[Step, Any, Consumed]


LONGEST_PAUSE: Final = 30.0
"""Maximum pause in seconds."""


class Pauses:
    """Pauses that double."""

    def __init__(self, first: float) -> None:
        """Begin with a pause of `first` seconds."""
        self._seconds = first

    def next(self) -> float:
        """Return the next pause in seconds."""
        seconds = self._seconds
        self._seconds = min(2 * seconds, LONGEST_PAUSE)
        return seconds
