"""Fixtures: a real NATS, on which each test has its own account.

The server starts at the first use in a module, so that one module's changes to its server do not
affect others. This is a plugin and no conftest, like Kafka's, because tests of several directories
use it.
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
