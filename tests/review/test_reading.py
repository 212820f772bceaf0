"""What the reviewer reads on a dead-letter topic, and what of it counts."""

from dataclasses import replace
from typing import Any

import pytest

from tests.edge.events.trade import CHECKOUT, FULFILMENT, NOW, ORDER, POLICY, leaf
from tests.review.desk import (
    BILLING,
    DLQ,
    FAILED,
    GROUP,
    RETRY,
    REVIEWER,
    Desk,
    as_delivered,
    consumer,
)
from tests.review.letters import NOON, REVIEW
from troth.edge.events.attributes import DEAD_LETTER, DEAD_LETTER_WITHOUT_GROUP, SEAL, SIGNED
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.dead_letters import DATA, HEADERS, DeadLetters
from troth.edge.events.message import Message, Sealed
from troth.edge.events.redriving import RedriveSealer
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.edge.events.seal.signer import CurrentSigner
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.brokers import Stored
from troth.review.letters import reading
from troth.review.letters.digest import digest_of
from troth.review.letters.letter import Letter, LetterState, Position
from troth.review.letters.reading import LetterReader
from troth.review.letters.records import Record, RecordedOutcome, Records


def reader(desk: Desk, **options: Any) -> LetterReader:
    return LetterReader(desk.identity(desk.reviewer), POLICY, clock=desk.clock, **options)


def stored(message: Message, offset: int = 0) -> Stored:
    return Stored(Position(0, offset), message)


def read(desk: Desk, message: Message, **options: Any) -> Letter | Record | Rejection:
    return reader(desk, **options).read(stored(message))


def bury_as(desk: Desk, message: Message, **attributes: str) -> Sealed:
    """Return a dead letter with attributes that its consumer chose itself."""
    genuine = desk.bury(message)
    snapshot = desk.identity(desk.fulfilment).current
    content = {**genuine.attributes, **attributes}
    for name in ("trothchain", "dssematerial"):
        content.pop(name)
    return CurrentSigner().seal(snapshot, content, genuine.data, DEAD_LETTER, int(desk.now))


def reason(found: Letter | Record | Rejection) -> Reason:
    assert isinstance(found, Rejection), found
    return found.reason


def test_letter_says_what_its_seals_prove(desk: Desk) -> None:
    sealed = desk.seal(tenant="acme")
    message = as_delivered(sealed, 17)
    dead = desk.bury(message, attempts=3)
    found = reader(desk).read(stored(as_delivered(dead, 4), 4))
    assert found == Letter(
        id=dead.attributes["id"],
        policy=Ref("shop", "orders"),
        position=Position(0, 4),
        time=NOON,
        consumer=FULFILMENT,
        group=GROUP,
        reason="HandlerFailed",
        origin="prod.orders.v1/0@17",
        attempts=3,
        digest=digest_of(message),
        size=len(ORDER),
        event_id=sealed.attributes["id"],
        producer=CHECKOUT,
        tenant="acme",
    )
    assert found.time.timestamp() == NOW


def test_original_is_the_whole_dead_letter(desk: Desk) -> None:
    message = as_delivered(desk.seal(), 17)
    place = stored(as_delivered(desk.bury(message)))
    assert reader(desk).original(place).message == message
    with pytest.raises(RejectedError, match="Unsigned"):
        reader(desk).original(stored(Message(DLQ, {}, b"")))


@pytest.mark.parametrize("data", [b'{"sku":"A-2"}', ORDER])
def test_forged_message_has_no_producer_and_no_tenant(desk: Desk, data: bytes) -> None:
    genuine = as_delivered(desk.seal(tenant="acme"), 17)
    headers = [(n, b"globex" if n == "ce_trothtenant" else v) for n, v in genuine.headers]
    forged = kafka.read(genuine.topic, headers, data, partition=0, offset=17)
    found = read(desk, as_delivered(desk.bury(forged)))
    assert isinstance(found, Letter)
    assert (found.event_id, found.producer, found.tenant) == (None, None, None)


def test_letter_of_a_producer_without_a_grant_names_it(desk: Desk) -> None:
    """Its signature proves who it is; whether it may publish is judged at a redrive."""
    message = as_delivered(desk.seal(), 17)
    desk.review(producers=[])
    found = read(desk, as_delivered(desk.bury(message)))
    assert isinstance(found, Letter)
    assert found.producer == CHECKOUT


@pytest.mark.parametrize(
    "omit", [frozenset({DATA}), frozenset({HEADERS}), frozenset({DATA, HEADERS})]
)
def test_letter_without_data_or_headers_is_read(desk: Desk, omit: frozenset[str]) -> None:
    message = as_delivered(desk.seal(), 17)
    found = read(desk, as_delivered(desk.bury(message, omit=omit)))
    assert isinstance(found, Letter)
    assert (found.size, found.group, found.producer) == (len(ORDER), GROUP, None)


def test_message_larger_than_a_consumer_accepts_is_a_letter(desk: Desk) -> None:
    large = Message("prod.orders.v1", {}, b"x" * 3_000_000, partition=0, offset=1)
    found = read(desk, as_delivered(desk.bury(large)))
    assert isinstance(found, Letter)
    assert found.size == 3_000_000


def test_letter_over_the_limit_is_unreadable(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 10)
    assert reason(read(desk, as_delivered(desk.bury(as_delivered(desk.seal(), 1))))) is (
        Reason.TOO_LARGE
    )


def test_redrives_of_the_message_are_counted(desk: Desk) -> None:
    message = as_delivered(desk.seal(), 17)
    letter = reader(desk).original(stored(as_delivered(desk.bury(message))))
    sealer = RedriveSealer(desk.identity(desk.reviewer), POLICY, clock=desk.clock)
    header = sealer.header(
        letter,
        review=REVIEW,
        requested_by="alice",
        approved_by="bob",
        count=2,
        target=RETRY,
        redrive_id="r" * 43,
    )
    again = kafka.read(RETRY, [*message.headers, header], message.data, partition=0, offset=3)
    found = read(desk, as_delivered(desk.bury(again)))
    assert isinstance(found, Letter)
    assert found.redrives == 2


def test_letter_of_a_workload_that_does_not_consume_is_unreadable(desk: Desk) -> None:
    dead = as_delivered(desk.bury(as_delivered(desk.seal(), 1)))
    desk.review(consumers=[consumer(spiffeIDs=[BILLING])])
    assert reason(read(desk, dead)) is Reason.PRODUCER_NOT_GRANTED
    desk.review(consumers=[])
    assert reason(read(desk, dead)) is Reason.PRODUCER_NOT_GRANTED


def test_id_of_another_message_is_unreadable(desk: Desk) -> None:
    """Otherwise a consumer could hide the letter of another message, or of another consumer."""
    genuine = desk.bury(as_delivered(desk.seal(), 1))
    other = bury_as(desk, as_delivered(desk.seal(), 2), id=genuine.attributes["id"])
    assert reason(read(desk, as_delivered(other))) is Reason.MALFORMED
    random = bury_as(desk, as_delivered(desk.seal(), 2), id="chosen")
    assert reason(read(desk, as_delivered(random))) is Reason.MALFORMED


def test_group_is_that_of_the_consumption_that_rejected_the_message(desk: Desk) -> None:
    desk.review(consumers=[consumer(group="prod.other"), consumer(), consumer(group=None)])
    found = read(desk, as_delivered(desk.bury(as_delivered(desk.seal(), 1))))
    assert isinstance(found, Letter)
    assert found.group == GROUP


def test_group_that_the_policy_has_no_more_stays_that_of_the_letter(desk: Desk) -> None:
    dead = as_delivered(desk.bury(as_delivered(desk.seal(), 1)))
    desk.review(consumers=[consumer(group="prod.renamed")])
    found = read(desk, dead)
    assert isinstance(found, Letter)
    assert found.group == GROUP


def test_letter_of_an_earlier_release_has_the_group_of_its_id(desk: Desk) -> None:
    desk.review(consumers=[consumer(group="prod.other"), consumer(), consumer(group=None)])
    sealed = desk.bury(as_delivered(desk.seal(), 1))
    content = {n: v for n, v in sealed.attributes.items() if n not in {"trothgroup", SEAL}}
    snapshot = desk.identity(desk.fulfilment).current
    earlier = CurrentSigner().seal(
        snapshot, content, sealed.data, DEAD_LETTER_WITHOUT_GROUP, int(desk.now)
    )
    found = read(desk, as_delivered(earlier))
    assert isinstance(found, Letter)
    assert found.group == GROUP


def test_letter_of_a_message_without_a_place_is_read(desk: Desk) -> None:
    """Core NATS stores nothing, so the ID is random."""
    message = replace(as_delivered(desk.seal()), partition=None, offset=None)
    found = read(desk, as_delivered(desk.bury(message)))
    assert isinstance(found, Letter)
    assert found.group == GROUP


def test_letter_on_another_topic_is_unreadable(desk: Desk) -> None:
    dead = desk.bury(as_delivered(desk.seal(), 1))
    moved = as_delivered(dead, topic="prod.orders.v1")
    assert reason(read(desk, moved)) is Reason.WRONG_TOPIC


def test_letter_of_another_policy_is_unreadable(desk: Desk) -> None:
    dead = bury_as(desk, as_delivered(desk.seal(), 1), trothpolicy="shop/others")
    assert reason(read(desk, as_delivered(dead))) is Reason.WRONG_POLICY


def test_letter_whose_attributes_were_edited_is_unreadable(desk: Desk) -> None:
    dead = as_delivered(desk.bury(as_delivered(desk.seal(), 1)))
    headers = [(n, b"Expired" if n == "ce_trothreason" else v) for n, v in dead.headers]
    edited = kafka.read(dead.topic, headers, dead.data, partition=0, offset=0)
    assert reason(read(desk, edited)) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "attributes",
    [
        {"trothreason": "NoSuchReason"},
        {"trothattempts": "-1"},
        {"trothattempts": "9" * 21},
        {"trothheaders": "AAAA"},
        {"trothheaders": "W" * 200_000},
        {"trothorigin": "prod.orders.v1"},
        {"trothorigin": "@"},
    ],
)
def test_sealed_nonsense_is_unreadable(desk: Desk, attributes: dict[str, str]) -> None:
    try:
        dead = bury_as(desk, as_delivered(desk.seal(), 1), **attributes)
    except RejectedError:
        return  # not even a consumer that is hostile can seal it
    assert reason(read(desk, as_delivered(dead))) is Reason.MALFORMED


HOSTILE = [
    Message(DLQ, {}, None),
    Message(DLQ, {}, b""),
    Message(DLQ, {"type": "dev.troth.deadletter.record.v1"}, b"{}"),
    Message(DLQ, {"type": "dev.troth.deadletter.v1", "dssematerial": "AAAA"}, b""),
    kafka.read(DLQ, [("ce_id", b"1"), ("ce_id", b"2")], b"", offset=1, partition=0),
    kafka.read(DLQ, [(f"h{n}", b"") for n in range(10_000)], b"", offset=1, partition=0),
]


@pytest.mark.parametrize("message", HOSTILE, ids=range(len(HOSTILE)))
def test_message_that_is_no_letter_is_unreadable(desk: Desk, message: Message) -> None:
    assert isinstance(read(desk, message), Rejection)


def test_record_of_the_reviewer_is_read(desk: Desk) -> None:
    outcome = RecordedOutcome("id-1", "d" * 43, LetterOutcome.REDRIVEN)
    record = Record(REVIEW, "uid-1", (outcome,), NOON)
    sealed = Records(desk.identity(desk.reviewer), POLICY, clock=desk.clock).seal(record)
    found = read(desk, as_delivered(sealed))
    assert found == record
    assert found.outcomes[0].state is LetterState.REDRIVEN


def test_record_of_a_consumer_is_unreadable(desk: Desk) -> None:
    outcome = RecordedOutcome("id-1", "d" * 43, LetterOutcome.DISCARDED)
    record = Record(REVIEW, "uid-1", (outcome,), NOON)
    sealed = Records(desk.identity(desk.reviewer), POLICY, clock=desk.clock).seal(record)
    desk.write(desk.reviewer, leaf(FULFILMENT, at=desk.now), FULFILMENT, None, [])
    content = dict(sealed.attributes)
    snapshot = desk.identity(desk.fulfilment).current
    content["source"] = FULFILMENT
    forged = CurrentSigner().seal(snapshot, content, sealed.data, SIGNED, int(desk.now))
    desk.review()
    assert reason(read(desk, as_delivered(forged))) is Reason.PRODUCER_NOT_GRANTED


def test_nothing_is_judged_without_an_entry(desk: Desk) -> None:
    """A letter is not unreadable because this workload has lost its right for a while."""
    dead = as_delivered(desk.bury(as_delivered(desk.seal(), 1)))
    desk.forbid()
    with pytest.raises(RejectedError, match="review dead letters"):
        read(desk, dead)


def test_reviewer_is_no_consumer(desk: Desk) -> None:
    with pytest.raises(RejectedError, match="NotGranted"):
        DeadLetters(desk.identity(desk.reviewer), POLICY, clock=desk.clock).seal(
            as_delivered(desk.seal(), 1), FAILED
        )
    assert REVIEWER not in {FULFILMENT, BILLING}
