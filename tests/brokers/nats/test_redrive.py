"""Redriven messages at a real NATS: one consumer handles them, once."""

from pathlib import Path
from typing import Any

import pytest
from nats.js.api import AckPolicy, ConsumerConfig

from tests.brokers.nats.events import GROUP, STREAM, TOPIC, NatsMarket, listening
from tests.brokers.nats.stage import Stage, consume, sent, until
from tests.brokers.nats.test_events import remembering, settled
from tests.edge.events.market import BUNDLES, issued
from tests.edge.events.reviews import REVIEWER, Counts, Desk
from tests.edge.events.trade import ORDER
from tests.patience import PATIENCE
from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.rejection import Reason

RETRY, RETRIES = "prod.orders-retry", "RETRIES"
MESSAGE_ID = "Nats-Msg-Id"


class Scene:
    """A market with a reviewer, and a consumer that has a retry topic.

    `stream` is that of the retry topic, None for none.
    """

    def __init__(self, market: NatsMarket, path: Path, stream: str | None) -> None:
        self.market = market
        self.stream = stream
        self.path = path
        self.counts = Counts()
        self.duplicates = remembering()
        self.desk: Desk

    async def open(self, *, retry: bool = True, **options: Any) -> None:
        await self.market.open(stream=self.stream is not None, **options)
        self.desk = Desk(
            self.market.market,
            self.path,
            own=issued(REVIEWER),
            bundles=BUNDLES,
            type="nats",
            topic=TOPIC,
            deadLetter={"topic": self.market.market.dead_letters, "review": "Required"},
        )
        if retry:
            await self.add_retry_topic()
        self.consume()

    async def add_retry_topic(self, **changed: Any) -> None:
        """Store the retry topic, and grant it."""
        jetstream = self.market.witness.jetstream(timeout=PATIENCE)
        filters: dict[str, Any] = {"filter_subject": RETRY}
        if self.stream == STREAM:
            await jetstream.update_stream(name=STREAM, subjects=[TOPIC, RETRY], storage="memory")
            await jetstream.delete_consumer(STREAM, GROUP)
            filters = {"filter_subjects": [RETRY, TOPIC]}
        elif self.stream is not None:
            await jetstream.add_stream(name=self.stream, subjects=[RETRY], storage="memory")
        if self.stream is not None:
            await self.add_durable_consumer(**(filters | changed))
        await self.market.grant(consume("fulfilment", RETRY, GROUP, self.stream or ""))

    async def add_durable_consumer(self, **changed: Any) -> None:
        """Create it, or give it other limits."""
        assert self.stream is not None
        given = {"ack_policy": AckPolicy.EXPLICIT, "filter_subject": RETRY} | changed
        if "filter_subjects" in given:
            del given["filter_subject"]
        jetstream = self.market.witness.jetstream(timeout=PATIENCE)
        await jetstream.add_consumer(self.stream, ConsumerConfig(durable_name=GROUP, **given))

    def consume(self, *, retry: bool = True, **changed: Any) -> None:
        """Write fulfilment's files."""
        stream = {} if self.stream is None else {"stream": self.stream}
        own = {"retry": {"topic": RETRY} | stream} if retry else {}
        context = {"require": ["Actor"], "evidence": "Producer", "maxAge": 60}
        given = {"context": context, "reviewers": [REVIEWER]} | own | changed
        self.market.market.consume(**given)

    def consuming(self) -> Any:
        return self.market.consumer(duplicates=self.duplicates, hooks=self.counts)

    async def expire(self) -> None:
        """Deliver an event that is two minutes old."""
        clock = self.market.market.clock
        self.market.market.clock = lambda: clock() - 120  # type: ignore[method-assign]
        sealed = self.market.market.seal()
        self.market.market.clock = clock  # type: ignore[method-assign]
        await self.market.copy(sealed, **{MESSAGE_ID: sealed.attributes["id"]})

    async def letter(self) -> DeadLetter:
        await until(self.market.letters)
        return self.market.letters()[0]

    async def redrive(self, letter: DeadLetter, *, number: int = 1, topic: str = RETRY) -> None:
        """Deliver the message of a letter again, as its worker does."""
        headers = dict(self.desk.headers(letter, target=topic))
        headers[MESSAGE_ID] = f"{letter.id}-{number}".encode()
        texts = {name: value.decode() for name, value in headers.items()}
        await self.market.witness.publish(topic, letter.message.data or b"", headers=texts)
        await sent(self.market.witness)


@pytest.fixture(params=[RETRIES, STREAM, None], ids=["own stream", "one stream", "no stream"])
def scene(nats: Stage, tmp_path: Path, request: pytest.FixtureRequest) -> Scene:
    return Scene(NatsMarket(nats, tmp_path), tmp_path, request.param)


@pytest.fixture
def stored(nats: Stage, tmp_path: Path) -> Scene:
    """A scene whose retry topic is in a stream of its own."""
    return Scene(NatsMarket(nats, tmp_path), tmp_path, RETRIES)


async def test_expired_event_is_redriven_and_handled_once(scene: Scene) -> None:
    await scene.open()
    async with scene.consuming() as consumer:
        await listening(consumer, sources=1 if scene.stream == STREAM else 2)
        await scene.expire()
        letter = await scene.letter()
        assert letter.rejection.reason is Reason.EXPIRED
        for number in range(2):  # its worker was killed, and repeats the redrive
            await scene.redrive(letter, number=number)
        await until(lambda: len(scene.counts.outcomes) == 3)
    assert scene.counts.outcomes == ["DeadLettered", "Handled", "Redelivered"]
    (event,) = scene.market.handled
    assert event.data == ORDER
    assert event.redrive is not None
    assert event.redrive.requested_by == "alice"
    assert len(scene.market.letters()) == 1
    if scene.stream is not None:
        await settled(scene.market)


async def test_retry_topic_appears_and_vanishes_while_the_consumer_works(stored: Scene) -> None:
    await stored.open()
    stored.consume(retry=False)
    async with stored.consuming() as consumer:
        await stored.expire()
        await stored.redrive(await stored.letter())
        await stored.market.publish()
        await until(lambda: len(stored.market.handled) == 1)
        stored.consume()
        await until(lambda: len(stored.market.handled) == 2)
        stored.consume(retry=False)
        await until(lambda: len(consumer._sources) == 1)
        await stored.market.publish()
        await until(lambda: len(stored.market.handled) == 3)
    assert stored.market.handled[1].redrive is not None
    assert stored.counts.outcomes == ["DeadLettered", "Handled", "Handled", "Handled"]


async def test_retry_topic_that_does_not_exist_yet_holds_up_nothing(stored: Scene) -> None:
    await stored.open(retry=False)
    async with stored.consuming():
        await stored.expire()
        letter = await stored.letter()
        await stored.market.publish()
        await until(lambda: stored.market.handled)
        await stored.add_retry_topic()
        await stored.redrive(letter)
        await until(lambda: len(stored.market.handled) == 2)


async def test_durable_consumer_that_would_lose_redriven_messages_is_not_used(
    stored: Scene,
) -> None:
    await stored.open(retry=False)
    await stored.add_retry_topic(max_deliver=3)
    async with stored.consuming() as consumer:
        await until(lambda: f"BadConsumer {RETRY}" in consumer._logged)
        await stored.market.publish()
        await until(lambda: stored.market.handled)
        await stored.expire()
        await stored.redrive(await stored.letter())
        await stored.add_durable_consumer()
        await until(lambda: len(stored.market.handled) == 2)


async def test_messages_of_a_retry_topic_that_vanishes_stay_in_its_stream(stored: Scene) -> None:
    await stored.open()
    async with stored.consuming() as consumer:
        await stored.expire()
        letter = await stored.letter()
        await until(lambda: len(consumer._sources) == 2)
        stored.consume(retry=False)
        await until(lambda: len(consumer._sources) == 1)
        await stored.redrive(letter)
        await stored.market.publish()
        await until(lambda: stored.market.handled)
        jetstream = stored.market.witness.jetstream(timeout=PATIENCE)
        info = await jetstream.consumer_info(RETRIES, GROUP)
        assert (info.num_pending, info.num_ack_pending) == (1, 0)
        stored.consume()
        await until(lambda: len(stored.market.handled) == 2)


async def test_filter_without_the_retry_topic_holds_up_nothing(nats: Stage, tmp_path: Path) -> None:
    """Its messages wait in the stream until somebody adds the filter."""
    scene = Scene(NatsMarket(nats, tmp_path), tmp_path, STREAM)
    await scene.open(retry=False)
    async with scene.consuming():
        await scene.market.publish()
        await until(lambda: scene.market.handled)


async def test_redrive_on_a_shared_subject_is_handled_by_its_group_alone(stored: Scene) -> None:
    await stored.open(retry=False)
    stored.consume(retry=False)
    async with stored.consuming():
        await stored.expire()
        await stored.redrive(await stored.letter(), topic=TOPIC)
        await until(lambda: stored.market.handled)
    stored.counts.outcomes.clear()
    config = ConsumerConfig(
        durable_name="audit", ack_policy=AckPolicy.EXPLICIT, filter_subject=TOPIC
    )
    await stored.market.witness.jetstream(timeout=PATIENCE).add_consumer(STREAM, config)
    await stored.market.grant(consume("fulfilment", TOPIC, "audit", STREAM))
    stored.consume(retry=False, group="audit")
    async with stored.consuming():
        await until(lambda: len(stored.counts.outcomes) == 2)
    assert sorted(stored.counts.outcomes) == ["DeadLettered", "NotAddressed"]
    assert len(stored.market.handled) == 1
