"""Fixture that resets the loggers for each test: a used logger keeps its configuration."""

import pytest
import structlog

from troth.cluster import reviews
from troth.review.api import answering, endpoint


@pytest.fixture(autouse=True)
def fresh_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.reset_defaults()
    for module in (reviews, answering, endpoint):
        monkeypatch.setattr(module, "log", structlog.get_logger())
