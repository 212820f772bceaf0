"""A Valkey for each test module."""

from collections.abc import Iterator

import pytest

from sandbox.valkey import ValkeyServer


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer.serving() as server:
        yield server
