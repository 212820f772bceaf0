"""Kafka on the stage: a server on loopback, the topics of its owner, and services that use it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from sandbox.brokers.kafka import KafkaServer
from sandbox.brokers.kafka_topics import make_topics
from sandbox.demo.errors import DemoError
from sandbox.demo.kafka_client import KafkaClient, RefusedError, properties
from sandbox.demo.messaging import (
    DEAD_LETTERS,
    ORDERS,
    PAYMENTS,
    Answer,
    Refusal,
)
from sandbox.demo.shop import MESSAGES

MESSAGE = "{}"


@contextmanager
def kafka() -> Iterator["KafkaOnStage"]:
    """Run a server while the context lasts."""
    with KafkaServer.start() as server:
        make_topics(server, (ORDERS, DEAD_LETTERS, PAYMENTS))
        yield KafkaOnStage(server)


class KafkaService:
    """A service with a producer whose connection to Kafka is open."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client

    def publish(self, topic: str, message: str) -> Answer:
        """Publish to a topic."""
        return _answer(lambda: self._client.publish(topic, message))

    def consume(self, topic: str, group: str) -> Answer:
        """Take one message in a consumer group."""
        return _answer(lambda: self._client.consume(topic, group))

    def until_refused(self, seconds: float) -> Answer | None:
        """Go on publishing."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self.publish(ORDERS, MESSAGE)
            if answer.refused:
                return answer
        return None


class KafkaOnStage:
    """A server that runs, with its topics."""

    example = MESSAGES / "kafka.yaml"
    ends = "producer has its next message refused"
    refusals: ClassVar[Mapping[Refusal, str]] = {
        Refusal.PUBLISH: "TOPIC_AUTHORIZATION_FAILED$",
        Refusal.CONSUME: "(TOPIC|GROUP)_AUTHORIZATION_FAILED$",
        Refusal.LOGIN: "^invalid credentials with SASL mechanism SCRAM-SHA-256$",
    }

    def __init__(self, server: KafkaServer) -> None:
        self._server = server

    @property
    def title(self) -> str:
        """What it is."""
        return f"Kafka {self._server.version}, SCRAM over TLS, on loopback"

    @property
    def described(self) -> dict[str, Any]:
        """Its address."""
        return {"kafka": {"bootstrapServers": [self._server.client_address]}}

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """The Secrets that the example names."""
        return {"kafka-admin": self._server.admin_secret(), "kafka-ca": self._server.ca_secret()}

    def enter(self, files: Path) -> KafkaService:
        """Log in with a `client.properties`."""
        client = KafkaClient(properties(files))
        answer = _answer(client.log_in)
        if answer.refused:
            raise DemoError(f"Kafka refuses a login with {files.name}: {answer.words}")
        return KafkaService(client)

    def log_in(self, files: Path, posing_as: Path | None = None) -> Answer:
        """Log in with a `client.properties`; or under another's name, by the own password."""
        configuration = properties(files)
        if posing_as is not None:
            configuration["sasl.username"] = properties(posing_as)["sasl.username"]
        return _answer(KafkaClient(configuration).log_in)

    def close(self) -> None:
        """Nothing to do: connections end with their clients."""


def _answer(ask: Callable[[], str]) -> Answer:
    try:
        return Answer(ask())
    except RefusedError as error:
        return Answer(str(error), refused=True)
    except TimeoutError as error:
        raise DemoError(f"Kafka neither does nor refuses it: {error}") from error
