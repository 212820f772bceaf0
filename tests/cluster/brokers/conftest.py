"""For each test an account of its own at a NATS, and a Troth of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.brokers.nats.stage import Stage as Account
from tests.cluster.brokers.market import Market
from tests.cluster.stage import Stage


@pytest.fixture
async def market(stage: Stage, nats: Account) -> AsyncIterator[Market]:
    """What a broker's owner and two teams have; whatever RBAC forbids fails the test."""
    market = await Market.on(stage, nats)
    yield market
    assert not market.forbidden
