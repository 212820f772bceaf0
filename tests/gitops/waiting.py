"""Eventual waits without an event loop."""

import time
from collections.abc import Callable
from typing import TypeVar

from tests.patience import PATIENCE

T = TypeVar("T")
PAUSE = 0.5
"""Seconds between two polls, each of which may start a program."""


def until(look: Callable[[], T], holds: Callable[[T], object], why: Callable[[], str]) -> T:
    """Poll until the result holds; return it. Fails with the last result, and with `why`."""
    deadline = time.monotonic() + 4 * PATIENCE
    while True:
        seen = look()
        if holds(seen):
            return seen
        assert time.monotonic() < deadline, f"never came; last seen: {seen}\n{why()}"
        time.sleep(PAUSE)
