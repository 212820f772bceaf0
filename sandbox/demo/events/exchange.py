"""What the act of events needs of a broker: checkout publishes, and fulfilment consumes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from sandbox.demo.cast import SHOP
from troth.documents.identity.document import Messages
from troth.edge.events.consumption.flow import Consumed
from troth.edge.events.consumption.handlers import Handler
from troth.edge.events.event import Event
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rights import rights_of
from troth.edge.identity.files import Identity

POLICY = f"{SHOP}/orders"
GROUP = "fulfilment"
SECONDS = 60.0
"""Maximum time in seconds for an answer of the broker, and for a message to be consumed."""
PATIENCE = 2.0
"""Seconds for which fulfilment waits for files that know a producer. The default is 2 minutes."""
ATTEMPTS = 2
FIRST_PAUSE = 0.2
SOLD_OUT = "sold out"
"""The item with which fulfilment's handler fails."""


class Party(NamedTuple):
    """A service: the files of its identity, and those of its credential at the broker."""

    identity: Identity
    credential: Path

    def granted(self, action: Literal["Publish", "Consume"]) -> Messages:
        """Return the service's rights at the policy, as its mounted files have them.

        Raises `RejectedError` without rights, and `IdentityError` without files.
        """
        return rights_of(self.identity.current, POLICY, action, None).granted


@dataclass
class Fulfilment:
    """What fulfilment got: the events of its handler, and what became of each message."""

    events: list[Event] = field(default_factory=list)
    outcomes: list[Consumed] = field(default_factory=list)

    @property
    def handler(self) -> Handler[[Event], None]:
        """The handler of orders."""
        return Handler(self.fulfil, POLICY)

    def fulfil(self, event: Event) -> None:
        """Take an order, or fail."""
        if SOLD_OUT in event.payload["items"]:
            raise LookupError(SOLD_OUT)
        self.events.append(event)

    def consumed(self, consumed: Consumed) -> None:
        """Count a message that is committed."""
        self.outcomes.append(consumed)

    def waited(self, reason: str, seconds: float) -> None:
        """Ignore that a message waits."""


class Exchange(Protocol):
    """The topic of orders at a broker, and its dead-letter topic."""

    @property
    def binding(self) -> Literal["kafka", "nats"]:
        """The form of the headers."""

    def order(self, data: bytes, **context: Any) -> Sealed:  # noqa: ANN401 - those of `Sealer.seal`
        """Publish an order as checkout, with the library's producer."""

    def publish(self, sealed: Sealed) -> None:
        """Publish to the topic of orders with checkout's credential, without the library."""

    def consume(self, count: int) -> None:
        """Consume as fulfilment until `count` messages in all are committed.

        Raises `DemoError` if this takes too long.
        """

    def stop(self) -> None:
        """End fulfilment's consumer; `consume` starts another."""

    def reconnect(self) -> None:
        """Connect checkout again, with the credential that it has now."""

    def dead_letter(self) -> Message:
        """Return the next message of the dead-letter topic, which its owner reads."""

    def close(self) -> None:
        """Close all connections."""
