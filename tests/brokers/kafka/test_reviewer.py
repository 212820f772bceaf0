"""A reviewer at a real Kafka: it assigns partitions of dead letters to itself, with no group."""

import asyncio

from sandbox.brokers.kafka import KafkaServer
from tests.brokers.kafka.clients import DENIED, DONE, Client, make_topics
from tests.brokers.kafka.test_open_connections import granted
from tests.brokers.waiting import becomes
from troth.brokers.kafka.driver import Kafka
from troth.brokers.kafka.rules import rules
from troth.brokers.protocol import Batch, Credential
from troth.trust.grants import Action, Grant, Slot, Topic


async def test_reviewer_reads_letters_by_partition_and_publishes_only_where_it_may(
    server: KafkaServer, kafka: Kafka, mine: str
) -> None:
    letters, origin, retry = (f"{mine}{each}" for each in ("dlq", "orders", "retry"))
    make_topics(server, [letters, origin, retry])
    reviewer, shop = f"{mine}reviewer", f"{mine}shop"
    await granted(
        kafka,
        [
            Grant(reviewer, Action.REVIEW, Topic(letters)),
            Grant(reviewer, Action.PUBLISH, Topic(letters)),
            Grant(shop, Action.PUBLISH, Topic(letters)),
            Grant(shop, Action.CONSUME, Topic(retry), f"{mine}g"),
        ],
        *(Credential(each, Slot.FIRST, "password") for each in (reviewer, shop)),
    )
    worker, consumer = (Client(server, each, "password") for each in (reviewer, shop))
    assert await asyncio.to_thread(worker.read, letters) == DONE
    assert await asyncio.to_thread(worker.publish, letters) == DONE
    assert await asyncio.to_thread(worker.consume, letters, f"{mine}any") in DENIED
    for topic in (origin, retry):
        assert await asyncio.to_thread(worker.read, topic) in DENIED
        assert await asyncio.to_thread(worker.publish, topic) in DENIED
    assert await asyncio.to_thread(consumer.read, letters) in DENIED
    assert await asyncio.to_thread(consumer.consume, retry, f"{mine}g") == DONE

    redrive = [Grant(reviewer, Action.PUBLISH, Topic(retry))]
    await granted(kafka, redrive)
    assert await asyncio.to_thread(worker.publish, retry) == DONE
    assert await kafka.apply(Batch(removals=tuple(rules(redrive)))) == ()

    async def denied() -> bool:
        return await asyncio.to_thread(worker.publish, retry) in DENIED

    await becomes(denied)
    assert await asyncio.to_thread(worker.read, letters) == DONE
