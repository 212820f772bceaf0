"""The broker ends, and comes back with its data: nothing is lost, and nothing is read twice."""

import asyncio
from pathlib import Path

import pytest

from sandbox.brokers.kafka import KafkaServer
from tests.patience import PATIENCE
from tests.review.following import feeding, pending, until
from tests.review.kafka.stand import Stand
from troth.review.brokers import BrokerUnavailableError, Redelivery
from troth.review.kafka import client, reading, topic
from troth.review.letters.letter import Position


@pytest.mark.long
async def test_index_goes_on_after_an_outage(
    own_kafka: KafkaServer, mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (client, reading, topic):
        monkeypatch.setattr(module, "ANSWER_SECONDS", 2.0)
    stand = Stand(own_kafka, mine, tmp_path)
    stand.make(stand.letters)
    stand.store(*(stand.bury() for _ in range(3)))
    letters = stand.topic()
    async with asyncio.timeout(2 * PATIENCE):
        async with feeding(stand.reader(), letters, tmp_path / "i") as (feeder, index):
            await feeder.caught_up()
            await asyncio.to_thread(own_kafka.stop)
            await until(lambda: feeder.fault is not None)
            with pytest.raises(BrokerUnavailableError):
                await letters.get(Position(0, 1))
            (failure,) = await letters.redeliver([Redelivery("a", stand.letters, (), b"")])
            assert isinstance(failure, BrokerUnavailableError)
            await asyncio.to_thread(own_kafka.resume)
            stand.store(stand.bury(), stand.bury())
            await until(lambda: len(pending(index)) == 5 and feeder.fault is None)
            assert index.counts(feeder.policy).unreadable == 0
        await letters.close()
