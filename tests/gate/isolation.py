"""Fails the test that leaves a thread behind, and seeds the global random generator."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures.thread import _threads_queues

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
    left = [each for each in threading.enumerate() if each not in before and not _stays(each)]
    deadline = time.monotonic() + PATIENCE
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
        assert not thread.is_alive(), f"the test left the thread {thread.name!r} running"


def _stays(thread: threading.Thread) -> bool:
    """Return whether a thread may outlive a test: that of pytest, of a pool, or of a library in C.

    A pool's thread waits for work and ends with the pool. Nobody can wait for one of librdkafka.
    """
    is_foreign = isinstance(thread, threading._DummyThread)
    return is_foreign or thread in _threads_queues or thread.name.startswith(_SHARED_THREADS)


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    """Seed the global random generator, so that jitter does not differ from run to run."""
    random.seed(request.node.nodeid)
