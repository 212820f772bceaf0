"""A dead letter has all of the rejected message, and proves which consumer rejected it."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.edge.events.trade import (
    CHECKOUT,
    FULFILMENT,
    NOW,
    ORDER,
    POLICY,
    TOPIC,
    Trade,
    bundle_map,
    consumed,
    delivered,
    edited,
    leaf,
)
from troth.edge.events.attributes import (
    DEAD_LETTER,
    DEAD_LETTER_WITHOUT_GROUP,
    LONGEST_HEADERS,
    SEAL,
)
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.consumption.dead_letters import (
    DATA,
    HEADERS,
    DeadLetter,
    DeadLetterReader,
    DeadLetters,
)
from troth.edge.events.event import Event
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.edge.events.seal.signer import CurrentSigner

DLQ = "prod.orders.v1.dlq"
UNGRANTED = Rejection(Reason.PRODUCER_NOT_GRANTED, "checkout has no grant", CHECKOUT)


def letters(trade: Trade) -> DeadLetters:
    return DeadLetters(trade.identity(trade.fulfilment), POLICY, clock=trade.clock)


def bury(trade: Trade, message: Message, **options: Any) -> Sealed:
    sealed = letters(trade).seal(message, UNGRANTED, **options)
    assert sealed is not None
    return sealed


def read(trade: Trade, message: Message, **options: Any) -> DeadLetter | Rejection:
    identity = trade.identity(trade.fulfilment)
    return DeadLetterReader(identity, POLICY, clock=trade.clock, **options).read(message)


def by_kafka(sealed: Sealed, **changed: Any) -> Message:
    """An event as Kafka delivers it."""
    place = {"partition": 3, "offset": 17, "stored_at": NOW} | changed
    return kafka.read(sealed.topic, kafka.headers(sealed), sealed.data, **place)


def by_nats(sealed: Sealed, **changed: Any) -> Message:
    """An event as NATS delivers it."""
    place = {"sequence": 17, "stored_at": NOW} | changed
    return nats.read(sealed.topic, nats.headers(sealed), sealed.data, **place)


def test_dead_letter_says_what_was_rejected_and_why(trade: Trade) -> None:
    message = by_kafka(trade.seal())
    sealed = bury(trade, message, attempts=2)
    assert sealed.topic == DLQ
    assert sealed.data == ORDER
    letter = read(trade, delivered(sealed))
    assert letter == DeadLetter(
        id=sealed.attributes["id"],
        consumer=FULFILMENT,
        policy=POLICY,
        rejection=Rejection(Reason.PRODUCER_NOT_GRANTED, "checkout has no grant"),
        origin="prod.orders.v1/3@17",
        attempts=2,
        time=datetime.fromtimestamp(NOW, UTC),
        message=message,
        group="prod.fulfilment",
    )


def test_dead_letter_of_an_earlier_release_has_no_group(trade: Trade) -> None:
    sealed = bury(trade, by_kafka(trade.seal()))
    kept = {n: v for n, v in sealed.attributes.items() if n not in {SEAL, "trothgroup"}}
    snapshot = trade.identity(trade.fulfilment).current
    names = DEAD_LETTER_WITHOUT_GROUP
    earlier = CurrentSigner().seal(snapshot, kept, sealed.data, names, int(NOW))
    letter = read(trade, delivered(earlier))
    assert isinstance(letter, DeadLetter)
    assert letter.group is None


@pytest.mark.parametrize("group", [None, "prod.audit"])
def test_group_of_a_dead_letter_cannot_be_changed(trade: Trade, group: str | None) -> None:
    sealed = bury(trade, by_kafka(trade.seal()))
    found = read(trade, edited(sealed, trothgroup=group))
    assert isinstance(found, Rejection)
    assert found.reason is Reason.SIGNATURE_INVALID


def test_original_message_can_be_opened_again(trade: Trade) -> None:
    sealed = trade.seal()
    trade.consume(producers=[])
    letter = read(trade, delivered(bury(trade, by_kafka(sealed))))
    assert isinstance(letter, DeadLetter)
    trade.consume()
    event = trade.open(letter.message)
    assert isinstance(event, Event)
    assert event.id == sealed.attributes["id"]


def test_back_dated_message_does_not_open_from_its_dead_letter(trade: Trade) -> None:
    message = by_kafka(trade.seal(), stored_at=NOW + 3600)
    trade.now += 3600
    assert trade.open(message).reason is Reason.TIME_MISMATCH  # type: ignore[union-attr]
    letter = read(trade, delivered(bury(trade, message)))
    assert isinstance(letter, DeadLetter)
    assert trade.open(letter.message).reason is Reason.TIME_MISMATCH  # type: ignore[union-attr]


@pytest.mark.parametrize("place", [{}, {"sequence": None, "stored_at": None}])
def test_message_of_nats_is_restored(trade: Trade, place: dict[str, Any]) -> None:
    trade.consume(type="nats")
    message = by_nats(trade.seal(about="größer 100 %"), **place)
    letter = read(trade, by_nats(bury(trade, message), **place))
    assert isinstance(letter, DeadLetter)
    assert letter.message == message


@pytest.mark.parametrize("topic", ["prod.a/7", "prod.a/7@5", "prod.größe"])
def test_odd_subject_is_restored(trade: Trade, topic: str) -> None:
    trade.consume(type="nats")
    message = nats.read(topic, {}, b"data", sequence=9)
    letter = read(trade, by_nats(bury(trade, message)))
    assert isinstance(letter, DeadLetter)
    assert (letter.message.topic, letter.message.offset) == (topic, 9)


@pytest.mark.parametrize(
    ("headers", "fault"),
    [
        ([("ce_id", b"1"), ("ce_id", b"2")], Reason.MALFORMED),
        ([("CE_ID", b"1")], Reason.MALFORMED),
        ([("ce_id", b"\xff\xfe")], Reason.MALFORMED),
        ([(f"h{number}", b"") for number in range(10_000)], Reason.TOO_LARGE),
    ],
)
def test_headers_of_a_malformed_message_are_kept(
    trade: Trade, headers: list[tuple[str, bytes]], fault: Reason
) -> None:
    message = kafka.read(TOPIC, headers, b"data", partition=0, offset=1)
    letter = read(trade, by_kafka(bury(trade, message)))
    assert isinstance(letter, DeadLetter)
    assert letter.message == message
    assert trade.open(letter.message).reason is fault  # type: ignore[union-attr]


def test_headers_are_written_as_specified(trade: Trade) -> None:
    message = Message(TOPIC, {}, b"", headers=(("b", b"\xff"), ("a", b"")))
    text = bury(trade, message).attributes["trothheaders"]
    assert json.loads(base64.urlsafe_b64decode(text + "==")) == [["b", "/w=="], ["a", ""]]


def test_omitted_data_leaves_its_digest(trade: Trade) -> None:
    sealed = bury(trade, by_kafka(trade.seal()), omit=frozenset({DATA}))
    assert sealed.data == b""
    letter = read(trade, delivered(sealed))
    assert isinstance(letter, DeadLetter)
    expected = base64.urlsafe_b64encode(hashlib.sha256(ORDER).digest()).rstrip(b"=").decode()
    assert (letter.data_digest, letter.data_size) == (expected, len(ORDER))
    assert letter.omitted == {DATA}
    assert letter.message.data is None
    assert letter.message.attributes["source"] == CHECKOUT


def test_headers_that_no_dead_letter_can_hold_are_omitted(trade: Trade) -> None:
    for size in (LONGEST_HEADERS, LONGEST_HEADERS * 7 // 10, 10_000_000):
        message = kafka.read(TOPIC, [("h", b"x" * size)], ORDER)
        sealed = bury(trade, message)
        assert sealed.attributes["trothomitted"] == HEADERS
        letter = read(trade, delivered(sealed))
        assert isinstance(letter, DeadLetter)
        assert letter.message.headers == ()
        assert letter.message.data == ORDER


def test_tombstone_becomes_empty_data(trade: Trade) -> None:
    letter = read(trade, delivered(bury(trade, delivered(trade.seal(), data=None))))
    assert isinstance(letter, DeadLetter)
    assert letter.message.data == b""


def test_content_type_is_the_original_one_if_it_is_well_formed(trade: Trade) -> None:
    for given, expected in (
        ({"datacontenttype": "application/avro"}, "application/avro"),
        ({"datacontenttype": "two words"}, "application/octet-stream"),
        ({}, "application/octet-stream"),
    ):
        sealed = bury(trade, Message(TOPIC, given, b""))
        assert sealed.attributes["datacontenttype"] == expected


def test_dead_letters_of_one_message_have_one_id(trade: Trade) -> None:
    sealed = trade.seal()
    first, second = (bury(trade, by_kafka(sealed)).attributes["id"] for _ in range(2))
    assert first == second
    assert first != bury(trade, by_kafka(sealed, offset=18)).attributes["id"]
    # a subject without a log delivers a message once, so two are two
    unlogged = [bury(trade, delivered(sealed)).attributes["id"] for _ in range(2)]
    assert unlogged[0] != unlogged[1]


def test_policy_without_a_dead_letter_topic_has_no_dead_letters(trade: Trade) -> None:
    trade.consume(deadLetter=None)
    assert letters(trade).seal(delivered(trade.seal()), UNGRANTED) is None


def test_workload_without_a_grant_seals_no_dead_letter(trade: Trade) -> None:
    trade.consume(policy="shop/refunds")
    with pytest.raises(RejectedError, match="NotGranted"):
        letters(trade).seal(delivered(trade.seal()), UNGRANTED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trothreason", "Expired"),
        ("trothdetail", "another"),
        ("trothorigin", "prod.orders.v1/3@18"),
        ("trothattempts", "3"),
        ("trothheaders", "W10"),
        ("trothstored", "2026-11-28T12:00:01Z"),
        ("trothomitted", "data"),
    ],
)
def test_forged_attribute_is_rejected(trade: Trade, name: str, value: str) -> None:
    sealed = bury(trade, by_kafka(trade.seal()))
    forged = {**sealed.attributes, name: value}
    found = read(trade, delivered(sealed, attributes=forged))
    assert isinstance(found, Rejection)
    assert found.reason is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"broker": "shop/other"}, Reason.WRONG_POLICY),
        ({"environment": "staging"}, Reason.WRONG_ENVIRONMENT),
        ({"deadLetter": None}, Reason.WRONG_TOPIC),
        ({"policy": "shop/refunds"}, Reason.NOT_GRANTED),
    ],
)
def test_dead_letter_of_another_declaration_is_rejected(
    trade: Trade, changed: dict[str, Any], expected: Reason
) -> None:
    sealed = bury(trade, by_kafka(trade.seal()))
    trade.consume(**changed)
    found = read(trade, delivered(sealed))
    assert isinstance(found, Rejection)
    assert found.reason is expected


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trothheaders", encoded("7")),
        ("trothheaders", encoded("null")),
        ("trothheaders", encoded('[["a"]]')),
        ("trothheaders", encoded("[7]")),
        ("trothheaders", encoded('[["a",7]]')),
        ("trothheaders", encoded('[["a",null]]')),
        ("trothheaders", encoded('[[null,"YQ=="]]')),
        ("trothheaders", encoded('[["a","Y"]]')),
        ("trothheaders", encoded('[["a","é"]]')),
        ("trothheaders", encoded("[" * 100_000)),
        ("trothheaders", "é"),
        ("trothstored", "yesterday"),
        ("trothstored", "2026-11-28T12:00:00+00:00"),
        ("trothattempts", "-1"),
        ("trothreason", "Whatever"),
    ],
    ids=lambda text: text[:24],
)
def test_unreadable_attribute_that_a_consumer_sealed_is_malformed(
    trade: Trade, name: str, value: str
) -> None:
    sealed = bury(trade, by_kafka(trade.seal()))
    attributes = {n: v for n, v in sealed.attributes.items() if n != SEAL} | {name: value}
    snapshot = trade.identity(trade.fulfilment).current
    crafted = CurrentSigner().seal(snapshot, attributes, sealed.data, DEAD_LETTER, int(NOW))
    found = read(trade, delivered(crafted))
    assert isinstance(found, Rejection)
    assert found.reason is Reason.MALFORMED


def test_event_is_no_dead_letter(trade: Trade) -> None:
    found = read(trade, delivered(trade.seal()))
    assert isinstance(found, Rejection)


def test_dead_letter_that_another_topic_delivers_is_rejected(trade: Trade) -> None:
    found = read(trade, delivered(bury(trade, by_kafka(trade.seal())), topic=TOPIC))
    assert isinstance(found, Rejection)
    assert found.reason is Reason.WRONG_TOPIC


def test_only_known_consumers_are_accepted(trade: Trade) -> None:
    message = delivered(bury(trade, by_kafka(trade.seal())))
    assert isinstance(read(trade, message, consumers=[FULFILMENT]), DeadLetter)
    found = read(trade, message, consumers=[CHECKOUT])
    assert isinstance(found, Rejection)
    assert found.reason is Reason.PRODUCER_NOT_GRANTED
    assert found.actor == FULFILMENT


def test_workload_with_a_policy_for_the_topic_reads_dead_letters(trade: Trade) -> None:
    """A reviewer consumes the dead-letter topic by a policy of its own."""
    message = delivered(bury(trade, by_kafka(trade.seal())))
    reviewed = consumed(
        policy="shop/orders-dlq", topic=DLQ, producers=[FULFILMENT], deadLetter=None, schemas=None
    )
    trade.write(trade.checkout, leaf(CHECKOUT), CHECKOUT, bundle_map(), [reviewed])
    identity = trade.identity(trade.checkout)
    letter = DeadLetterReader(identity, "shop/orders-dlq", clock=trade.clock).read(message)
    assert isinstance(letter, DeadLetter)
    assert letter.policy == POLICY


def test_dead_letter_does_not_expire_but_its_time_is_checked(trade: Trade) -> None:
    message = delivered(bury(trade, by_kafka(trade.seal())), stored_at=NOW)
    trade.now += 30 * 86400
    assert isinstance(read(trade, message), DeadLetter)
    late = delivered(bury_at(trade, NOW), stored_at=trade.now)
    found = read(trade, late)
    assert isinstance(found, Rejection)
    assert found.reason is Reason.TIME_MISMATCH
    trade.now = NOW - 301
    found = read(trade, delivered(bury_at(trade, NOW)))
    assert isinstance(found, Rejection)
    assert found.reason is Reason.NOT_YET_VALID


def bury_at(trade: Trade, at: float) -> Sealed:
    before, trade.now = trade.now, at
    try:
        return bury(trade, by_kafka(trade.seal()))
    finally:
        trade.now = before
