"""A stand for each test, at the Kafka of the session."""

from pathlib import Path

import pytest

from sandbox.brokers.kafka import KafkaServer
from tests.review.kafka.stand import Stand


@pytest.fixture
def stand(kafka_server: KafkaServer, mine: str, tmp_path: Path) -> Stand:
    return Stand(kafka_server, mine, tmp_path)
