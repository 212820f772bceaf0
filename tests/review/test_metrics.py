"""Metrics of dead letters."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.edge.events.trade import POLICY
from tests.patience import PATIENCE
from tests.review.desk import DLQ, Desk, as_delivered
from tests.review.following import until
from tests.review.letters import NOON, letter, settle
from tests.review.letters import POLICY as ORDERS
from tests.review.memory_topic import MemoryTopic
from troth.edge.events.message import Message
from troth.resources.references import Ref
from troth.review.brokers import BrokerUnavailableError
from troth.review.index.feeder import Feeder
from troth.review.index.store import LetterIndex
from troth.review.letters.letter import LetterState
from troth.review.letters.reading import LetterReader
from troth.review.metrics import LetterMetrics


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LetterIndex]:
    index = LetterIndex(tmp_path / "letters.db")
    yield index
    index.close()


def feeder(desk: Desk, index: LetterIndex, topic: MemoryTopic, metrics: LetterMetrics) -> Feeder:
    reader = LetterReader(desk.identity(desk.reviewer), POLICY, clock=desk.clock)
    return Feeder(
        topic,
        index,
        reader,
        unreadable=metrics.unreadable(reader.policy),
        check_seconds=0,
        retry_seconds=0,
        clock=desk.clock,
    )


async def test_letters_are_exported_by_reason_and_state(desk: Desk, index: LetterIndex) -> None:
    registry, feeders = CollectorRegistry(), list[Feeder]()
    metrics = LetterMetrics(registry, index, lambda: feeders)
    feeders.append(feeder(desk, index, MemoryTopic(), metrics))
    oldest = NOON - timedelta(hours=3)
    index.put([letter(0), letter(1, time=oldest), letter(2), letter(3, policy=Ref("a", "b"))])
    settle(index, "id-2", LetterState.REDRIVEN, policy=ORDERS)

    def letters(state: str, policy: str = "shop/orders") -> float | None:
        labels = {"policy": policy, "reason": "SchemaInvalid", "state": state}
        return registry.get_sample_value("troth_dead_letters", labels)

    assert (letters("Pending"), letters("Redriven"), letters("Gone")) == (2, 1, None)
    assert letters("Pending", "a/b") is None  # the worker does not serve it
    named = {"policy": "shop/orders"}
    moment = registry.get_sample_value("troth_dead_letters_oldest_timestamp_seconds", named)
    assert moment == oldest.timestamp()


async def test_lag_and_faults_are_exported(desk: Desk, index: LetterIndex) -> None:
    registry, feeders, topic = CollectorRegistry(), list[Feeder](), MemoryTopic()
    metrics = LetterMetrics(registry, index, lambda: feeders)
    followed = feeder(desk, index, topic, metrics)
    feeders.append(followed)
    topic.store(Message(DLQ, {}, b"nonsense"))
    topic.seal(desk.bury(as_delivered(desk.seal(), 1)))
    named = {"policy": "shop/orders"}
    task = asyncio.create_task(followed.run())
    async with asyncio.timeout(PATIENCE):
        await followed.caught_up()
        await until(lambda: followed.lag == 0)
        assert registry.get_sample_value("troth_dead_letters_lag", named) == 0
        assert registry.get_sample_value("troth_dead_letters_topic_readable", named) == 1
        topic.fault = BrokerUnavailableError("away")
        await until(lambda: followed.fault is not None)
        assert registry.get_sample_value("troth_dead_letters_topic_readable", named) == 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    unreadable = {"policy": "shop/orders", "reason": "Unsigned"}
    assert registry.get_sample_value("troth_dead_letters_unreadable_total", unreadable) == 1
    metrics.forget(ORDERS)
    assert b"troth_dead_letters_unreadable_total{" not in generate_latest(registry)
