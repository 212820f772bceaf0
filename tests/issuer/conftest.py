"""Loggers that are new in each test: one that another test has used keeps what was configured."""

import pytest
import structlog

from troth.issuer import secret_watch as following
from troth.issuer import tls
from troth.issuer import token_review as reviewing


@pytest.fixture(autouse=True)
def fresh_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.reset_defaults()
    for module in (following, reviewing, tls):
        monkeypatch.setattr(module, "log", structlog.get_logger())
