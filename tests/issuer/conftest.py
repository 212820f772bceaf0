"""Loggers that are new in each test: one that another test has used keeps what was configured."""

import pytest
import structlog

from troth.issuer import secret_watch, tls, token_review
from troth.serving import tls_files


@pytest.fixture(autouse=True)
def fresh_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.reset_defaults()
    for module in (secret_watch, token_review, tls, tls_files):
        monkeypatch.setattr(module, "log", structlog.get_logger())
