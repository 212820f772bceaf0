"""What both brokers share when a topic is read: which messages, and how reading ends."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from troth.edge.events.message import Message

WAIT = 10.0
"""Maximum time in seconds for an answer of the broker."""

Show = Callable[[Message], bool]
"""Shows a message, and returns whether to go on."""

_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
_MOST = 2**63 - 1


class TailError(Exception):
    """A topic that cannot be read. The text says why and what to do, and quotes no credential."""


@dataclass(frozen=True, slots=True)
class Start:
    """The first message to show: an offset, or a number of messages before the end.

    In NATS, an offset is a sequence number of the stream.
    """

    offset: int
    from_end: bool = False

    @classmethod
    def parse(cls, text: str) -> "Start":
        """Parse `start`, `end`, an offset such as `42`, or `-10` for the last ten messages.

        Raises `ValueError` for any other text.
        """
        if text == "start":
            return cls(0)
        if text == "end":
            return cls(0, from_end=True)
        if _NUMBER.fullmatch(text) is None:
            raise ValueError("not start, end, an offset, or the negative number of last messages")
        number = int(text)
        return cls(-number, from_end=True) if text.startswith("-") else cls(number)

    def within(self, low: int, high: int) -> int:
        """Return the first offset to read of a log from `low` to before `high`."""
        first = high - self.offset if self.from_end else self.offset
        return min(max(first, low), high)


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read a topic.

    `topic` is the name, or a prefix with `prefix`. `follow` waits for further messages. `name` is
    that of the client at the broker. `timeout` is in seconds.
    """

    topic: str
    prefix: bool
    start: Start
    follow: bool
    name: str
    timeout: float = WAIT
