"""What the act about messages needs of a broker, whichever it is."""

from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Any, NamedTuple, Protocol

ORDERS, DEAD_LETTERS, PAYMENTS = "prod.orders.v1", "prod.orders.v1.dlq", "prod.payments.v1"
"""The topics that there are; the last is nobody's, as far as Troth is told."""
OTHERS_GROUP = "audit"
"""A durable or group at the broker that nobody of the shop may consume by."""


class Answer(NamedTuple):
    """What a broker answered: what is done, or why it is refused, in its own words."""

    words: str
    refused: bool = False


class Refusal(Enum):
    """What a broker refuses."""

    PUBLISH = auto()
    CONSUME = auto()
    LOGIN = auto()


class Service(Protocol):
    """A service that is logged in, its connection open."""

    def publish(self, topic: str, message: str) -> Answer:
        """Publish, and return what was answered."""

    def consume(self, topic: str, group: str) -> Answer:
        """Take one message, by a group or durable; return it, acknowledged, or the refusal."""

    def until_refused(self, seconds: float) -> Answer | None:
        """Use what is open until it is ended or refused; None if it is not in that time."""


class OnStage(Protocol):
    """A broker that runs."""

    @property
    def title(self) -> str:
        """What it is."""

    @property
    def example(self) -> Path:
        """The file that declares it, and the policy."""

    @property
    def described(self) -> Mapping[str, Any]:
        """What the spec of its MessageBroker says otherwise than the example."""

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The Secrets that its administrator makes: their data by their names."""

    @property
    def ends(self) -> str:
        """What becomes of what a service has open, when its grants end."""

    @property
    def refusals(self) -> Mapping[Refusal, str]:
        """What its refusals look like: regular expressions."""

    def enter(self, files: Path) -> Service:
        """Log in with the files of a credential's Secret; raises `DemoError` if it is refused."""

    def log_in(self, files: Path, posing_as: Path | None = None) -> Answer:
        """Log in once more and leave; or under the name in others' files, with one's own secret."""

    def close(self) -> None:
        """Let go of all connections."""
