"""The topic on which the audit log is published, by the worker's own grant to publish there."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from troth.documents.identity.document import Messages
from troth.edge.events.message import Sealed
from troth.edge.events.rejection import RejectedError
from troth.edge.events.rights import rights_of
from troth.edge.identity.files import Identity
from troth.resources.messaging.broker_type import BrokerType
from troth.review.brokers import BrokerUnavailableError

if TYPE_CHECKING:
    from troth.clients.nats import NatsClient


class Topic(Protocol):
    """What publishes a sealed event, and returns once it is acknowledged."""

    async def record(self, sealed: Sealed) -> None:
        """Publish it; raises `BrokerUnavailableError` or `TooLargeError`."""

    async def close(self) -> None:
        """Close the connections."""


class AuditTopic:
    """Publishes sealed events of one policy. It connects with the first of them."""

    def __init__(self, identity: Identity, policy: str, credentials: Path) -> None:
        """Create it without I/O. `credentials` is as for `connecting.connect`."""
        self._identity = identity
        self._policy = policy
        self._credentials = credentials
        self._topic: Topic | None = None

    async def publish(self, sealed: Sealed) -> None:
        """Publish an event, and return once it is acknowledged.

        Raises `BrokerUnavailableError`, also without a grant, `TooLargeError`, and `IdentityError`.
        """
        if self._topic is None:
            self._topic = self._opened()
        await self._topic.record(sealed)

    async def close(self) -> None:
        """Close the connections."""
        if self._topic is not None:
            await self._topic.close()

    def _opened(self) -> Topic:
        try:
            entry = rights_of(self._identity.current, self._policy, "Publish", None).granted
        except RejectedError as error:
            raise BrokerUnavailableError(error.rejection.detail) from None
        directory = self._credentials / entry.broker.replace("/", ".", 1)
        if entry.type is BrokerType.KAFKA:
            return _kafka(entry, directory)
        if entry.type is BrokerType.NATS:
            return _nats(entry, directory)
        raise BrokerUnavailableError(f"the audit log cannot be published at {entry.type}")


def _kafka(entry: Messages, directory: Path) -> Topic:
    from troth.edge.events.adapters.kafka_files import client_properties  # noqa: PLC0415 - an extra
    from troth.review.kafka.topic import KafkaTopic  # noqa: PLC0415

    return KafkaTopic(entry.topic or "", entry.policy, partial(client_properties, directory))


def _nats(entry: Messages, directory: Path) -> Topic:
    from troth.edge.events.adapters.nats.connection import connect  # noqa: PLC0415 - an extra
    from troth.review.nats.topic import NatsTopic  # noqa: PLC0415

    if entry.stream is None:
        raise BrokerUnavailableError(
            f"the TopicPolicy {entry.policy} names no topic.stream, and without a stream nobody "
            "acknowledges an entry of the audit log"
        )

    async def ignore(_: Exception) -> None:
        """Ignore what the library reports besides: each request says what failed."""

    async def connected() -> "NatsClient":
        policies, forever = [entry.policy], -1
        return await connect(
            directory, policies, error_cb=ignore, max_reconnect_attempts=forever, pending_size=0
        )

    return NatsTopic(entry.stream, entry.topic or "", connected, lambda _: None)
