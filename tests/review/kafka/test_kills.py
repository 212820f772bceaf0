"""A worker that is killed again and again at a real Kafka: each message once, or reported."""

from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.patience import PATIENCE
from tests.review.kafka.stand import Stand
from tests.review.kills import LETTERS, Campaign
from troth.edge.events.bindings import kafka
from troth.edge.events.redrive import read as read_redrive


@pytest.mark.long
async def test_killed_worker_delivers_each_message_once_or_reports_it(
    stand: Stand, tmp_path: Path
) -> None:
    stand.make(stand.letters)
    stand.make(stand.retry)
    letters = [stand.bury() for _ in range(LETTERS)]
    stand.store(*letters)
    broker = {"topic": stand.letters, "kafka": stand.configuration()}
    campaign = Campaign(tmp_path, stand.reviewer, broker)
    await campaign.run()
    campaign.check([each.attributes["id"] for each in letters], _redrives(stand))


def _redrives(stand: Stand) -> Counter[str]:
    """Return how often each redrive arrived on the retry topic, as the broker has it."""
    consumer = Consumer(
        {**stand.configuration(), "group.id": stand.retry, "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(stand.retry, 0, 0)])
    found: Counter[str] = Counter()
    while (record := consumer.poll(PATIENCE)) is not None and not record.error():
        message = kafka.read(stand.retry, list(record.headers() or []), record.value())  # type: ignore[arg-type]
        found[read_redrive(message.attributes["trothredrive"])["id"]] += 1
    consumer.close()
    return found
