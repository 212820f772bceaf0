"""Answers of streams, and messages that NATS cannot carry, at a client in memory."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nats.errors import (
    BadHeaderError,
    ConnectionClosedError,
    ConnectionDrainingError,
    OutboundBufferLimitError,
)

from troth.clients.nats import NatsClient
from troth.review.brokers import (
    BrokerUnavailableError,
    DeniedError,
    NotStoredError,
    Redelivery,
    TooLargeError,
    UnsendableError,
)
from troth.review.nats.publishing import Publisher

STORED = b'{"stream":"RETRY","seq":7}'


@dataclass
class Answering:
    """A client whose server gives one answer to each message."""

    answer: bytes
    max_payload: int = 1_000_000
    sent: list[bytes] = field(default_factory=list)
    heard: Callable[[Any], Awaitable[None]] | None = None

    def denials(self, _: Callable[[str], None]) -> Any:
        return nullcontext()

    def new_inbox(self) -> str:
        return "_INBOX.x"

    async def subscribe(self, subject: str, cb: Callable[[Any], Awaitable[None]]) -> Any:
        assert subject.startswith("_INBOX.x.")
        self.heard = cb

        async def unsubscribe() -> None:
            """Nothing is kept."""

        return SimpleNamespace(unsubscribe=unsubscribe)

    async def publish(
        self, topic: str, data: bytes, reply: str, headers: Mapping[str, str]
    ) -> None:
        for name, value in headers.items():
            if " " in name.strip():  # as the library does
                raise BadHeaderError(name)
            value.encode()
        self.sent.append(data)
        assert topic
        assert self.heard is not None
        await self.heard(SimpleNamespace(subject=reply, headers=None, data=self.answer))


async def outcome(
    client: Answering, *headers: tuple[str, bytes], stream: str | None = "RETRY"
) -> Exception | None:
    publisher = Publisher(cast("NatsClient", client), lambda _: stream)
    (found,) = await publisher.publish([Redelivery("id", "retry", headers, b"data")])
    return found


async def test_acknowledgement_of_the_stream_is_a_success() -> None:
    assert await outcome(Answering(STORED)) is None
    assert await outcome(Answering(b'{"stream":"RETRY","seq":7,"duplicate":true}')) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"hello":1}',
        b'{"error":"x"}',
        b'{"error":{}}',
        b'{"error":null}',
        b'{"stream":"RETRY"}',
        b'{"stream":"RETRY","seq":"7"}',
        b'{"stream":"RETRY","seq":true}',
        b'{"stream":1,"seq":7}',
        b'{"stream":"OTHER","seq":7}',
        b'{"stream":"RETRY","seq":7,"error":{"code":503}}',
        b"\xff",
    ],
    ids=range(15),
)
async def test_any_other_answer_is_no_acknowledgement(answer: bytes) -> None:
    assert isinstance(await outcome(Answering(answer)), BrokerUnavailableError)


class Reconnecting(Answering):
    """A client that has no connection now, as the library reports it."""

    error: type[Exception] = OutboundBufferLimitError

    async def publish(self, *_: Any, **__: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error", [OutboundBufferLimitError, ConnectionClosedError, ConnectionDrainingError]
)
@pytest.mark.parametrize("stream", ["RETRY", None])
async def test_message_is_certainly_not_stored_while_the_client_reconnects(
    error: type[Exception], stream: str | None
) -> None:
    """NATS ends the connection of a client whose permissions change, as those of the worker do."""
    client = Reconnecting(STORED)
    client.error = error
    assert isinstance(await outcome(client, stream=stream), NotStoredError)


class Recovering(Answering):
    """A client that cannot send its first message, and whose server denies the others."""

    observed: Callable[[str], None]

    def denials(self, denied: Callable[[str], None]) -> Any:
        self.observed = denied
        return nullcontext()

    async def publish(self, topic: str, data: bytes, *_: Any) -> None:
        self.sent.append(data)
        if len(self.sent) == 1:
            raise OutboundBufferLimitError
        self.observed(topic)


async def test_unsent_message_does_not_await_the_denial_of_another() -> None:
    publisher = Publisher(cast("NatsClient", Recovering(STORED)), lambda _: "RETRY")
    messages = [Redelivery(str(number), "retry", (), b"data") for number in range(3)]
    outcomes = await publisher.publish(messages)
    assert [type(each) for each in outcomes] == [NotStoredError, DeniedError, DeniedError]


async def test_message_is_certainly_not_stored_if_no_answer_could_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise ConnectionClosedError

    client = Answering(STORED)
    monkeypatch.setattr(client, "subscribe", fail)
    assert isinstance(await outcome(client), NotStoredError)
    assert not client.sent


async def test_message_that_is_too_large_for_its_stream_is_said() -> None:
    answer = b'{"error":{"code":400,"err_code":10054,"description":"message size exceeds"}}'
    assert isinstance(await outcome(Answering(answer)), TooLargeError)


@pytest.mark.parametrize(
    "header",
    [
        ("x-trace", b"\xff"),
        ("x trace", b"a"),
        (" Nats-Rollup", b"all"),
        ("Nats-Rollup\t", b"all"),
        ("\tnats-rollup", b"all"),
    ],
    ids=["value", "name", "space before", "tab behind", "tab before"],
)
async def test_header_that_nats_cannot_carry_fails_for_good(header: tuple[str, bytes]) -> None:
    client = Answering(STORED)
    assert isinstance(await outcome(client, header), UnsendableError)
    assert not client.sent
