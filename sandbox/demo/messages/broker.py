"""What the message act needs of a broker, NATS or Kafka."""

from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Any, NamedTuple, Protocol

ORDERS, DEAD_LETTERS, PAYMENTS = "prod.orders.v1", "prod.orders.v1.dlq", "prod.payments.v1"
"""The topics of the broker. No policy names the last one."""
OTHER_GROUP = "audit"
"""A durable or group at the broker that no policy names."""


class Answer(NamedTuple):
    """A broker's answer: the result, or its words for a rejection."""

    words: str
    rejected: bool = False


class Denial(Enum):
    """The kinds of rejection."""

    PUBLISH = auto()
    CONSUME = auto()
    LOGIN = auto()


class Service(Protocol):
    """A service with an open connection to the broker."""

    def publish(self, topic: str, message: str) -> Answer:
        """Publish a message."""

    def consume(self, topic: str, group: str) -> Answer:
        """Receive and acknowledge one message, by a group or durable; return it."""

    def use_connection(self) -> Answer:
        """Use the open connection; rejected once the broker closes it or rejects its messages."""


class Broker(Protocol):
    """A running broker."""

    @property
    def title(self) -> str:
        """Its name and version."""

    @property
    def example(self) -> Path:
        """The file that declares it and the policy."""

    @property
    def spec(self) -> Mapping[str, Any]:
        """What the spec of its MessageBroker has other than the example."""

    @property
    def secrets(self) -> Mapping[str, Mapping[str, str]]:
        """The data of its administrator's Secrets, by name."""

    @property
    def denials(self) -> Mapping[Denial, str]:
        """Patterns of its rejections."""

    def connect(self, files: Path) -> Service:
        """Log in with the files of a credential; raises `DemoError` if it is rejected."""

    def log_in(self, files: Path, impersonating: Path | None = None) -> Answer:
        """Log in and leave; or under the name in another's files, with the own secret."""

    def close(self) -> None:
        """Close all connections."""
