"""NATS on the stage: a server on loopback, what its owner makes there, and services that use it."""

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
from sandbox.demo.messaging import (
    DEAD_LETTERS,
    ORDERS,
    OTHERS_GROUP,
    PAYMENTS,
    Answer,
    Refusal,
)
from sandbox.demo.nats_client import NatsClient, RefusedError
from sandbox.demo.shop import MESSAGES
from troth.brokers.nats.jwt import read_creds

STREAMS = {"ORDERS": ORDERS, "ORDERS_DLQ": DEAD_LETTERS, "PAYMENTS": PAYMENTS}
DURABLES = {"ORDERS": ("fulfilment", OTHERS_GROUP)}


@contextmanager
def nats() -> Iterator["NatsOnStage"]:
    """Run a server while the context lasts."""
    with NatsServer.serving() as server, asyncio.Runner() as runner:
        runner.run(make_streams(server, STREAMS, DURABLES))
        stage = NatsOnStage(server, runner)
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
        """Take one message by a durable consumer of the topic's stream."""
        (stream,) = (name for name, each in STREAMS.items() if each == topic)
        return self._answer(self._client.consume(stream, group))

    def until_refused(self, seconds: float) -> Answer | None:
        """Wait until the server ends the connection."""
        is_cut = self._runner.run(self._client.until_cut(seconds))
        return Answer("", refused=True) if is_cut else None

    def close(self) -> None:
        """Let go of the server."""
        self._runner.run(self._client.close())

    def _answer(self, asking: Coroutine[Any, Any, str]) -> Answer:
        try:
            return Answer(self._runner.run(asking))
        except RefusedError as error:
            return Answer(str(error), refused=True)
        except (errors.Error, TimeoutError) as error:
            raise DemoError(f"NATS neither does nor refuses it: {error}") from error


class NatsOnStage:
    """A server that runs, with its streams."""

    example = MESSAGES / "nats.yaml"
    ends = "connection is cut"
    refusals: ClassVar[Mapping[Refusal, str]] = {
        Refusal.PUBLISH: r"permissions violation for publish to ",
        Refusal.CONSUME: r'permissions violation for publish to "\$js\.api\.consumer\.msg\.next\.',
        Refusal.LOGIN: r"Authorization Violation$",
    }

    def __init__(self, server: NatsServer, runner: asyncio.Runner) -> None:
        self._server = server
        self._runner = runner
        self._services: list[NatsService] = []

    @property
    def title(self) -> str:
        """What it is."""
        return f"NATS {self._server.version} in operator mode, with TLS, on loopback"

    @property
    def described(self) -> dict[str, Any]:
        """Its address and account."""
        server = self._server
        return {"nats": {"servers": [server.address], "account": server.account}}

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """The Secrets that the example names."""
        return {"nats-admin": self._server.admin_secret(), "nats-ca": self._server.ca_secret()}

    def enter(self, files: Path) -> NatsService:
        """Log in with a `.creds`."""
        client = NatsClient()
        try:
            self._runner.run(client.connect(files))
        except RefusedError as error:
            raise DemoError(f"NATS refuses a login with {files.name}: {error}") from error
        self._services.append(NatsService(client, self._runner))
        return self._services[-1]

    def log_in(self, files: Path, posing_as: Path | None = None) -> Answer:
        """Log in with a `.creds`; or with the JWT of another's, signed for by the own seed."""
        client = NatsClient()
        with tempfile.TemporaryDirectory() as directory:
            credential = Path(directory) / "user.creds"
            with open(credential, "w", opener=owner_only) as file:
                file.write(_creds(files, posing_as or files))
            try:
                self._runner.run(client.connect(files, credential))
            except RefusedError as error:
                return Answer(str(error), refused=True)
        self._runner.run(client.close())
        return Answer("let in")

    def close(self) -> None:
        """Let go of all connections."""
        while self._services:
            self._services.pop().close()


def _creds(files: Path, posing_as: Path) -> str:
    own, shown = ((each / "user.creds").read_text() for each in (files, posing_as))
    theirs, mine = (read_creds(each).key.seed.decode() for each in (shown, own))
    return shown.replace(theirs, mine)
