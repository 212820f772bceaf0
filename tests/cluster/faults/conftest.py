"""A market for each test that needs brokers."""

from tests.cluster.brokers.conftest import market

__all__ = ["market"]
