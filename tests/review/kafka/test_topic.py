"""Dead-letter topics of a real Kafka, as their reviewer uses them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions

from tests.brokers.kafka.clients import administered
from tests.brokers.kafka.events import PASSWORD
from tests.brokers.waiting import observed
from tests.patience import PATIENCE
from tests.review.following import feeding, pending, read_all, until
from tests.review.kafka.stand import Stand
from tests.review.letters import NOON, REVIEW
from troth.brokers.protocol import Batch, Credential
from troth.edge.events.bindings import kafka as binding
from troth.edge.events.message import Message
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.brokers import (
    BrokerUnavailableError,
    Redelivery,
    TooLargeError,
)
from troth.review.kafka import publishing
from troth.review.kafka import topic as topics
from troth.review.kafka.topic import KafkaTopic
from troth.review.letters.letter import Letter, Position
from troth.review.letters.records import Record, RecordedOutcome, Records
from troth.trust.grants import Rule, Slot


@asynccontextmanager
async def opened(stand: Stand, source: Any = None) -> AsyncIterator[KafkaTopic]:
    topic = stand.topic(source)
    try:
        async with asyncio.timeout(2 * PATIENCE):
            yield topic
    finally:
        await topic.close()


async def test_letters_are_read_in_order_and_singly(stand: Stand) -> None:
    stand.make(stand.letters)
    letters = [stand.bury() for _ in range(30)]
    stand.store(*letters, keys={0: b"first"})
    async with opened(stand) as topic:
        assert await topic.bounds() == {0: (0, 30)}
        found = await read_all(topic)
        ids = [each.attributes["id"] for each in letters]
        assert [each.message.attributes["id"] for each in found] == ids
        assert (found[0].key, found[1].key) == (b"first", None)
        assert [each.position for each in await read_all(topic, {0: 28})] == [(0, 28), (0, 29)]
        for offset in (7, 8, 20, 3):
            single = await topic.get(Position(0, offset))
            assert single == found[offset]
        assert await topic.get(Position(0, 30)) is None
    reader = stand.reader()
    read = [reader.read(each) for each in found]
    assert [each.id for each in read if isinstance(each, Letter)] == ids


async def test_new_letters_come_while_it_reads(stand: Stand) -> None:
    stand.make(stand.letters, partitions=2)
    async with opened(stand) as topic, aclosing(topic.read({})) as batches:  # type: ignore[type-var]
        while await anext(batches):
            pass
        letter = stand.bury()
        stand.store(letter, partition=1)
        while not (batch := await anext(batches)):
            pass
    assert [each.position for each in batch] == [(1, 0)]


async def test_reading_needs_no_right_on_a_group(stand: Stand, mine: str) -> None:
    """The rights of a reviewer are READ and WRITE on the dead-letter topic."""
    stand.make(stand.letters)
    letters = [stand.bury() for _ in range(3)]
    stand.store(*letters)
    broker, principal = administered(stand.server), f"{mine}reviewer"
    given = {
        Rule(principal, "TOPIC", "LITERAL", stand.letters, each, host="*")
        for each in ("READ", "WRITE")
    }
    credential = Credential(principal, Slot.FIRST, PASSWORD)
    assert await broker.apply(Batch((credential,), ())) == ()
    await observed(broker, lambda seen: (principal, Slot.FIRST) in seen.credentials)

    def scram() -> dict[str, Any]:
        return {
            "bootstrap.servers": stand.server.client_address,
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": principal,
            "sasl.password": PASSWORD,
            "ssl.ca.location": str(stand.server.authority.certificate),
        }

    try:
        async with opened(stand, scram) as topic:
            with pytest.raises(BrokerUnavailableError, match="TOPIC_AUTHORIZATION_FAILED"):
                await topic.bounds()
            assert await broker.apply(Batch((), tuple(given))) == ()
            await observed(broker, lambda seen: given <= seen.rules)
            assert await topic.incarnation()
            assert len(await read_all(topic)) == 3
            assert await topic.get(Position(0, 1)) is not None
            await topic.record(letters[0])
            assert await topic.bounds() == {0: (0, 4)}
            stand.make(stand.retry)
            message = Redelivery("r", stand.retry, (), b"data")
            (failure,) = await topic.redeliver([message])
            assert isinstance(failure, BrokerUnavailableError)
            assert "TOPIC_AUTHORIZATION_FAILED" in str(failure)
            retry = Rule(principal, "TOPIC", "LITERAL", stand.retry, "WRITE", host="*")
            assert await broker.apply(Batch((), (retry,))) == ()
            while await topic.redeliver([message]) != [None]:
                pass  # the broker applies a right a moment after it has confirmed it
    finally:
        await broker.close()


async def test_rejected_credential_is_said(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "ANSWER_SECONDS", 3.0)  # the library asks again until then
    stand.make(stand.letters)

    def wrong() -> dict[str, Any]:
        return {
            "bootstrap.servers": stand.server.client_address,
            "security.protocol": "sasl_ssl",
            "sasl.mechanism": "SCRAM-SHA-256",
            "sasl.username": "nobody",
            "sasl.password": "wrong",
            "ssl.ca.location": str(stand.server.authority.certificate),
        }

    async with opened(stand, wrong) as topic:
        for _ in range(3):  # a busy broker may not have answered the login in this time
            if "_AUTHENTICATION" in (refusal := await _refusal(topic)):
                break
        assert "_AUTHENTICATION" in refusal
        with pytest.raises(BrokerUnavailableError):
            await topic.get(Position(0, 0))
        (failure,) = await topic.redeliver([Redelivery("r", stand.retry, (), b"")])
        assert isinstance(failure, BrokerUnavailableError)


async def _refusal(topic: KafkaTopic) -> str:
    with pytest.raises(BrokerUnavailableError) as refused:
        await topic.bounds()
    return str(refused.value)


async def test_expired_letters_are_gone(stand: Stand, tmp_path: Path) -> None:
    stand.make(stand.letters)
    letters = [stand.bury() for _ in range(5)]
    stand.store(*letters)
    async with opened(stand) as topic, feeding(stand.reader(), topic, tmp_path / "i") as fed:
        feeder, index = fed
        await feeder.caught_up()
        assert len(pending(index)) == 5
        place = TopicPartition(stand.letters, 0, 3)
        stand.admin.delete_records([place])[place].result(PATIENCE)
        await until(lambda: len(pending(index)) == 2)
        assert await topic.bounds() == {0: (3, 5)}
        assert await topic.get(Position(0, 1)) is None
        assert [each.position.offset for each in await read_all(topic, {0: 1})] == [3, 4]


@pytest.mark.long
async def test_compacted_letter_is_gone(stand: Stand) -> None:
    """Compaction keeps the last letter of each key, and tombstones for a while."""
    stand.make(
        stand.letters,
        cleanup_policy="compact",
        segment_ms="1",
        max_compaction_lag_ms="1",
        min_cleanable_dirty_ratio="0.001",
        delete_retention_ms="3600000",
    )
    first, second, third, fourth = (stand.bury() for _ in range(4))
    stand.store(first, second, keys={0: b"a", 1: b"b"})
    stand.store(third, keys={0: b"a"})
    tombstone = Message(stand.letters, {}, None)
    stand.store_raw(tombstone.topic, None, b"b")
    stand.store(fourth, keys={0: b"c"})
    stand.store(fourth, keys={0: b"c"})  # the last segment is never compacted
    async with opened(stand) as topic:
        while await topic.get(Position(0, 0)) is not None:
            await asyncio.sleep(0.5)
            stand.store(fourth, keys={0: b"d"})  # a message that begins a new segment
        found = await read_all(topic)
        offsets = [each.position.offset for each in found]
        assert 0 not in offsets
        assert {2, 5} <= set(offsets)
        tombstones = [each.position.offset for each in found if each.message.data is None]
        assert tombstones == [3]
        assert await topic.get(Position(0, 1)) is None
        # a record has a key of its own, so compaction keeps it
        sealed = Records(stand.market.identity(stand.reviewer), "shop/orders").seal(
            Record(REVIEW, "uid", (RecordedOutcome("i", "d" * 43, LetterOutcome.REDRIVEN),), NOON)
        )
        await topic.record(sealed)
        *_, last = await read_all(topic, {0: 6})
        assert last.key == sealed.attributes["id"].encode()


async def test_topic_that_is_created_again_is_another_one(stand: Stand, tmp_path: Path) -> None:
    stand.make(stand.letters)
    stand.store(*(stand.bury() for _ in range(3)))
    async with opened(stand) as topic, feeding(stand.reader(), topic, tmp_path / "i") as fed:
        feeder, index = fed
        await feeder.caught_up()
        before = await topic.incarnation()
        stand.admin.delete_topics([stand.letters])[stand.letters].result(PATIENCE)
        stand.make(stand.letters)
        letters = [stand.bury() for _ in range(5)]
        stand.store(*letters)
        ids = [each.attributes["id"] for each in letters]
        await until(lambda: pending(index) == ids)
        assert await topic.incarnation() != before


async def test_added_partition_is_read(stand: Stand, tmp_path: Path) -> None:
    stand.make(stand.letters)
    stand.store(stand.bury())
    async with opened(stand) as topic, feeding(stand.reader(), topic, tmp_path / "i") as fed:
        feeder, index = fed
        await feeder.caught_up()
        added = stand.admin.create_partitions([NewPartitions(stand.letters, 3)])
        added[stand.letters].result(PATIENCE)
        stand.store(stand.bury(), partition=2)
        await until(lambda: len(pending(index)) == 2)


async def test_letter_over_the_default_size_is_read(stand: Stand) -> None:
    stand.make(stand.letters, max_message_bytes="5000000")
    stand.store(stand.bury(b"x" * 3_000_000), stand.bury())
    async with opened(stand) as topic:
        found = await read_all(topic)
        reader = stand.reader()
        sizes = [each.size for each in map(reader.read, found) if isinstance(each, Letter)]
        assert sizes == [3_000_000, 26]
        assert await topic.get(Position(0, 0)) == found[0]


@pytest.mark.parametrize("alone", [publishing.ALONE_BYTES, 10_000_000])
async def test_message_that_is_too_large_fails_alone(
    stand: Stand, alone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "ALONE_BYTES", alone)
    stand.make(stand.retry, max_message_bytes="60000")
    stand.make(stand.letters, max_message_bytes="2000")
    sizes = (10, 20, 70_000, 30, 200_000, 40)
    messages = [Redelivery(str(n), stand.retry, (), b"x" * n, b"key") for n in sizes]
    async with opened(stand) as topic:
        outcomes = await topic.redeliver(messages)
        kinds = [type(each) for each in outcomes]
        none = type(None)
        assert kinds == [none, none, TooLargeError, none, TooLargeError, none]
        with pytest.raises(TooLargeError):
            await topic.record(stand.bury(b"x" * 3000))
    retry = KafkaTopic(stand.retry, "shop/orders", stand.configuration)
    found = await read_all(retry)
    await retry.close()
    assert sorted(len(each.message.data or b"") for each in found) == [10, 20, 30, 40]


async def test_redelivered_message_is_unchanged(stand: Stand) -> None:
    stand.make(stand.retry, partitions=3)
    stand.make(stand.letters)
    headers = (("ce_id", b"1"), ("other", b"\xff\x00"), ("other", b""))
    messages = [
        Redelivery(str(n), stand.retry, headers, str(n).encode(), f"key-{n % 4}".encode())
        for n in range(200)
    ]
    async with opened(stand) as topic:
        assert await topic.redeliver(messages) == [None] * 200
    retry = KafkaTopic(stand.retry, "shop/orders", stand.configuration)
    found = await read_all(retry)
    await retry.close()
    by_key: dict[bytes | None, list[int]] = {}
    for each in found:
        assert each.message.headers == headers
        by_key.setdefault(each.key, []).append(int(each.message.data or b""))
    assert len(found) == 200
    assert all(each == sorted(each) for each in by_key.values())


async def test_records_have_one_order(stand: Stand) -> None:
    stand.make(stand.letters, partitions=5)
    sealed = [stand.bury() for _ in range(8)]
    async with opened(stand) as topic:
        for each in sealed:
            await topic.record(each)
        found = await read_all(topic)
    assert [each.position for each in found] == [(0, n) for n in range(8)]
    assert found[0].message.headers == tuple(binding.headers(sealed[0]))


async def test_missing_topic_is_said(stand: Stand) -> None:
    async with opened(stand) as topic:
        with pytest.raises(BrokerUnavailableError, match="UNKNOWN_TOPIC_OR_PART"):
            await topic.bounds()


async def test_missing_credential_file_is_said(stand: Stand, tmp_path: Path) -> None:
    def missing() -> dict[str, Any]:
        (tmp_path / "client.properties").read_text()
        raise AssertionError

    async with opened(stand, missing) as topic:
        for call in (topic.bounds(), topic.get(Position(0, 0)), read_all(topic)):
            with pytest.raises(BrokerUnavailableError, match="credential cannot be read"):
                await call
        (failure,) = await topic.redeliver([Redelivery("r", stand.retry, (), b"")])
        assert "credential cannot be read" in str(failure)
