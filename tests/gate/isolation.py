"""Fails the test that leaves a thread behind, and seeds the global random generator."""

import random
import threading
import time
from collections.abc import Iterator

import pytest

_SHARED_THREADS = ("pytest_timeout", "execnet")
"""Beginnings of the names of threads that outlive a test."""
PATIENCE = 30.0
"""Seconds in which a thread may end after its test."""


@pytest.fixture(autouse=True)
def left_threads() -> Iterator[None]:
    """Fail the test that leaves a thread behind.

    Such a thread uses what a later test uses too, for example the global random generator.
    """
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + PATIENCE
    for thread in set(threading.enumerate()) - before:
        # one of a library in C, such as librdkafka, is a dummy here, and nobody can wait for it
        is_dummy = isinstance(thread, threading._DummyThread)
        if not is_dummy and not thread.name.startswith(_SHARED_THREADS):
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), f"the test left the thread {thread.name!r} running"


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    """Seed the global random generator, so that jitter does not differ from run to run."""
    random.seed(request.node.nodeid)
