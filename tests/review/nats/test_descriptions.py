"""Descriptions of a stream that the server does not give in its usual form."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from troth.clients.nats import NatsClient
from troth.review.brokers import BrokerUnavailableError
from troth.review.nats.topic import NatsTopic


class Describing:
    """A client whose server gives one answer to each request."""

    is_closed = False

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def request(self, subject: str, data: bytes, **options: float) -> Any:
        assert subject == "$JS.API.STREAM.INFO.DEAD"
        assert not data
        assert options["timeout"]
        return SimpleNamespace(data=self._answer)


def topic(answer: bytes) -> NatsTopic:
    async def connect() -> NatsClient:
        return cast("NatsClient", Describing(answer))

    return NatsTopic("DEAD", "prod.dead", connect, lambda _: None)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b'{"error":"no"}',
        b'{"config":[]}',
        b'{"config":{"allow_direct":true}}',
    ],
    ids=["nothing", "list", "number", "empty", "error text", "config list", "no state"],
)
async def test_malformed_description_makes_the_broker_unavailable(answer: bytes) -> None:
    with pytest.raises(BrokerUnavailableError, match="DEAD"):
        await topic(answer).bounds()


async def test_description_says_where_the_messages_are() -> None:
    found = topic(
        b'{"created":"2026-11-29T00:00:00Z","config":{"allow_direct":true},'
        b'"state":{"first_seq":3,"last_seq":9}}'
    )
    assert await found.bounds() == {0: (3, 10)}
    assert await found.incarnation() == "2026-11-29T00:00:00Z"
