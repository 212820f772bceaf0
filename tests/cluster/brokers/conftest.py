"""One NATS server a module; for each test an account of its own there, and a Troth of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox.brokers.nats import NatsServer
from tests.brokers.nats.stage import Stage as Account
from tests.brokers.nats.stage import stage as account
from tests.cluster.brokers.market import Market
from tests.cluster.stage import Stage


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with NatsServer.serving() as started:
        yield started


@pytest.fixture
async def nats(server: NatsServer) -> AsyncIterator[Account]:
    async with account(server) as made:
        yield made


@pytest.fixture
async def market(stage: Stage, nats: Account) -> AsyncIterator[Market]:
    """What a broker's owner and two teams have; whatever RBAC forbids fails the test."""
    market = await Market.on(stage, nats)
    yield market
    assert not market.forbidden
