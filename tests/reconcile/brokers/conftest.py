"""One NATS server a module, and for each test an account of its own on it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from sandbox.brokers.nats import NatsServer
from sandbox.processes import Tether
from tests.brokers.nats.stage import Stage, stage


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    directory = Path(mkdtemp(prefix="troth-nats-"))
    with Tether(directory) as tether:
        started = NatsServer(tether, directory)
        started.start()
        yield started


@pytest.fixture
async def nats(nats_server: NatsServer) -> AsyncIterator[Stage]:
    async with stage(nats_server) as made:
        yield made
