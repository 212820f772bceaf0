"""A trade for each test."""

from pathlib import Path

import pytest

from tests.edge.events.trade import Trade


@pytest.fixture
def trade(tmp_path: Path) -> Trade:
    return Trade(tmp_path)
