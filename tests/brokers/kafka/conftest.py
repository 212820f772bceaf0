"""Fixtures: the Kafka adapter at the real server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.conn import AIOKafkaConnection

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import administered
from tests.brokers.kafka.events import KafkaMarket
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


@pytest.fixture
async def closing(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Wait at the end for what aiokafka closes; it does not wait for all of its connections."""
    ends: list[asyncio.Future[None]] = []
    close = AIOKafkaConnection.close

    def closed(connection: AIOKafkaConnection, *given: Any, **options: Any) -> Any:
        end = close(connection, *given, **options)
        if end is not None:  # it was connected
            ends.append(end)
        return end

    monkeypatch.setattr(AIOKafkaConnection, "close", closed)
    yield
    # a client's time limit may have cancelled the end of a connection, which is closed then, too
    await asyncio.gather(*ends, return_exceptions=True)


@pytest.fixture
async def market(
    server: KafkaServer, kafka: Kafka, mine: str, tmp_path: Path, closing: None
) -> KafkaMarket:
    return KafkaMarket(server, kafka, mine, tmp_path)
