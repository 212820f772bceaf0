"""The server ends, and comes back with its data: nothing is lost, and nothing is read twice."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.js.api import StorageType

from sandbox.brokers.nats import NatsServer
from tests.brokers.nats.stage import stage
from tests.patience import PATIENCE
from tests.review.following import feeding, pending, until
from tests.review.nats.stand import RETRY, Stand
from troth.review.brokers import BrokerUnavailableError, NotStoredError, Redelivery
from troth.review.letters.letter import Position


@pytest.fixture
def own() -> Iterator[NatsServer]:
    with NatsServer.serving() as server:
        yield server


async def test_index_goes_on_after_an_outage(own: NatsServer, tmp_path: Path) -> None:
    async with stage(own) as made, asyncio.timeout(PATIENCE):
        stand = Stand(made, tmp_path)
        await stand.open(storage=StorageType.FILE)
        await stand.store(*(stand.bury() for _ in range(3)))
        topic = stand.topic()
        async with feeding(stand.reader(), topic, tmp_path / "i") as (feeder, index):
            await feeder.caught_up()
            own.stop()
            await until(lambda: feeder.fault is not None)
            (failure,) = await topic.redeliver([Redelivery("a", RETRY, (), b"")])
            assert isinstance(failure, NotStoredError)  # so it does not count as repeated
            with pytest.raises(BrokerUnavailableError):
                await topic.get(Position(0, 1))
            own.restart()
            stand.witness = await made.witness()
            await stand.store(stand.bury(), stand.bury())
            await until(lambda: len(pending(index)) == 5 and feeder.fault is None)
            assert index.counts(feeder.policy).unreadable == 0
        await topic.close()
