"""Waiting for a broker that carries out later what it has said yes to."""

import time
from collections.abc import Awaitable, Callable

from tests.patience import PATIENCE
from troth.brokers.protocol import Broker, Observed


async def observed(broker: Broker, condition: Callable[[Observed], bool]) -> Observed:
    """What is observed once it is as expected: the server reads what the controller wrote."""
    deadline = time.monotonic() + PATIENCE
    while not condition(seen := await broker.observe()):
        assert time.monotonic() < deadline
    return seen


async def becomes(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < deadline
