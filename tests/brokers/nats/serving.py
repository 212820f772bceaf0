"""A real NATS for whichever tests ask for it, each with an account of its own.

It starts when the first test of a module asks, so that what a module does to its server is nothing
to others. This is a plugin and no conftest, as that of Kafka is: tests of several directories ask.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox.brokers.nats import NatsServer
from tests.brokers.nats.stage import Stage, stage


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    with NatsServer.serving() as started:
        yield started


@pytest.fixture
async def nats(nats_server: NatsServer) -> AsyncIterator[Stage]:
    async with stage(nats_server) as made:
        yield made
