"""Waits for a broker that applies changes after it has confirmed them."""

import time
from collections.abc import Awaitable, Callable

from tests.patience import PATIENCE
from troth.brokers.protocol import Driver
from troth.trust.grants import Observed


async def observed(broker: Driver, condition: Callable[[Observed], bool]) -> Observed:
    """Observe until a condition holds; return the observation.

    The server applies its controller's writes with a delay.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition(seen := await broker.observe()):
        assert time.monotonic() < deadline
    return seen


async def becomes(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < deadline
