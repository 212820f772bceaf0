"""NATS: a server on loopback, its streams, and services that use it."""

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from nats import errors

from sandbox.brokers.nats import NatsServer
from sandbox.brokers.nats_streams import make_streams
from sandbox.certificates import owner_only
from sandbox.demo.errors import DemoError
from sandbox.demo.messages.broker import (
    DEAD_LETTERS,
    ORDERS,
    OTHER_GROUP,
    PAYMENTS,
    Answer,
    Denial,
)
from sandbox.demo.messages.nats_client import NatsClient, RejectedError
from sandbox.demo.shop import MESSAGES
from troth.brokers.nats.jwt import read_creds

STREAMS = {"ORDERS": ORDERS, "ORDERS_DLQ": DEAD_LETTERS, "PAYMENTS": PAYMENTS}
MOMENT = 0.02
"""Seconds."""
DURABLES = {"ORDERS": ("fulfilment", OTHER_GROUP)}


@contextmanager
def nats() -> Iterator["NatsBroker"]:
    """Run a server while the context lasts."""
    with NatsServer.serving() as server, asyncio.Runner() as runner:
        runner.run(make_streams(server, STREAMS, DURABLES))
        stage = NatsBroker(server, runner)
        try:
            yield stage
        finally:
            stage.close()


class NatsService:
    """A service with a connection to NATS."""

    def __init__(self, client: NatsClient, runner: asyncio.Runner) -> None:
        self._client = client
        self._runner = runner

    def publish(self, topic: str, message: str) -> Answer:
        """Publish to a topic that a stream keeps."""
        return self._answer(self._client.publish(topic, message))

    def consume(self, topic: str, group: str) -> Answer:
        """Receive one message by a durable consumer of the topic's stream."""
        (stream,) = (name for name, each in STREAMS.items() if each == topic)
        return self._answer(self._client.consume(stream, group))

    def use_connection(self) -> Answer:
        """Look for a moment whether the server closes the connection."""
        is_closed = self._runner.run(self._client.is_closed_within(MOMENT))
        return Answer("connection closed", rejected=True) if is_closed else Answer("open")

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self._client.close())

    def _answer(self, request: Coroutine[Any, Any, str]) -> Answer:
        try:
            return Answer(self._runner.run(request))
        except RejectedError as error:
            return Answer(str(error), rejected=True)
        except (errors.Error, TimeoutError) as error:
            raise DemoError(f"NATS does not answer: {error}") from error


class NatsBroker:
    """A running server with its streams."""

    example = MESSAGES / "nats.yaml"
    denials: ClassVar[Mapping[Denial, str]] = {
        Denial.PUBLISH: r"permissions violation for publish to ",
        Denial.CONSUME: r'permissions violation for publish to "\$js\.api\.consumer\.msg\.next\.',
        Denial.LOGIN: r"Authorization Violation$",
    }

    def __init__(self, server: NatsServer, runner: asyncio.Runner) -> None:
        self.server = server
        self.runner = runner
        self._services: list[NatsService] = []

    @property
    def title(self) -> str:
        """Its name and version."""
        return f"NATS {self.server.version} in operator mode, with TLS, on loopback"

    @property
    def spec(self) -> dict[str, Any]:
        """Its address, account and operator."""
        server = self.server
        keys = {"account": server.account, "operator": server.keys.operator.public}
        return {"nats": {"servers": [server.address], **keys}}

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """The Secrets that the example names."""
        return {"nats-admin": self.server.admin_secret(), "nats-ca": self.server.ca_secret()}

    def connect(self, files: Path) -> NatsService:
        """Log in with a `.creds`."""
        client = NatsClient()
        try:
            self.runner.run(client.connect(files))
        except RejectedError as error:
            raise DemoError(f"NATS rejects the login with {files.name}: {error}") from error
        self._services.append(NatsService(client, self.runner))
        return self._services[-1]

    def log_in(self, files: Path, impersonating: Path | None = None) -> Answer:
        """Log in with a `.creds`; or with another's JWT and the own seed."""
        client = NatsClient()
        with tempfile.TemporaryDirectory() as directory:
            credential = Path(directory) / "user.creds"
            with open(credential, "w", opener=owner_only) as file:
                file.write(_creds(files, impersonating or files))
            try:
                self.runner.run(client.connect(files, credential))
            except RejectedError as error:
                return Answer(str(error), rejected=True)
        self.runner.run(client.close())
        return Answer("accepted")

    def close(self) -> None:
        """Close all connections."""
        while self._services:
            self._services.pop().close()


def _creds(files: Path, impersonating: Path) -> str:
    own, shown = ((each / "user.creds").read_text() for each in (files, impersonating))
    theirs, mine = (read_creds(each).key.seed.decode() for each in (shown, own))
    return shown.replace(theirs, mine)
