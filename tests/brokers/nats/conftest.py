"""One fresh server a module, and an account of its own for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from sandbox.brokers.nats import NatsServer
from sandbox.processes import Tether
from tests.brokers.nats.stage import Stage, stage


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    directory = Path(mkdtemp(prefix="troth-nats-"))
    with Tether(directory) as tether:
        started = NatsServer(tether, directory)
        started.start()
        yield started


@pytest.fixture
async def nats(server: NatsServer) -> AsyncIterator[Stage]:
    async with stage(server) as made:
        yield made
