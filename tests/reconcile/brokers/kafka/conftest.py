"""For each test its own names on the one Kafka, and an adapter that gives up soon."""

import pytest

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import make_topics
from tests.reconcile.brokers.kafka.stage import Stage
from troth.brokers.kafka.driver import Kafka

GIVEN_UP = 2.0
"""Seconds in place of the adapter's own for each call."""


@pytest.fixture
def stage(kafka_server: KafkaServer, mine: str, monkeypatch: pytest.MonkeyPatch) -> Stage:
    defaults = Kafka.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeout", GIVEN_UP)
    made = Stage(kafka_server, mine)
    make_topics(kafka_server, [made.topic])
    return made
