"""Sealed events at a real Kafka: what is committed, and what reaches the dead-letter topic."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.brokers.kafka.clients import bare
from tests.brokers.kafka.events import KafkaMarket, drive
from tests.brokers.waiting import becomes
from tests.edge.events.consumer import Marks
from tests.edge.events.trade import CHECKOUT, ORDER, POLICY
from tests.patience import PATIENCE
from troth.documents.client_name import client_name
from troth.edge.events.adapters.confluent import EventConsumer, EventProducer
from troth.edge.events.adapters.confluent import consumer as consumer_module
from troth.edge.events.bindings import kafka as binding
from troth.edge.events.consumption.flow import StoppedError
from troth.edge.events.consumption.handlers import handler
from troth.edge.events.event import Event
from troth.edge.events.rejection import Reason

LONG_KEY = b"k" * 1_048_000
"""A key with which a broker accepts a message, and no dead letter."""


def poison(market: KafkaMarket, **options: Any) -> None:
    """Publish an unsigned message."""
    market.inject([("ce_id", b"1")], b"nobody signed this", **options)


def rejected(market: KafkaMarket, consumer: EventConsumer, messages: int) -> Callable[[], bool]:
    """Return whether so many messages are dead letters, and none waits."""
    return lambda: len(market.records(market.dead_letters)) >= messages and not consumer._lanes


async def test_event_arrives_with_all_that_was_verified(market: KafkaMarket) -> None:
    await market.open()
    (sent,) = market.publish(key="A-1", tenant="acme", subject="customer-42")
    with market.consumer() as consumer:
        drive(consumer, lambda: bool(market.handled))
    (event,) = market.handled
    assert (event.id, event.actor, event.tenant) == (sent, CHECKOUT, "acme")
    assert (event.data, event.topic, event.policy) == (ORDER, market.topic, POLICY)
    assert market.committed() == {0: 1}
    assert market.letters() == []


async def test_time_of_the_broker_counts_only_if_the_broker_stamps(market: KafkaMarket) -> None:
    await market.open(config={})
    sealed = market.market.seal(topic=market.topic)
    (header, *rest) = binding.headers(sealed)
    market.inject([header, *rest], sealed.data)
    stored: list[float | None] = []
    with market.consumer() as consumer:
        opener = consumer._opener
        opened = opener.open

        def looking(message: Any) -> Any:
            stored.append(message.stored_at)
            return opened(message)

        opener.open = looking  # type: ignore[method-assign]
        drive(consumer, lambda: bool(market.handled))
    assert stored == [None]


async def test_back_dated_event_is_rejected(market: KafkaMarket) -> None:
    await market.open()
    before = market.market.clock() - 301
    market.market.clock = lambda: before  # type: ignore[method-assign]
    sealed = market.market.seal(topic=market.topic)
    market.inject([*binding.headers(sealed)], sealed.data)
    with market.consumer() as consumer:
        drive(consumer, rejected(market, consumer, 1))
    assert market.reasons() == ["TimeMismatch"]
    reopened = market.market.open(market.letters()[0].message)
    assert not isinstance(reopened, Event)


async def test_poison_message_does_not_block_its_partition(market: KafkaMarket) -> None:
    await market.open()
    poison(market)
    market.inject([], None)
    market.inject([("ce_id", b"\xff")], b"")
    market.publish()
    with market.consumer() as consumer:
        drive(consumer, lambda: bool(market.handled))
    assert market.reasons() == ["Unsigned", "Malformed", "Malformed"]
    assert [each.origin for each in market.letters()] == [f"{market.topic}/0@{n}" for n in range(3)]
    assert market.committed() == {0: 4}


async def test_message_that_waits_holds_up_its_own_partition_alone(market: KafkaMarket) -> None:
    await market.open(partitions=2)
    first = market.publish(count=3, partition=0)
    market.market.consume(producers=[])
    with market.consumer(patience=3600.0) as consumer:
        drive(consumer, lambda: bool(consumer._lanes))
        for _ in range(3):
            poison(market, partition=1)
        drive(consumer, lambda: len(market.records(market.dead_letters)) == 3)
        assert not market.handled
        market.market.consume()
        drive(consumer, lambda: len(market.handled) == 3)
    assert [each.id for each in market.handled] == first
    assert market.committed() == {0: 3, 1: 3}
    assert market.reasons() == ["Unsigned"] * 3


async def test_nothing_is_lost_while_the_dead_letter_topic_denies(market: KafkaMarket) -> None:
    await market.open(dead_letters=False)
    poison(market)
    (sent,) = market.publish()
    waits: list[str] = []

    class Hooks:
        def consumed(self, _: Any) -> None: ...

        def waited(self, reason: str, _: float) -> None:
            waits.append(reason)

    options: dict[str, Any] = {"hooks": Hooks()}
    with market.consumer(**options) as consumer:
        drive(consumer, lambda: waits.count("DeadLetterNotPublished") >= 2)
    assert market.committed() == {}
    assert not market.handled

    with market.consumer(**options) as consumer:
        seen = len(waits)
        drive(consumer, lambda: len(waits) > seen)
        await market.grant_dead_letters()
        drive(consumer, lambda: bool(market.handled))
    assert [each.id for each in market.handled] == [sent]
    assert market.reasons() == ["Unsigned"]
    assert market.committed() == {0: 2}


async def test_message_with_a_long_key_is_rejected_without_its_key(market: KafkaMarket) -> None:
    await market.open()
    poison(market, key=LONG_KEY, most=2_000_000)
    market.publish()
    with market.consumer() as consumer:
        drive(consumer, lambda: bool(market.handled))
    assert market.reasons() == ["Unsigned"]
    assert market.committed() == {0: 2}


async def test_clients_read_a_rotated_credential(
    market: KafkaMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    await market.open()
    monkeypatch.setattr(consumer_module, "RECONNECT_SECONDS", 0.0)
    reads: dict[str, int] = {}

    def configuration(principal: str) -> Callable[[], dict[str, Any]]:
        def read() -> dict[str, Any]:
            reads[principal] = reads.get(principal, 0) + 1
            known = market.properties(principal)
            return known | {"sasl.password": "outdated"} if reads[principal] == 1 else known

        return read

    identity = market.market.identity(market.market.checkout)
    with EventProducer(identity, POLICY, configuration(market.checkout)) as producer:
        producer.produce(ORDER, type="shop.order.placed")
        assert producer.flush(PATIENCE) == 0
    identity = market.market.identity(market.market.fulfilment)
    place = handler(policy=POLICY)(market.handled.append)
    source = configuration(market.fulfilment)
    with EventConsumer(identity, place, source, duplicates=None) as consumer:
        drive(consumer, lambda: bool(market.handled))
    assert reads[market.checkout] >= 2
    assert reads[market.fulfilment] >= 2


async def test_large_message_leaves_its_digest(market: KafkaMarket) -> None:
    await market.open(config={"max.message.bytes": "20000000"})
    market.inject([("ce_id", b"1")], b"x" * 10_000_000, most=20_000_000)
    market.publish()
    with market.consumer() as consumer:
        drive(consumer, lambda: bool(market.handled))
    (letter,) = market.letters()
    assert letter.rejection.reason is Reason.TOO_LARGE
    assert letter.omitted == {"data"}
    assert letter.data_size == 10_000_000
    assert market.committed() == {0: 2}


async def test_ten_thousand_headers_are_rejected_and_kept(market: KafkaMarket) -> None:
    await market.open()
    market.inject([(f"h{number}", b"") for number in range(10_000)])
    with market.consumer() as consumer:
        drive(consumer, rejected(market, consumer, 1))
    (letter,) = market.letters()
    assert letter.rejection.reason is Reason.TOO_LARGE
    assert len(letter.message.headers) == 10_000


async def test_header_of_a_proxy_changes_no_verdict(market: KafkaMarket) -> None:
    await market.open()
    sealed = market.market.seal(topic=market.topic, tenant="acme")
    headers: list[tuple[str, Any]] = [*binding.headers(sealed)]
    forged = [each for each in headers if each[0] != "ce_trothtenant"]
    for added in (
        [*headers, ("x-request-id", b"\xff")],
        [*headers, ("ce_traceparent", b"00-0-0-00")],
        [*headers, ("ce_trothtenant", b"globex")],
        [*forged, ("ce_trothtenant", b"globex")],
        [*headers, ("CE_tenant", b"globex")],
    ):
        market.inject(added, sealed.data)
    with market.consumer() as consumer:
        drive(consumer, rejected(market, consumer, 3))
    assert [each.tenant for each in market.handled] == ["acme", "acme"]
    assert market.reasons() == ["Malformed", "SignatureInvalid", "Malformed"]


async def test_nothing_is_handled_while_the_store_is_away(market: KafkaMarket) -> None:
    await market.open()
    (sent,) = market.publish()
    marks = Marks(away=True)
    with market.consumer(duplicates=marks) as consumer:
        drive(consumer, lambda: bool(consumer._lanes))
    assert not market.handled
    assert market.committed() == {}
    with market.consumer(duplicates=marks) as consumer:
        drive(consumer, lambda: bool(consumer._lanes))
        marks.away = False
        drive(consumer, lambda: bool(market.handled))
    assert list(marks.consumed) == [sent]
    assert market.committed() == {0: 1}


async def test_copy_of_an_event_is_a_duplicate(market: KafkaMarket) -> None:
    await market.open()
    sealed = market.market.seal(topic=market.topic)
    for _ in range(2):
        market.inject([*binding.headers(sealed)], sealed.data)
    with market.consumer(duplicates=Marks()) as consumer:
        drive(consumer, rejected(market, consumer, 1))
    assert len(market.handled) == 1
    assert market.reasons() == ["Duplicate"]


async def test_deleted_policy_loses_no_queued_message(market: KafkaMarket) -> None:
    await market.open()
    sent = market.publish(count=2)
    poison(market)
    with market.consumer(attempts=1) as consumer:
        drive(consumer, lambda: consumer._consumer is not None)
        market.market.entries()
        drive(consumer, lambda: bool(consumer._lanes))
    assert market.committed() == {}
    with market.consumer() as consumer:  # it starts without a grant
        consumer.poll(0.01)
        assert consumer._consumer is None
        market.market.consume()
        drive(consumer, rejected(market, consumer, 1))
    assert [each.id for each in market.handled] == sent
    assert market.committed() == {0: 3}


async def test_rejected_message_stops_a_consumer_without_dead_letter_topic(
    market: KafkaMarket,
) -> None:
    await market.open()
    market.market.consume(deadLetter=None)
    (sent,) = market.publish()
    poison(market)
    market.publish()
    for _ in range(2):
        with (
            pytest.raises(StoppedError, match=f"{market.topic}/0@1"),
            market.consumer() as consumer,
        ):
            consumer.run()
        with pytest.raises(RuntimeError):
            consumer.poll()
        assert market.committed() == {0: 1}
    assert [each.id for each in market.handled] == [sent]
    with market.consumer(on_rejected="drop") as consumer:
        drive(consumer, lambda: len(market.handled) == 2)
    assert market.committed() == {0: 3}


async def test_handler_that_fails_is_called_again_and_then_rejected(market: KafkaMarket) -> None:
    await market.open()
    sent = market.publish(count=2)
    calls: list[str] = []

    def fail(event: Event) -> None:
        calls.append(event.id)
        if event.id == sent[0]:
            raise ValueError("card 4111")

    with market.consumer(fail, attempts=2, duplicates=Marks()) as consumer:
        drive(consumer, lambda: sent[1] in calls)
    assert calls == [sent[0], sent[0], sent[1]]
    (letter,) = market.letters()
    assert (letter.rejection.reason, letter.attempts) == (Reason.HANDLER_FAILED, 2)
    assert "4111" not in letter.rejection.detail


async def test_next_owner_of_a_partition_gets_its_waiting_message(market: KafkaMarket) -> None:
    await market.open(partitions=2)
    sent = {*market.publish(partition=0), *market.publish(partition=1)}
    market.market.consume(producers=[])
    options: dict[str, Any] = {"duplicates": Marks(), "patience": 3600.0}
    with market.consumer(**options) as one:
        drive(one, lambda: len(one._lanes) == 2)
        with market.consumer(**options) as other:

            def both() -> bool:
                one.poll(0.05)
                return len(one._lanes) == len(other._lanes) == 1

            drive(other, both)
            market.market.consume()

            def all_handled() -> bool:
                one.poll(0.05)
                return len(market.handled) >= 2

            drive(other, all_handled)
    assert {each.id for each in market.handled} == sent
    assert len(market.handled) == 2
    assert market.committed() == {0: 1, 1: 1}


async def test_topics_with_a_prefix_are_consumed(market: KafkaMarket) -> None:
    await market.open()
    prefix = market.topic[:-1]  # not that of its dead letters, which it may not read
    market.market.publish(topic=None, prefix=prefix)
    elsewhere = {"topic": "elsewhere.dlq", "review": "Required"}
    market.market.consume(topic=None, prefix=prefix, deadLetter=elsewhere)
    market.publish(topic=market.topic)
    with market.consumer() as consumer:
        drive(consumer, lambda: bool(market.handled))
    assert market.handled[0].topic == market.topic


async def test_clients_introduce_themselves_to_the_broker(market: KafkaMarket) -> None:
    await market.open()
    market.publish()
    admin = bare(market.server)
    with market.consumer() as consumer:
        drive(consumer, lambda: bool(market.handled))

        async def named() -> bool:
            group = market.market.group
            described = admin.describe_consumer_groups([group])[group].result()
            return [each.client_id for each in described.members] == [client_name([POLICY])]

        await becomes(named)
