"""Kafka: a server on loopback, its topics, and services that use it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from sandbox.brokers.kafka import KafkaServer
from sandbox.brokers.kafka_topics import make_topics
from sandbox.demo.errors import DemoError
from sandbox.demo.messages.broker import (
    DEAD_LETTERS,
    ORDERS,
    PAYMENTS,
    Answer,
    Denial,
)
from sandbox.demo.messages.kafka_client import KafkaClient, RejectedError, properties
from sandbox.demo.shop import MESSAGES

MESSAGE = "{}"
CONFIGURATION = {"message.timestamp.type": "LogAppendTime"}
"""Configuration of the topics: the broker, and not the producer, says when it stored a message."""


@contextmanager
def kafka() -> Iterator["KafkaBroker"]:
    """Run a server while the context lasts."""
    with KafkaServer.start() as server:
        make_topics(server, (ORDERS, DEAD_LETTERS, PAYMENTS), CONFIGURATION)
        yield KafkaBroker(server)


class KafkaService:
    """A service with a producer connected to Kafka."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client

    def publish(self, topic: str, message: str) -> Answer:
        """Publish to a topic."""
        return _answer(lambda: self._client.publish(topic, message))

    def consume(self, topic: str, group: str) -> Answer:
        """Receive one message in a consumer group."""
        return _answer(lambda: self._client.consume(topic, group))

    def use_connection(self) -> Answer:
        """Publish another message."""
        return self.publish(ORDERS, MESSAGE)


class KafkaBroker:
    """A running server with its topics."""

    example = MESSAGES / "kafka.yaml"
    denials: ClassVar[Mapping[Denial, str]] = {
        Denial.PUBLISH: "TOPIC_AUTHORIZATION_FAILED$",
        Denial.CONSUME: "(TOPIC|GROUP)_AUTHORIZATION_FAILED$",
        Denial.LOGIN: "^invalid credentials with SASL mechanism SCRAM-SHA-256$",
    }

    def __init__(self, server: KafkaServer) -> None:
        self.server = server

    @property
    def title(self) -> str:
        """Its name and version."""
        return f"Kafka {self.server.version}, SCRAM over TLS, on loopback"

    @property
    def spec(self) -> dict[str, Any]:
        """Its address."""
        return {"kafka": {"bootstrapServers": [self.server.client_address]}}

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """The Secrets that the example names."""
        return {"kafka-admin": self.server.admin_secret(), "kafka-ca": self.server.ca_secret()}

    def connect(self, files: Path) -> KafkaService:
        """Log in with a `client.properties`."""
        client = KafkaClient(properties(files))
        answer = _answer(client.log_in)
        if answer.rejected:
            raise DemoError(f"Kafka rejects the login with {files.name}: {answer.words}")
        return KafkaService(client)

    def log_in(self, files: Path, impersonating: Path | None = None) -> Answer:
        """Log in with a `client.properties`; or under another's name with the own password."""
        configuration = properties(files)
        if impersonating is not None:
            configuration["sasl.username"] = properties(impersonating)["sasl.username"]
        return _answer(KafkaClient(configuration).log_in)

    def close(self) -> None:
        """Do nothing: connections close with their clients."""


def _answer(request: Callable[[], str]) -> Answer:
    try:
        return Answer(request())
    except RejectedError as error:
        return Answer(str(error), rejected=True)
    except TimeoutError as error:
        raise DemoError(f"Kafka does not answer: {error}") from error
