"""Fixture that resets the loggers for each test: a used logger keeps its configuration."""

import pytest
import structlog

from troth.cluster import reviews
from troth.issuer import secret_watch, tls
from troth.issuer.service_accounts import cluster_keys
from troth.serving import tls_files


@pytest.fixture(autouse=True)
def fresh_loggers(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.reset_defaults()
    for module in (cluster_keys, secret_watch, reviews, tls, tls_files):
        monkeypatch.setattr(module, "log", structlog.get_logger())
