"""Waiting for a server that was started, until it serves."""

import time
from collections.abc import Callable
from pathlib import Path

from sandbox.errors import ComponentError
from sandbox.processes import Tether, tail

PAUSE = 0.01


def await_serving(
    tether: Tether, name: str, serves: Callable[[], bool], *, log: Path, seconds: float
) -> None:
    """Return once a process of the tether serves.

    Raises `ComponentError`, with the end of its log, if it has ended or takes too long.
    """
    deadline = time.monotonic() + seconds
    while not serves():
        returncode = tether.poll(name)
        if returncode is not None:
            raise ComponentError(name, f"ended with {returncode} instead of serving", tail(log))
        if time.monotonic() > deadline:
            raise ComponentError(name, f"was not ready after {seconds:.0f} s", tail(log))
        time.sleep(PAUSE)
