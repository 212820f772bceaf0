"""A reviewer, a consumer and their dead-letter topic at a real Kafka."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import NewTopic

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import access, bare
from tests.edge.events.market import BUNDLES, Market, issued
from tests.edge.events.trade import ORDER, POLICY
from tests.edge.mounts import Mounts
from tests.patience import PATIENCE
from tests.review.desk import FAILED, REVIEWER, as_delivered, consumer, reviewed
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.message import Message, Sealed
from troth.review.kafka.topic import KafkaTopic
from troth.review.letters.reading import LetterReader


class Stand:
    """The files of checkout, fulfilment and the reviewer, and topics of one test."""

    def __init__(self, server: KafkaServer, mine: str, path: Path) -> None:
        self.server = server
        self.admin = bare(server)
        self.market = Market(path, topic=f"{mine}orders", group=f"{mine}fulfilment")
        self.letters = self.market.dead_letters
        self.retry = f"{mine}retry"
        self.reviewer = Mounts(path / "reviewer")
        entry = reviewed(
            topic=self.market.topic,
            letters={"topic": self.letters},
            consumers=[consumer(group=self.market.group, retry={"topic": self.retry})],
        )
        self.market.write(self.reviewer, issued(REVIEWER), REVIEWER, BUNDLES, [entry])
        self._numbers = iter(range(1_000_000))

    def make(self, topic: str, *, partitions: int = 1, **config: str) -> None:
        """Create a topic; wait until the old one of its name is deleted."""
        new = NewTopic(
            topic, partitions, 1, config={k.replace("_", "."): v for k, v in config.items()}
        )
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.admin.create_topics([new])[topic].result(PATIENCE)
            except KafkaException:
                assert time.monotonic() < end
            else:
                return

    def configuration(self) -> dict[str, Any]:
        """Return the administrator's, who may do everything."""
        return {**access(self.server).configuration()}

    def topic(self, source: Any = None) -> KafkaTopic:
        return KafkaTopic(self.letters, POLICY, source or self.configuration)

    def reader(self) -> LetterReader:
        return LetterReader(self.market.identity(self.reviewer), POLICY)

    def bury(self, data: bytes = ORDER) -> Sealed:
        """Return the dead letter of a new message."""
        message = as_delivered(self.market.seal(), next(self._numbers))
        return self.bury_message(replace(message, data=data))

    def bury_message(self, message: Message) -> Sealed:
        identity = self.market.identity(self.market.fulfilment)
        sealed = DeadLetters(identity, POLICY).seal(message, FAILED)
        assert sealed is not None
        return sealed

    def store(
        self, *letters: Sealed, keys: Mapping[int, bytes] | None = None, **options: Any
    ) -> None:
        """Store dead letters as a consumer does."""
        producer = Producer(
            {**self.configuration(), "log_level": 0, "message.max.bytes": 10_000_000}
        )
        for number, each in enumerate(letters):
            headers: Any = kafka.headers(each)
            key = (keys or {}).get(number)
            producer.produce(each.topic, each.data, headers=headers, key=key, **options)
        assert producer.flush(PATIENCE) == 0

    def store_raw(self, topic: str, value: bytes | None, key: bytes) -> None:
        """Store a message that nobody sealed."""
        producer = Producer({**self.configuration(), "log_level": 0})
        producer.produce(topic, value, key=key)
        assert producer.flush(PATIENCE) == 0
