"""Redriven messages at a real Kafka: one consumer handles them, once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import NewTopic

from tests.brokers.kafka.async_events import AsyncMarks, consuming
from tests.brokers.kafka.clients import bare
from tests.brokers.kafka.events import LOG_APPEND, KafkaMarket
from tests.brokers.kafka.test_faststream import Fulfilment
from tests.brokers.nats.stage import until
from tests.brokers.waiting import becomes
from tests.edge.events.consumer import Marks
from tests.edge.events.market import BUNDLES, issued
from tests.edge.events.reviews import REVIEWER, Counts, Desk
from tests.edge.events.trade import ORDER
from troth.edge.events.adapters.aiokafka import consumer as aiokafka
from troth.edge.events.adapters.confluent import consumer as confluent
from troth.edge.events.bindings import kafka as binding
from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.rejection import Reason
from troth.trust.grants import Action, Grant, Topic

LIBRARIES = ["aiokafka", "confluent"]
A_MINUTE = {"require": ["Actor"], "evidence": "Producer", "maxAge": 60}


class Scene:
    """A market with a reviewer, and a consumer that has a retry topic."""

    def __init__(self, market: KafkaMarket, path: Path, library: str) -> None:
        self.market = market
        self.library = library
        self.retry = f"{market.topic}.retry"
        self.desk = Desk(
            market.market,
            path,
            own=issued(REVIEWER),
            bundles=BUNDLES,
            topic=market.topic,
            deadLetter={"topic": market.dead_letters, "review": "Required"},
        )
        self.counts = Counts()
        self.marks = Marks()

    async def open(self, *, retry: bool = True, **options: Any) -> None:
        await self.market.open(**options)
        if retry:
            await self.add_retry_topic()
        self.consume()

    async def add_retry_topic(self) -> None:
        admin = bare(self.market.server)
        made = admin.create_topics([NewTopic(self.retry, 1, 1, config=LOG_APPEND)])
        made[self.retry].result()
        group = self.market.market.group
        await self.market.grant(
            Grant(self.market.fulfilment, Action.CONSUME, Topic(self.retry), group)
        )

    def consume(self, *, retry: bool = True, **changed: Any) -> None:
        """Write fulfilment's files."""
        own = {"retry": {"topic": self.retry}} if retry else {}
        given = {"context": A_MINUTE, "reviewers": [REVIEWER]} | own | changed
        self.market.market.consume(**given)

    @asynccontextmanager
    async def consuming(self) -> AsyncIterator[None]:
        options: dict[str, Any] = {"hooks": self.counts}
        if self.library == "aiokafka":
            async with consuming(self.market, duplicates=AsyncMarks(self.marks), **options):
                yield
            return
        with self.market.consumer(duplicates=self.marks, **options) as consumer:
            running = asyncio.create_task(asyncio.to_thread(consumer.run))
            try:
                yield
            finally:
                consumer.stop()
                await running

    async def letter(self) -> DeadLetter:
        """The first dead letter, once there is one."""

        async def published() -> bool:
            return bool(await asyncio.to_thread(self.market.letters))

        await becomes(published)
        return self.market.letters()[0]

    def expire(self) -> None:
        """Deliver an event that is two minutes old."""
        clock = self.market.market.clock
        self.market.market.clock = lambda: clock() - 120  # type: ignore[method-assign]
        sealed = self.market.market.seal(topic=self.market.topic)
        self.market.market.clock = clock  # type: ignore[method-assign]
        self.market.inject([*binding.headers(sealed)], sealed.data)

    def redrive(self, letter: DeadLetter, *, topic: str = "") -> None:
        """Deliver the message of a letter again, as its worker does."""
        topic = topic or self.retry
        headers = self.desk.headers(letter, target=topic)
        self.market.inject([*headers], letter.message.data, topic=topic)


@pytest.fixture(params=LIBRARIES)
def scene(
    market: KafkaMarket,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Scene:
    monkeypatch.setattr(aiokafka, "_LOOK_SECONDS", 0.5)
    monkeypatch.setattr(confluent, "_LOOK_MS", 500)
    return Scene(market, tmp_path, request.param)


async def test_expired_event_is_redriven_and_handled_once(scene: Scene) -> None:
    await scene.open()
    scene.expire()
    async with scene.consuming():
        letter = await scene.letter()
        assert letter.rejection.reason is Reason.EXPIRED
        for _ in range(2):  # its worker was killed, and repeats the redrive
            scene.redrive(letter)
        await until(lambda: len(scene.counts.outcomes) == 3)
    assert scene.counts.outcomes == ["DeadLettered", "Handled", "Redelivered"]
    (event,) = scene.market.handled
    assert event.data == ORDER
    assert event.redrive is not None
    assert event.redrive.requested_by == "alice"
    assert len(scene.market.letters()) == 1

    # another consumer of the topic gets the first delivery only
    scene.market.handled.clear()
    scene.counts.outcomes.clear()
    other = f"{scene.market.market.group}.audit"
    await scene.market.grant(
        Grant(scene.market.fulfilment, Action.CONSUME, Topic(scene.market.topic), other)
    )
    scene.consume(retry=False, group=other)
    (after,) = scene.market.publish(topic=scene.market.topic)
    async with scene.consuming():
        await until(lambda: scene.market.handled)
    assert scene.counts.outcomes == ["DeadLettered", "Handled"]
    assert [each.id for each in scene.market.handled] == [after]


async def test_redrive_on_a_shared_topic_is_handled_by_its_group_alone(scene: Scene) -> None:
    await scene.open(retry=False)
    scene.consume(retry=False)
    scene.expire()
    async with scene.consuming():
        scene.redrive(await scene.letter(), topic=scene.market.topic)
        await until(lambda: scene.market.handled)
    other = f"{scene.market.market.group}.audit"
    await scene.market.grant(
        Grant(scene.market.fulfilment, Action.CONSUME, Topic(scene.market.topic), other)
    )
    scene.counts.outcomes.clear()
    scene.consume(retry=False, group=other)
    async with scene.consuming():
        await until(lambda: len(scene.counts.outcomes) == 2)
    assert scene.counts.outcomes == ["DeadLettered", "NotAddressed"]
    assert len(scene.market.handled) == 1


async def test_retry_topic_appears_and_vanishes_while_the_consumer_works(scene: Scene) -> None:
    await scene.open()
    scene.consume(retry=False)
    scene.expire()
    async with scene.consuming():
        letter = await scene.letter()
        scene.redrive(letter)
        first = scene.market.publish(topic=scene.market.topic)
        await until(lambda: len(scene.market.handled) == 1)
        scene.consume()
        await until(lambda: len(scene.market.handled) == 2)
        scene.consume(retry=False)
        second = scene.market.publish(topic=scene.market.topic)
        await until(lambda: len(scene.market.handled) == 3)
    handled = [each.id for each in scene.market.handled]
    assert (handled[:1], handled[2:]) == (first, second)
    assert scene.market.handled[1].redrive is not None
    assert scene.counts.outcomes == ["DeadLettered", "Handled", "Handled", "Handled"]


@pytest.mark.long
async def test_retry_topic_that_does_not_exist_yet_holds_up_nothing(scene: Scene) -> None:
    await scene.open(retry=False)
    scene.expire()
    (sent,) = scene.market.publish(topic=scene.market.topic)
    async with scene.consuming():
        letter = await scene.letter()
        await until(lambda: scene.market.handled)
        await scene.add_retry_topic()
        scene.redrive(letter)
        await until(lambda: len(scene.market.handled) == 2)
    assert scene.market.handled[0].id == sent
    assert scene.market.handled[1].redrive is not None


async def test_faststream_handles_a_redrive_of_its_retry_topic_once(
    market: KafkaMarket, tmp_path: Path
) -> None:
    scene = Scene(market, tmp_path, "faststream")
    await scene.open()
    scene.expire()
    app = Fulfilment(market, duplicates=AsyncMarks(scene.marks), hooks=scene.counts)
    app.handle()
    app.handle(topic=scene.retry)
    async with app.running():
        letter = await scene.letter()
        for _ in range(2):
            scene.redrive(letter)
        await until(lambda: len(scene.counts.outcomes) == 3)
    assert scene.counts.outcomes == ["DeadLettered", "Handled", "Redelivered"]
    (event,) = market.handled
    assert event.redrive is not None
