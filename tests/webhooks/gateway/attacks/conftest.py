"""One gateway for each test, which a delivery reaches before any attack on it is believed."""

from collections.abc import AsyncIterator

import pytest

from tests.webhooks.gateway.attacks.scene import Scene, gateway


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with gateway() as running:
        yield running
