"""Connections to the dead-letter topics, from the credential files that the operator writes."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from troth.documents.identity.document import Messages
from troth.resources.messaging.broker_type import BrokerType
from troth.review.brokers import BrokerUnavailableError, DeadLetterTopic

if TYPE_CHECKING:
    from troth.clients.nats import NatsClient


def connect(entry: Messages, credentials: Path) -> DeadLetterTopic:
    """Return the dead-letter topic of an entry with the action Review, without connecting.

    `credentials` has a directory `<namespace>.<name>` for each broker: the Secret
    `<identity>-<broker>`. Files are read at each new connection, so a rotation needs nothing.
    Raises `BrokerUnavailableError` for a broker or a policy that this worker cannot serve.
    """
    letters = entry.dead_letter
    assert letters is not None
    directory = credentials / entry.broker.replace("/", ".", 1)
    if entry.type is BrokerType.KAFKA:
        from troth.edge.events.adapters.kafka_files import client_properties  # noqa: PLC0415 - an extra
        from troth.review.kafka.topic import KafkaTopic  # noqa: PLC0415

        return KafkaTopic(letters.topic, entry.policy, partial(client_properties, directory))
    if entry.type is BrokerType.NATS:
        return _nats(entry, directory)
    raise BrokerUnavailableError(
        f"the TopicPolicy {entry.policy} is for {entry.type}, whose dead letters cannot be reviewed"
    )


def _nats(entry: Messages, directory: Path) -> DeadLetterTopic:
    from troth.edge.events.adapters.nats.connection import connect as connect_nats  # noqa: PLC0415 - an extra
    from troth.review.nats.topic import NatsTopic  # noqa: PLC0415

    letters = entry.dead_letter
    assert letters is not None
    if letters.stream is None:
        raise BrokerUnavailableError(
            f"the TopicPolicy {entry.policy} names no deadLetter.stream, and without a stream "
            "NATS keeps no dead letters"
        )
    retries = {each.retry.topic: each.retry.stream for each in entry.consumers if each.retry}

    def stream_of(topic: str) -> str | None:
        return retries.get(topic, entry.stream)

    async def ignore(_: Exception) -> None:
        """Ignore what the library reports besides: each request says what failed."""

    async def connected() -> "NatsClient":
        return await connect_nats(
            directory,
            [entry.policy],
            error_cb=ignore,
            max_reconnect_attempts=-1,
            pending_size=0,
        )

    return NatsTopic(letters.stream, letters.topic, connected, stream_of)
