"""Fixtures: the Kafka adapter at the real server."""

from collections.abc import AsyncIterator

import pytest

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import administered
from troth.brokers.kafka.driver import Kafka
from troth.pki.certificates.authorities import SigningAuthority


@pytest.fixture(scope="session")
def authority(kafka_authority: SigningAuthority) -> SigningAuthority:
    return kafka_authority


@pytest.fixture(scope="session")
def server(kafka_server: KafkaServer) -> KafkaServer:
    return kafka_server


@pytest.fixture
async def kafka(server: KafkaServer) -> AsyncIterator[Kafka]:
    broker = administered(server)
    yield broker
    await broker.close()
