"""A stand for each test, in an account of its own."""

from pathlib import Path

import pytest

from tests.brokers.nats.stage import Stage
from tests.review.nats.stand import Stand


@pytest.fixture
def stand(nats: Stage, tmp_path: Path) -> Stand:
    return Stand(nats, tmp_path)
