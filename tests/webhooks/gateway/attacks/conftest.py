"""One gateway for each test, which has accepted a valid delivery before the attack."""

from collections.abc import AsyncIterator

import pytest

from tests.webhooks.gateway.attacks.scene import Scene, gateway


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with gateway() as running:
        yield running
