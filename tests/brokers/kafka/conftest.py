"""A real Kafka server for the tests in this directory.

It starts when the first test asks for it, one for each worker of pytest-xdist. Tests share it, each
with names of its own.
"""

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox import java
from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import administered
from troth.brokers.kafka import Kafka


@pytest.fixture(scope="session")
def server() -> Iterator[KafkaServer]:
    if reason := java.missing():
        pytest.skip(f"there is no Kafka: {reason}")
    with KafkaServer.start() as started:
        yield started


@pytest.fixture
async def kafka(server: KafkaServer) -> AsyncIterator[Kafka]:
    broker = administered(server)
    yield broker
    await broker.close()


@pytest.fixture
def mine() -> str:
    """What every name of one test begins with."""
    return f"t{uuid.uuid4().hex[:10]}."
