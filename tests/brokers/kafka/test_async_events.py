"""Sealed events with aiokafka at a real Kafka: what is committed, and what is rejected."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError, NotEnoughReplicasError
from aiokafka.protocol.produce import ProduceRequest

from tests.brokers.kafka.async_events import (
    AsyncMarks,
    consumer_of,
    consuming,
    options,
    publish,
)
from tests.brokers.kafka.clients import bare
from tests.brokers.kafka.events import KafkaMarket
from tests.brokers.kafka.test_events import LONG_KEY, poison
from tests.brokers.nats.stage import until
from tests.brokers.waiting import becomes
from tests.edge.events.consumer import Marks
from tests.edge.events.trade import CHECKOUT, ORDER, POLICY
from tests.patience import PATIENCE
from troth.documents.client_name import client_name
from troth.documents.identity.document import Messages
from troth.edge.events.adapters.aiokafka import producer
from troth.edge.events.adapters.aiokafka.producer import DeadLetterProducer
from troth.edge.events.bindings import kafka as binding
from troth.edge.events.consumption.flow import StoppedError, UnavailableError
from troth.edge.events.event import Event
from troth.edge.events.rejection import Reason


class Connections:
    """The connections that aiokafka has made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._made: list[AIOKafkaConnection] = []
        connect = AIOKafkaConnection.connect

        async def connected(connection: AIOKafkaConnection) -> Any:
            self._made.append(connection)
            return await connect(connection)

        monkeypatch.setattr(AIOKafkaConnection, "connect", connected)

    @property
    def open(self) -> int:
        return sum(each.connected() for each in self._made)


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    return Connections(monkeypatch)


class SlowStop:
    """Lets `stop` of a client of aiokafka begin, and go on when it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, client: type[Any]) -> None:
        self.begun, self.release = asyncio.Event(), asyncio.Event()
        stop = client.stop

        async def slow(client: Any) -> None:
            self.begun.set()
            await self.release.wait()
            await stop(client)

        monkeypatch.setattr(client, "stop", slow)


class Waits:
    """Hooks that count causes of waiting."""

    def __init__(self) -> None:
        self.causes: list[str] = []

    def consumed(self, _: Any) -> None: ...

    def waited(self, reason: str, _: float) -> None:
        self.causes.append(reason)


async def dead(market: KafkaMarket, count: int) -> None:
    """Wait for so many dead letters."""

    async def published() -> bool:
        return len(await asyncio.to_thread(market.records, market.dead_letters)) >= count

    await becomes(published)


async def test_event_arrives_with_all_that_was_verified(market: KafkaMarket) -> None:
    await market.open()
    async with consuming(market):
        (sent,) = await publish(market, key=b"A-1", tenant="acme", subject="customer-42")
        await until(lambda: market.handled)
    (event,) = market.handled
    assert (event.id, event.actor, event.tenant) == (sent, CHECKOUT, "acme")
    assert (event.data, event.topic, event.policy) == (ORDER, market.topic, POLICY)
    assert market.committed() == {0: 1}
    assert market.letters() == []


async def test_coroutine_is_a_handler(market: KafkaMarket) -> None:
    await market.open()
    await publish(market)

    async def handle(event: Event) -> None:
        await asyncio.sleep(0)
        market.handled.append(event)

    async with consuming(market, handle):
        await until(lambda: market.handled)


async def test_back_dated_event_is_rejected(market: KafkaMarket) -> None:
    await market.open()
    before = market.market.clock() - 301
    market.market.clock = lambda: before  # type: ignore[method-assign]
    sealed = market.market.seal(topic=market.topic)
    market.inject([*binding.headers(sealed)], sealed.data)
    async with consuming(market):
        await dead(market, 1)
    assert market.reasons() == ["TimeMismatch"]


async def test_time_of_the_producer_is_not_the_brokers(market: KafkaMarket) -> None:
    await market.open(config={})
    seen: list[float | None] = []
    await publish(market)
    consumer = consumer_of(market)
    opened = consumer._opener.open

    def looking(message: Any) -> Any:
        seen.append(message.stored_at)
        return opened(message)

    consumer._opener.open = looking  # type: ignore[method-assign]
    task = asyncio.create_task(consumer.run())
    await until(lambda: market.handled)
    consumer.stop()
    await task
    assert seen == [None]


async def test_poison_message_does_not_block_its_partition(market: KafkaMarket) -> None:
    await market.open()
    poison(market)
    market.inject([], None)
    market.inject([("ce_id", b"\xff")], b"")
    await publish(market)
    async with consuming(market):
        await until(lambda: market.handled)
    assert market.reasons() == ["Unsigned", "Malformed", "Malformed"]
    assert [each.origin for each in market.letters()] == [f"{market.topic}/0@{n}" for n in range(3)]
    assert market.committed() == {0: 4}


async def test_message_that_waits_holds_up_its_own_partition_alone(market: KafkaMarket) -> None:
    await market.open(partitions=2)
    first = await publish(market, count=3, partition=0)
    market.market.consume(producers=[])
    waits = Waits()
    async with consuming(market, patience=3600.0, hooks=waits):
        await until(lambda: waits.causes)
        for _ in range(3):
            poison(market, partition=1)
        await dead(market, 3)
        assert not market.handled
        market.market.consume()
        await until(lambda: len(market.handled) == 3)
    assert [each.id for each in market.handled] == first
    assert market.committed() == {0: 3, 1: 3}
    assert market.reasons() == ["Unsigned"] * 3


async def test_nothing_is_lost_while_the_dead_letter_topic_denies(market: KafkaMarket) -> None:
    await market.open(dead_letters=False)
    poison(market)
    (sent,) = await publish(market)
    waits = Waits()
    async with consuming(market, hooks=waits):
        await until(lambda: waits.causes.count("DeadLetterNotPublished") >= 2)
    assert market.committed() == {}
    assert not market.handled

    waits.causes.clear()
    async with consuming(market, hooks=waits):
        await until(lambda: waits.causes)
        await market.grant_dead_letters()
        await until(lambda: market.handled)
    assert [each.id for each in market.handled] == [sent]
    assert market.reasons() == ["Unsigned"]
    assert market.committed() == {0: 2}


async def test_message_with_a_long_key_is_rejected_without_its_key(market: KafkaMarket) -> None:
    await market.open()
    poison(market, key=LONG_KEY, most=2_000_000)
    await publish(market)
    async with consuming(market):
        await until(lambda: market.handled)
    assert market.reasons() == ["Unsigned"]
    assert market.committed() == {0: 2}


async def test_large_message_leaves_its_digest(market: KafkaMarket) -> None:
    await market.open(config={"max.message.bytes": "20000000"})
    market.inject([("ce_id", b"1")], b"x" * 10_000_000, most=20_000_000)
    await publish(market)
    async with consuming(market):
        await until(lambda: market.handled)
    (letter,) = market.letters()
    assert letter.rejection.reason is Reason.TOO_LARGE
    assert letter.omitted == {"data"}
    assert letter.data_size == 10_000_000


async def test_copy_of_an_event_is_a_duplicate(market: KafkaMarket) -> None:
    await market.open()
    sealed = market.market.seal(topic=market.topic)
    for _ in range(2):
        market.inject([*binding.headers(sealed)], sealed.data)
    async with consuming(market, duplicates=AsyncMarks(Marks())):
        await dead(market, 1)
    assert len(market.handled) == 1
    assert market.reasons() == ["Duplicate"]


async def test_handler_that_fails_is_called_again_and_then_rejected(market: KafkaMarket) -> None:
    await market.open()
    sent = await publish(market, count=2)
    calls: list[str] = []

    def fail(event: Event) -> None:
        calls.append(event.id)
        if event.id == sent[0]:
            raise ValueError("card 4111")

    async with consuming(market, fail, attempts=2, duplicates=AsyncMarks(Marks())):
        await until(lambda: sent[1] in calls)
    assert calls == [sent[0], sent[0], sent[1]]
    (letter,) = market.letters()
    assert (letter.rejection.reason, letter.attempts) == (Reason.HANDLER_FAILED, 2)
    assert "4111" not in letter.rejection.detail
    assert market.committed() == {0: 2}


async def test_stop_ends_a_consumer_whose_library_catches_the_cancellation(
    market: KafkaMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open()
    consumer, joining = consumer_of(market), asyncio.Event()

    async def deaf(_: Messages) -> None:
        joining.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    monkeypatch.setattr(consumer, "_join", deaf)
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as tasks:
        tasks.create_task(consumer.run())
        await joining.wait()
        consumer.stop()


async def test_stop_while_a_consumer_leaves_kafka_closes_its_connections(
    market: KafkaMarket, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open()
    await publish(market)
    consumer = consumer_of(market)
    running = asyncio.create_task(consumer.run())
    await until(lambda: market.handled)
    leaving = SlowStop(monkeypatch, AIOKafkaConsumer)
    consumer._failure = KafkaError()
    consumer._failed.set()
    await leaving.begun.wait()
    consumer.stop()
    done, _ = await asyncio.wait({running}, timeout=0.5)
    assert not done
    assert connections.open
    leaving.release.set()
    await running
    assert not connections.open


async def test_consumer_that_is_cancelled_after_its_stop_closes_its_connections(
    market: KafkaMarket, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open()
    poison(market)  # so that the producer of dead letters is connected, too
    await publish(market)
    consumer = consumer_of(market)
    running = asyncio.create_task(consumer.run())
    await until(lambda: market.handled)
    leaving = SlowStop(monkeypatch, AIOKafkaConsumer)
    consumer.stop()
    await leaving.begun.wait()
    running.cancel()
    await asyncio.sleep(0)
    leaving.release.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not connections.open)


@pytest.mark.parametrize("error", [KafkaError, asyncio.CancelledError])
async def test_consumer_closes_its_connections_if_the_library_fails_to_leave(
    market: KafkaMarket,
    connections: Connections,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    await market.open()
    await publish(market)

    async def fail(_: GroupCoordinator) -> None:
        raise error

    monkeypatch.setattr(GroupCoordinator, "close", fail)
    async with consuming(market):
        await until(lambda: market.handled)
        assert connections.open
    assert not connections.open


async def test_producer_of_dead_letters_that_stops_late_closes_its_connections(
    market: KafkaMarket, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open()
    letters = DeadLetterProducer(options(market, market.fulfilment), POLICY)
    await letters.publish(replace(market.market.seal(), topic=market.dead_letters), None)
    monkeypatch.setattr(producer, "DELIVERY_SECONDS", 0.1)
    stopping = SlowStop(monkeypatch, AIOKafkaProducer)
    await letters.close()
    assert connections.open
    stopping.release.set()
    await until(lambda: not connections.open)


async def test_dead_letter_that_the_broker_rejects_for_long_leaves_no_connection(
    market: KafkaMarket, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open()
    send = AIOKafkaClient.send

    async def reject(client: AIOKafkaClient, node: int, request: Any, **given: Any) -> Any:
        if isinstance(request, ProduceRequest):  # as for want of replicas, which one broker has
            raise NotEnoughReplicasError
        return await send(client, node, request, **given)

    monkeypatch.setattr(AIOKafkaClient, "send", reject)
    monkeypatch.setattr(producer, "DELIVERY_SECONDS", 1.0)
    letters = DeadLetterProducer(options(market, market.fulfilment), POLICY)
    with pytest.raises(UnavailableError):
        await letters.publish(replace(market.market.seal(), topic=market.dead_letters), None)
    await letters.close()
    await until(lambda: not connections.open)


async def test_stop_waits_for_a_long_handler_and_commits(market: KafkaMarket) -> None:
    await market.open()
    await publish(market)
    release = asyncio.Event()

    async def handle(event: Event) -> None:
        market.handled.append(event)
        await release.wait()

    consumer = consumer_of(market, handle)
    task = asyncio.create_task(consumer.run())
    await until(lambda: market.handled)
    consumer.stop()
    await asyncio.wait({task}, timeout=3.0)  # longer than any delay of the consumer
    assert not task.done()
    release.set()
    async with asyncio.timeout(PATIENCE):
        await task
    assert market.committed() == {0: 1}


async def test_rejected_message_stops_a_consumer_without_dead_letter_topic(
    market: KafkaMarket,
) -> None:
    await market.open()
    market.market.consume(deadLetter=None)
    (sent,) = await publish(market)
    poison(market)
    await publish(market)
    for _ in range(2):
        with pytest.raises(StoppedError, match=f"{market.topic}/0@1"):
            async with asyncio.timeout(PATIENCE):
                await consumer_of(market).run()
        assert market.committed() == {0: 1}
    assert [each.id for each in market.handled] == [sent]
    async with consuming(market, on_rejected="drop"):
        await until(lambda: len(market.handled) == 2)
    assert market.committed() == {0: 3}


async def test_cancelled_handler_ends_the_consumer(market: KafkaMarket) -> None:
    await market.open()
    await publish(market)

    async def cancelled(_: Event) -> None:
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="cancelled"):
        async with asyncio.timeout(PATIENCE):
            await consumer_of(market, cancelled).run()
    assert market.committed() == {}


async def test_policy_that_returns_is_consumed_again(market: KafkaMarket) -> None:
    await market.open()
    market.market.entries()
    (sent,) = await publish(market)
    async with consuming(market) as consumer:
        await until(lambda: consumer._logged)
        assert consumer._consumer is None
        market.market.consume()
        await until(lambda: market.handled)
    assert [each.id for each in market.handled] == [sent]


async def test_next_owner_of_a_partition_gets_its_waiting_message(market: KafkaMarket) -> None:
    await market.open(partitions=2)
    sent = {*await publish(market, partition=0), *await publish(market, partition=1)}
    market.market.consume(producers=[])
    marks = AsyncMarks(Marks())
    options: dict[str, Any] = {"duplicates": marks, "patience": 3600.0}
    async with consuming(market, **options) as one:
        await until(lambda: len(one._lanes) == 2)
        async with consuming(market, **options) as other:
            await until(lambda: len(one._lanes) == len(other._lanes) == 1)
            market.market.consume()
            await until(lambda: len(market.handled) >= 2)
    assert {each.id for each in market.handled} == sent
    assert len(market.handled) == 2
    assert market.committed() == {0: 1, 1: 1}


async def test_rebalance_waits_for_the_current_handler(market: KafkaMarket) -> None:
    await market.open()
    sent = await publish(market)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(event: Event) -> None:
        begun.set()
        await go_on.wait()
        market.handled.append(event)

    async with consuming(market, slow) as consumer:
        await begun.wait()
        assert consumer._consumer is not None
        revoked = asyncio.create_task(consumer._revoke(consumer._consumer.assignment()))
        await until(lambda: not consumer._lanes)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not revoked.done()
        go_on.set()
        await revoked
        assert await asyncio.to_thread(market.committed) == {0: 1}
    assert [each.id for each in market.handled] == sent


async def test_record_that_the_library_cannot_read_is_rejected(
    market: KafkaMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open()
    sent = await publish(market, count=2)
    await publish(market)
    read = AIOKafkaConsumer.getone

    async def getone(self: Any, place: Any) -> Any:
        if await self.position(place) == 1:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        return await read(self, place)

    monkeypatch.setattr(AIOKafkaConsumer, "getone", getone)
    async with consuming(market):
        await until(lambda: len(market.handled) == 2)
    assert market.handled[0].id == sent[0]
    (letter,) = market.letters()
    assert letter.rejection.reason is Reason.MALFORMED
    assert letter.origin == f"{market.topic}/0@1"
    assert market.committed() == {0: 3}


async def test_topics_with_a_prefix_are_consumed(market: KafkaMarket) -> None:
    await market.open()
    prefix = market.topic[:-1]  # not that of its dead letters, which it may not read
    market.market.publish(topic=None, prefix=prefix)
    elsewhere = {"topic": "elsewhere.dlq", "review": "Required"}
    market.market.consume(topic=None, prefix=prefix, deadLetter=elsewhere)
    await publish(market, topic=market.topic)
    async with consuming(market):
        await until(lambda: market.handled)
    assert market.handled[0].topic == market.topic


async def test_clients_introduce_themselves_to_the_broker(market: KafkaMarket) -> None:
    await market.open()
    await publish(market)
    admin = bare(market.server)
    async with consuming(market):
        await until(lambda: market.handled)

        async def named() -> bool:
            group = market.market.group
            asked = admin.describe_consumer_groups([group])[group]
            described = await asyncio.to_thread(asked.result)
            return [each.client_id for each in described.members] == [client_name([POLICY])]

        await becomes(named)
