"""A real control plane for the tests in this directory.

It starts when the first test asks for it. Under pytest-xdist each worker has its own, so that
cluster-scoped objects of one test are never seen by another that runs at the same time.
"""

from collections.abc import Iterator
from itertools import count

import pytest

from sandbox import Sandbox

_numbers = count(1)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as started:
        yield started


@pytest.fixture
def namespace(sandbox: Sandbox) -> Iterator[str]:
    """A namespace of the test's own; its contents go on being deleted after the test."""
    name = f"test-{next(_numbers)}"
    sandbox.kubectl("create", "namespace", name)
    yield name
    sandbox.kubectl("delete", "namespace", name, "--wait=false")
