"""The index follows its topic through expiry, recreation, new partitions and outages."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.edge.events.trade import POLICY
from tests.patience import PATIENCE
from tests.review.desk import DLQ, Desk, as_delivered
from tests.review.letters import NOON, REVIEW
from tests.review.memory_topic import MemoryTopic
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import Reason, Rejection
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import Letters
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.brokers import BrokerUnavailableError
from troth.review.index.feeder import Feeder
from troth.review.index.store import LetterIndex
from troth.review.letters.letter import LetterState
from troth.review.letters.reading import LetterReader
from troth.review.letters.records import Record, RecordedOutcome, Records

ORDERS = Ref("shop", "orders")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[LetterIndex]:
    index = LetterIndex(tmp_path / "letters.db")
    yield index
    index.close()


@pytest.fixture
def topic() -> MemoryTopic:
    return MemoryTopic()


@asynccontextmanager
async def feeding(
    desk: Desk, index: LetterIndex, topic: MemoryTopic, **options: Any
) -> AsyncIterator[Feeder]:
    reader = LetterReader(desk.identity(desk.reviewer), POLICY, clock=desk.clock)
    given: dict[str, Any] = {"check_seconds": 0, "retry_seconds": 0, "clock": desk.clock} | options
    feeder = Feeder(topic, index, reader, **given)
    task = asyncio.create_task(feeder.run())
    try:
        async with asyncio.timeout(PATIENCE):
            yield feeder
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def becomes(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the index has no event
        await asyncio.sleep(0.001)


def bury(desk: Desk, offset: int) -> Sealed:
    return desk.bury(as_delivered(desk.seal(), offset))


def record(desk: Desk, *ids: str, outcome: LetterOutcome = LetterOutcome.REDRIVEN) -> Sealed:
    outcomes = tuple(RecordedOutcome(each, "d" * 43, outcome) for each in ids)
    records = Records(desk.identity(desk.reviewer), POLICY, clock=desk.clock)
    return records.seal(Record(REVIEW, "uid-1", outcomes, NOON))


def pending(index: LetterIndex) -> list[str]:
    return [each.id for each in index.select(ORDERS, Letters(), None)]


async def test_letters_and_records_reach_the_index(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    first, second = bury(desk, 1), bury(desk, 2)
    topic.seal(first)
    topic.seal(second)
    topic.seal(record(desk, first.attributes["id"]))
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
        assert pending(index) == [second.attributes["id"]]
        assert feeder.lag == 0
        third = bury(desk, 3)
        topic.seal(third)
        await feeder.caught_up()
        assert pending(index) == [second.attributes["id"], third.attributes["id"]]
    settled = index.get(ORDERS, first.attributes["id"])
    assert settled is not None
    assert (settled.state, settled.review) == (LetterState.REDRIVEN, REVIEW)


async def test_record_may_be_read_before_its_letter(desk: Desk, index: LetterIndex) -> None:
    topic = MemoryTopic(partitions=2)
    letter = bury(desk, 1)
    topic.seal(record(desk, letter.attributes["id"]), partition=0)
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
        topic.seal(letter, partition=1)
        await feeder.caught_up()
    assert pending(index) == []


async def test_messages_that_are_no_letters_are_counted(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    reported: list[Rejection] = []
    topic.store(Message(DLQ, {}, b"nonsense"))
    topic.seal(bury(desk, 1))
    async with feeding(desk, index, topic, unreadable=reported.append) as feeder:
        await feeder.caught_up()
    assert index.counts(ORDERS).unreadable == 1
    assert [each.reason for each in reported] == [Reason.UNSIGNED]
    assert len(pending(index)) == 1


async def test_tombstone_is_no_unreadable_message(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    topic.store(Message(DLQ, {}, None))
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
        await becomes(lambda: index.positions(ORDERS) == {0: 1})
    assert index.counts(ORDERS).unreadable == 0


async def test_restart_reads_only_what_is_new(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    topic.seal(bury(desk, 1))
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
    topic.seal(bury(desk, 2))
    topic.reads.clear()
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
    assert topic.reads == [{0: 1}]
    assert len(pending(index)) == 2


async def test_lost_disk_loses_nothing(desk: Desk, topic: MemoryTopic, tmp_path: Path) -> None:
    letters = [bury(desk, number) for number in range(4)]
    for each in letters:
        topic.seal(each)
    topic.seal(record(desk, letters[0].attributes["id"], outcome=LetterOutcome.QUARANTINED))
    found = []
    for name in ("before", "after"):
        index = LetterIndex(tmp_path / name)
        async with feeding(desk, index, topic) as feeder:
            await feeder.caught_up()
        ids = [each.attributes["id"] for each in letters]
        found.append([index.get(ORDERS, each) for each in ids])
        index.close()
    assert found[0] == found[1]
    assert next(each.state for each in found[1] if each) is LetterState.QUARANTINED


async def test_expired_letters_are_gone(desk: Desk, index: LetterIndex, topic: MemoryTopic) -> None:
    letters = [bury(desk, number) for number in range(3)]
    for each in letters:
        topic.seal(each)
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
        topic.first[0] = 2
        await becomes(lambda: pending(index) == [letters[2].attributes["id"]])
    gone = index.get(ORDERS, letters[0].attributes["id"])
    assert gone is not None
    assert gone.state is LetterState.GONE


async def test_old_records_leave_the_index(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    letter = bury(desk, 1)
    topic.seal(letter)
    topic.seal(record(desk, letter.attributes["id"]))
    desk.review(letters={"retention": 3600})
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
        assert index.get(ORDERS, letter.attributes["id"]) is not None
        desk.now += 3601
        await becomes(lambda: index.get(ORDERS, letter.attributes["id"]) is None)


@pytest.mark.parametrize("refilled", [0, 1, 5])
async def test_topic_that_is_created_again_is_read_from_its_start(
    desk: Desk, index: LetterIndex, topic: MemoryTopic, refilled: int
) -> None:
    for number in range(3):
        topic.seal(bury(desk, number))
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
    topic.recreate()
    letters = [bury(desk, 10 + number) for number in range(refilled)]
    for each in letters:
        topic.seal(each)
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
    assert pending(index) == [each.attributes["id"] for each in letters]


async def test_topic_is_created_again_while_it_is_read(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    for number in range(3):
        topic.seal(bury(desk, number))
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
        topic.recreate()
        letters = [bury(desk, 10 + number) for number in range(5)]
        for each in letters:
            topic.seal(each)
        await becomes(lambda: pending(index) == [each.attributes["id"] for each in letters])


async def test_log_that_lost_its_end_is_read_again(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    letters = [bury(desk, number) for number in range(3)]
    for each in letters:
        topic.seal(each)
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
    del topic.logs[0][1:]
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
    assert pending(index) == [letters[0].attributes["id"]]


async def test_index_that_begins_again_says_so_until_it_is_whole(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    letters = [bury(desk, number) for number in range(3)]
    for each in letters:
        topic.seal(each)
    seen: list[tuple[int, bool]] = []
    async with feeding(desk, index, topic) as feeder:
        forget = index.forget

        def note(policy: Ref) -> None:
            seen.append((feeder.rebuilds, feeder.whole))
            forget(policy)

        index.forget = note  # type: ignore[method-assign]
        await feeder.caught_up()
        assert (feeder.rebuilds, feeder.whole) == (0, True)
        del topic.logs[0][1:]
        await becomes(lambda: bool(seen))
        await feeder.caught_up()
        assert (feeder.rebuilds, feeder.whole) == (1, True)
        assert pending(index) == [letters[0].attributes["id"]]
    assert seen == [(1, False)]


async def test_record_says_which_review_settled_a_letter(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    letter = bury(desk, 1)
    topic.seal(letter)
    topic.seal(record(desk, letter.attributes["id"]))
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
    found = index.get(ORDERS, letter.attributes["id"])
    assert found is not None
    assert found.review_uid == "uid-1"


async def test_added_partition_is_read(desk: Desk, index: LetterIndex, topic: MemoryTopic) -> None:
    topic.seal(bury(desk, 1))
    async with feeding(desk, index, topic) as feeder:
        await feeder.caught_up()
        topic.logs.append([])
        topic.first.append(0)
        topic.seal(bury(desk, 2), partition=1)
        await becomes(lambda: len(pending(index)) == 2)


async def test_outage_of_the_broker_is_waited_for(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    topic.fault = BrokerUnavailableError("no answer")
    topic.seal(bury(desk, 1))
    async with feeding(desk, index, topic) as feeder:
        await becomes(lambda: feeder.fault == "no answer")
        topic.fault = None
        await feeder.caught_up()
        assert len(pending(index)) == 1
        topic.fault = BrokerUnavailableError("away again")
        await becomes(lambda: feeder.fault == "away again")
        topic.seal(bury(desk, 2))
        topic.fault = None
        await feeder.caught_up()
        assert feeder.fault is None
    assert len(pending(index)) == 2


async def test_lost_grant_skips_no_letter(
    desk: Desk, index: LetterIndex, topic: MemoryTopic
) -> None:
    topic.seal(bury(desk, 1))
    desk.forbid()
    async with feeding(desk, index, topic) as feeder:
        await becomes(lambda: feeder.fault is not None)
        assert pending(index) == []
        assert index.counts(ORDERS).unreadable == 0
        desk.review()
        await feeder.caught_up()
    assert len(pending(index)) == 1
