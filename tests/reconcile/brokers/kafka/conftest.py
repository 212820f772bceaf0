"""Fixtures: names on the shared Kafka for each test, and an adapter with a short timeout."""

import pytest

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import make_topics
from tests.reconcile.brokers.kafka.stage import Stage
from troth.brokers.kafka.driver import Kafka

GIVEN_UP = 2.0
"""Timeout of each call in seconds, in place of the adapter's default."""


@pytest.fixture
def stage(kafka_server: KafkaServer, mine: str, monkeypatch: pytest.MonkeyPatch) -> Stage:
    defaults = Kafka.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeout", GIVEN_UP)
    made = Stage(kafka_server, mine)
    make_topics(kafka_server, [made.topic])
    return made
