"""A NATS account and a Troth for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.brokers.nats.stage import Stage as Account
from tests.cluster.brokers.market import Market
from tests.cluster.stage import Stage


@pytest.fixture
async def market(stage: Stage, nats: Account) -> AsyncIterator[Market]:
    """Yield a market of one broker owner and two teams; a denied request fails the test."""
    market = await Market.on(stage, nats)
    yield market
    assert not market.forbidden
