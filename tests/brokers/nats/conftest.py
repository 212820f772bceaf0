"""One fresh server a module, and an account of its own for each test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox.brokers.nats import NatsServer
from tests.brokers.nats.stage import Stage, stage


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer.serving() as started:
        yield started


@pytest.fixture
async def nats(server: NatsServer) -> AsyncIterator[Stage]:
    async with stage(server) as made:
        yield made
