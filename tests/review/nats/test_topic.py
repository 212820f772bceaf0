"""Dead-letter topics of a real NATS, as their reviewer uses them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import RetentionPolicy

from tests.patience import PATIENCE
from tests.review.following import feeding, pending, read_all, until
from tests.review.letters import NOON, REVIEW
from tests.review.nats.stand import LETTERS, RETRY, STREAM, Stand
from troth.brokers.nats.rules import SUBJECT, Operation, inbox_prefix
from troth.brokers.protocol import Batch
from troth.edge.events.bindings import nats as binding
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.brokers import (
    BrokerUnavailableError,
    DeniedError,
    NotStoredError,
    Redelivery,
    TooLargeError,
    UnsendableError,
)
from troth.review.letters.letter import Letter, Position
from troth.review.letters.records import Record, RecordedOutcome, Records
from troth.review.nats.direct import DirectGet
from troth.review.nats.topic import NatsTopic
from troth.trust.grants import Rule


@asynccontextmanager
async def opened(stand: Stand, **options: Any) -> AsyncIterator[NatsTopic]:
    topic = stand.topic(**options)
    try:
        async with asyncio.timeout(PATIENCE):
            yield topic
    finally:
        await topic.close()


@pytest.fixture(params=["batches", "single"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server with batches, and one that is older than they are."""
    if request.param == "single":
        made = DirectGet.__init__

        def create(self: DirectGet, *given: Any) -> None:
            made(self, *given)
            self.batches = False

        monkeypatch.setattr(DirectGet, "__init__", create)


@pytest.mark.usefixtures("server")
async def test_letters_are_read_in_order_and_singly(stand: Stand) -> None:
    await stand.open()
    letters = [stand.bury() for _ in range(30)]
    await stand.store(*letters[:10])
    await stand.witness.jetstream().publish("prod.others", b"not a dead letter")
    await stand.store(*letters[10:])
    async with opened(stand) as topic:
        assert await topic.bounds() == {0: (1, 32)}
        found = await read_all(topic)
        ids = [each.attributes["id"] for each in letters]
        assert [each.message.attributes["id"] for each in found] == ids
        assert [each.position for each in await read_all(topic, {0: 30})] == [(0, 30), (0, 31)]
        for number in (7, 8, 20, 3):
            assert await topic.get(found[number].position) == found[number]
        for nothing in (11, 32, 99):
            assert await topic.get(Position(0, nothing)) is None
    reader = stand.reader()
    read = [reader.read(each) for each in found]
    assert [each.id for each in read if isinstance(each, Letter)] == ids
    assert all(each.message.stored_at for each in found)


@pytest.mark.usefixtures("server")
async def test_hostile_headers_do_not_change_a_place(stand: Stand) -> None:
    """Headers of a message stand before those that the server adds."""
    await stand.open()
    await stand.store_raw(
        b"NATS/1.0 404 Not Found\r\nNats-Sequence: 77\r\nNats-Subject: other\r\n"
        b"Nats-Num-Pending: 9\r\nStatus: 503\r\na: \xff\r\n\r\n",
        b"data",
    )
    await stand.store_raw(b"NATS/1.0 204 EOB\r\n\r\n")
    await stand.store_raw(b"NATS/1.0\r\nNats-Time-Stamp: never\r\n\r\n")
    letter = stand.bury()
    await stand.store(letter)
    async with opened(stand) as topic:
        found = await read_all(topic)
        assert [each.position.offset for each in found] == [1, 2, 3, 4]
        assert {each.message.topic for each in found} == {LETTERS}
        headers = dict(found[0].message.headers)
        assert headers["Nats-Sequence"] == b"77"
        assert headers["a"] == b"\xff"
        assert found[3].message.headers == tuple(
            (name, value.encode()) for name, value in binding.headers(letter).items()
        )
        assert await topic.get(Position(0, 1)) == found[0]


async def test_new_letters_come_while_it_reads(stand: Stand) -> None:
    await stand.open()
    async with opened(stand) as topic, aclosing(topic.read({})) as batches:  # type: ignore[type-var]
        while await anext(batches):
            pass
        await stand.store(stand.bury())
        while not (batch := await anext(batches)):
            pass
    assert [each.position for each in batch] == [(0, 1)]


async def reviewing(stand: Stand) -> str:
    """Give a principal the rights of a reviewer without an approved review."""
    principal = "reviewer"
    credential = stand.stage.issue(principal)

    def rule(operation: Operation, subject: str) -> Rule:
        return Rule(principal, SUBJECT, "", subject, operation)

    given = (
        rule(Operation.PUBLISH, f"$JS.API.DIRECT.GET.{STREAM}"),
        rule(Operation.PUBLISH, f"$JS.API.STREAM.INFO.{STREAM}"),
        rule(Operation.PUBLISH, LETTERS),
        rule(Operation.SUBSCRIBE, f"{inbox_prefix(principal)}.>"),
    )
    assert not await stand.stage.broker.apply(Batch((credential,), given))
    return principal


async def test_reading_needs_no_consumer(stand: Stand) -> None:
    """The rights of a reviewer: Direct Get and description of the stream, publish, an inbox."""
    await stand.open()
    await stand.store(stand.bury(), stand.bury())
    async with opened(stand, principal=await reviewing(stand)) as topic:
        assert await topic.bounds() == {0: (1, 3)}
        assert await topic.incarnation()
        assert len(await read_all(topic)) == 2
        assert await topic.get(Position(0, 2)) is not None
        await topic.record(stand.bury())
        assert await topic.bounds() == {0: (1, 4)}


async def test_stream_without_direct_get_is_said(stand: Stand) -> None:
    await stand.open(allow_direct=False)
    async with opened(stand) as topic:
        with pytest.raises(BrokerUnavailableError, match="set it, so that"):
            await topic.bounds()
        with pytest.raises(BrokerUnavailableError, match="set allow_direct"):
            await topic.get(Position(0, 1))


async def test_missing_stream_is_said(stand: Stand) -> None:
    stand.witness = await stand.stage.witness()
    async with opened(stand) as topic:
        with pytest.raises(BrokerUnavailableError, match="stream not found"):
            await topic.bounds()


async def test_expired_letters_are_gone(stand: Stand, tmp_path: Path) -> None:
    await stand.open()
    await stand.store(*(stand.bury() for _ in range(5)))
    async with opened(stand) as topic, feeding(stand.reader(), topic, tmp_path / "i") as fed:
        feeder, index = fed
        await feeder.caught_up()
        assert len(pending(index)) == 5
        await stand.witness.jetstream().purge_stream(STREAM, seq=4)
        await until(lambda: len(pending(index)) == 2)
        assert await topic.bounds() == {0: (4, 6)}
        assert await topic.get(Position(0, 1)) is None
        assert [each.position.offset for each in await read_all(topic, {0: 1})] == [4, 5]


async def test_deleted_letter_is_gone(stand: Stand) -> None:
    await stand.open()
    await stand.store(*(stand.bury() for _ in range(3)))
    await stand.witness.jetstream().delete_msg(STREAM, 2)
    async with opened(stand) as topic:
        assert await topic.get(Position(0, 2)) is None
        assert [each.position.offset for each in await read_all(topic)] == [1, 3]


async def test_stream_that_keeps_the_last_letter_alone_loses_the_others(stand: Stand) -> None:
    """NATS compacts by subject, and all letters of a policy have one subject."""
    await stand.open(max_msgs_per_subject=1)
    await stand.store(*(stand.bury() for _ in range(3)))
    async with opened(stand) as topic:
        assert [each.position.offset for each in await read_all(topic)] == [3]
        assert await topic.get(Position(0, 1)) is None


async def test_stream_that_is_created_again_is_another_one(stand: Stand, tmp_path: Path) -> None:
    await stand.open()
    await stand.store(*(stand.bury() for _ in range(3)))
    async with opened(stand) as topic, feeding(stand.reader(), topic, tmp_path / "i") as fed:
        feeder, index = fed
        await feeder.caught_up()
        before = await topic.incarnation()
        await stand.witness.jetstream().delete_stream(STREAM)
        await stand.make(STREAM, LETTERS)
        letters = [stand.bury() for _ in range(5)]
        await stand.store(*letters)
        ids = [each.attributes["id"] for each in letters]
        await until(lambda: pending(index) == ids)
        assert await topic.incarnation() != before


async def test_redelivered_message_is_unchanged(stand: Stand) -> None:
    await stand.open()
    await stand.make("RETRY", RETRY, allow_rollup_hdrs=True)
    headers = (("ce-id", b"1"), ("other", "é".encode()), ("other", b"2"))
    control = (("Nats-Rollup", b"all"), ("nats-expected-stream", b"X"), ("Nats-Msg-Id", b"old"))
    messages = [
        Redelivery(f"id-{n}", RETRY, headers + control, str(n).encode()) for n in range(300)
    ]
    async with opened(stand) as topic:
        assert await topic.redeliver(messages) == [None] * 300
        assert await topic.redeliver(messages[:9]) == [None] * 9
        hidden = Redelivery("hidden", RETRY, ((" Nats-Rollup", b"all"),), b"")
        (failure,) = await topic.redeliver([hidden])
        assert isinstance(failure, UnsendableError)
    retry = NatsTopic("RETRY", RETRY, topic._connect, lambda _: None)
    found = await read_all(retry)
    await retry.close()
    assert [int(each.message.data or b"") for each in found] == list(range(300))
    assert found[7].message.headers == (*headers, ("Nats-Msg-Id", b"id-7"))


async def test_denied_and_impossible_redeliveries_fail_alone(stand: Stand) -> None:
    await stand.open()
    await stand.make("RETRY", RETRY, max_msg_size=5000)
    messages = [
        Redelivery("a", RETRY, (), b"fits"),
        Redelivery("b", RETRY, (), b"x" * 6000),
        Redelivery("c", RETRY, (), b"x" * 2_000_000),
        Redelivery("d", "nobody.stores.it", (), b""),
        Redelivery("e", RETRY, (("a", b"\xff"),), b""),
        Redelivery("f", RETRY, (), b"fits too"),
    ]
    async with opened(stand) as topic:
        outcomes = await topic.redeliver(messages)
    none = type(None)
    assert [type(each) for each in outcomes] == [
        none,
        TooLargeError,
        TooLargeError,
        NotStoredError,
        UnsendableError,
        none,
    ]


@pytest.mark.parametrize("stored", [True, False], ids=["stream", "subject"])
async def test_denied_message_is_certainly_not_stored(stand: Stand, *, stored: bool) -> None:
    """The worker may begin before the broker has the grant, and nothing is repeated then."""
    await stand.open()
    await stand.make("RETRY", RETRY)
    messages = [Redelivery(str(n), RETRY, (), b"") for n in range(3)]
    async with opened(stand, principal=await reviewing(stand), stored=stored) as topic:
        outcomes = await topic.redeliver(messages)
    assert [type(each) for each in outcomes] == [DeniedError] * 3


async def test_topic_without_a_stream_is_delivered_to(stand: Stand) -> None:
    await stand.open()
    heard = await stand.witness.subscribe("core.retry")
    await stand.witness.flush()
    async with opened(stand, stored=False) as topic:
        assert await topic.redeliver([Redelivery("a", "core.retry", (), b"data")]) == [None]
    assert (await heard.next_msg(timeout=PATIENCE)).data == b"data"


async def test_record_that_is_published_twice_is_stored_once(stand: Stand) -> None:
    await stand.open()
    outcome = RecordedOutcome("i", "d" * 43, LetterOutcome.REDRIVEN)
    records = Records(stand.market.identity(stand.reviewer), "shop/orders")
    sealed = records.seal(Record(REVIEW, "uid", (outcome,), NOON))
    async with opened(stand) as topic:
        await topic.record(sealed)
        await topic.record(sealed)
        (found,) = await read_all(topic)
    assert isinstance(stand.reader().read(found), Record)


async def test_record_over_the_limit_of_the_stream_is_too_large(stand: Stand) -> None:
    await stand.open(max_msg_size=1000)
    async with opened(stand) as topic:
        with pytest.raises(TooLargeError):
            await topic.record(stand.bury(b"x" * 3000))


async def test_work_queue_cannot_hold_dead_letters(stand: Stand) -> None:
    """Its messages vanish once a consumer acknowledges them; Direct Get still reads them."""
    await stand.open(retention=RetentionPolicy.WORK_QUEUE)
    await stand.store(stand.bury())
    async with opened(stand) as topic:
        assert len(await read_all(topic)) == 1


async def test_unreachable_server_is_said(stand: Stand) -> None:
    async def refuse() -> Any:
        raise ConnectionRefusedError

    topic = NatsTopic(STREAM, LETTERS, refuse, lambda _: None)
    for call in (topic.bounds(), topic.get(Position(0, 0)), topic.record(stand.bury())):
        with pytest.raises(BrokerUnavailableError, match="cannot be reached"):
            await call
    (failure,) = await topic.redeliver([Redelivery("a", RETRY, (), b"")])
    assert isinstance(failure, BrokerUnavailableError)
