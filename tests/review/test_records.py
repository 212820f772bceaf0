"""Records on the dead-letter topic: only the reviewer's own, in a strict and bounded form."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.edge.events.trade import FULFILMENT, NOW, TOPIC, delivered, edited, leaf
from tests.edge.mounts import workload
from tests.review.desk import REVIEWER, Desk, reviewed
from troth.edge.events.message import Message
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.letters import records
from troth.review.letters.letter import LetterState
from troth.review.letters.records import (
    MOST_BYTES,
    MOST_OUTCOMES,
    Record,
    RecordedOutcome,
    Records,
    is_record,
)

AT = datetime.fromtimestamp(NOW, UTC)
DIGEST = "d" * 43


def outcome(
    name: str = "letter", what: LetterOutcome = LetterOutcome.REDRIVEN, reason: str | None = None
) -> RecordedOutcome:
    return RecordedOutcome(name, DIGEST, what, reason)


def record(*outcomes: RecordedOutcome) -> Record:
    return Record(Ref("shop", "orders-fix"), "0b7c-uid", outcomes or (outcome(),), AT)


def own(desk: Desk) -> Records:
    return Records(desk.identity(desk.reviewer), "shop/orders", clock=desk.clock)


def rejected(desk: Desk, message: Message) -> Reason:
    read = own(desk).read(message)
    assert isinstance(read, Rejection)
    return read.reason


def test_record_is_read_as_it_was_sealed(desk: Desk) -> None:
    written = record(
        outcome("a"),
        outcome("b", LetterOutcome.DISCARDED),
        outcome("c", LetterOutcome.QUARANTINED, "RedriveLimitReached"),
    )
    sealed = own(desk).seal(written)
    assert sealed.topic == "prod.orders.v1.dlq"
    assert sealed.attributes["source"] == REVIEWER
    message = delivered(sealed, stored_at=NOW)
    assert is_record(message)
    assert own(desk).read(message) == written
    assert [each.state for each in written.outcomes] == [
        LetterState.REDRIVEN,
        LetterState.DISCARDED,
        LetterState.QUARANTINED,
    ]


def test_largest_record_is_accepted() -> None:
    outcomes = (
        RecordedOutcome(f"{number:x>64}", DIGEST, LetterOutcome.QUARANTINED, "R" * 64)
        for number in range(MOST_OUTCOMES)
    )
    written = record(*outcomes)
    data = records.write(written)
    assert len(data) <= MOST_BYTES
    assert records.parse(data) == written


def test_one_letter_more_is_rejected() -> None:
    written = record(*(outcome(f"l{number}") for number in range(MOST_OUTCOMES + 1)))
    with pytest.raises(ValueError, match="letters"):
        records.write(written)


@pytest.mark.parametrize("what", [LetterOutcome.SKIPPED, LetterOutcome.FAILED])
def test_outcome_that_settles_nothing_is_never_recorded(what: LetterOutcome) -> None:
    with pytest.raises(ValueError, match="outcome"):
        records.write(record(outcome("a", what)))


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "v2"},
        {"more": 1},
        {"uid": ""},
        {"uid": "x\ny"},
        {"at": "yesterday"},
        {"letters": []},
        {"letters": {}},
        {"review": {"namespace": "shop"}},
        {"review": {"namespace": "Shop", "name": "a"}},
    ],
)
def test_data_of_another_form_is_rejected(changed: dict[str, Any]) -> None:
    data = json.loads(records.write(record())) | changed
    with pytest.raises(ValueError):  # noqa: PT011 - each has another text
        records.parse(json.dumps(data).encode())


@pytest.mark.parametrize(
    "changed",
    [{"id": "a b"}, {"digest": "short"}, {"outcome": "Skipped"}, {"reason": "no"}, {"x": 1}],
)
def test_letter_of_another_form_is_rejected(changed: dict[str, Any]) -> None:
    data = json.loads(records.write(record()))
    data["letters"][0] |= changed
    with pytest.raises(ValueError, match="letters"):
        records.parse(json.dumps(data).encode())


def test_letter_that_is_listed_twice_is_rejected() -> None:
    with pytest.raises(ValueError, match="twice"):
        records.write(record(outcome("a"), outcome("a", LetterOutcome.DISCARDED)))


def test_data_beyond_the_limit_is_not_parsed() -> None:
    with pytest.raises(ValueError, match="bytes"):
        records.parse(b" " * (MOST_BYTES + 1))


def test_record_of_a_consumer_is_rejected(desk: Desk) -> None:
    sealed = own(desk).seal(record())
    forged = desk.bury(delivered(desk.seal()))
    assert rejected(desk, delivered(forged)) is not None
    assert rejected(desk, edited(sealed, source="spiffe://prod.shop.example/ns/shop/sa/x"))
    # the consumer may publish on the topic, and seals a whole record with its own key
    own_leaf = leaf(FULFILMENT, at=desk.now)
    desk.write(desk.fulfilment, own_leaf, FULFILMENT, None, [reviewed()])
    theirs = Records(desk.identity(desk.fulfilment), "shop/orders", clock=desk.clock)
    assert rejected(desk, delivered(theirs.seal(record()))) is Reason.PRODUCER_NOT_GRANTED


def test_record_of_the_same_reviewer_in_another_trust_domain_is_accepted(desk: Desk) -> None:
    former = workload("former-reviewer")
    desk.write(desk.reviewer, leaf(former, at=desk.now), former, None, [reviewed()])
    message = delivered(own(desk).seal(record()))
    desk.review()
    assert rejected(desk, message) is Reason.PRODUCER_NOT_GRANTED
    desk.review(reviewers=[former, REVIEWER])
    assert own(desk).read(message) == record()


def test_record_on_another_topic_is_rejected(desk: Desk) -> None:
    sealed = own(desk).seal(record())
    assert rejected(desk, delivered(sealed, topic=TOPIC)) is Reason.WRONG_TOPIC


def test_changed_data_is_rejected(desk: Desk) -> None:
    sealed = own(desk).seal(record())
    data = sealed.data.replace(b"Redriven", b"Discarded")
    assert data != sealed.data
    assert rejected(desk, delivered(sealed, data=data)) is Reason.SIGNATURE_INVALID


def test_letter_is_no_record(desk: Desk) -> None:
    letter = delivered(desk.bury(delivered(desk.seal())))
    assert not is_record(letter)


def test_back_dated_record_is_rejected(desk: Desk) -> None:
    message = delivered(own(desk).seal(record()), stored_at=NOW + 3600)
    desk.now += 7200
    assert rejected(desk, message) is Reason.TIME_MISMATCH


def test_record_from_the_future_is_rejected(desk: Desk) -> None:
    desk.now += 1000
    message = delivered(own(desk).seal(record()))
    desk.now -= 1000
    assert rejected(desk, message) is Reason.NOT_YET_VALID


def test_old_record_is_accepted_after_the_certificate_expired(desk: Desk) -> None:
    written = record()
    message = delivered(own(desk).seal(written), stored_at=NOW)
    desk.now += 30 * 86_400
    desk.review()
    assert own(desk).read(message) == written


def test_workload_that_may_not_review_seals_nothing(desk: Desk) -> None:
    desk.forbid()
    with pytest.raises(RejectedError) as caught:
        own(desk).seal(record())
    assert caught.value.rejection.reason is Reason.NOT_GRANTED


def test_record_of_another_policy_is_rejected(desk: Desk) -> None:
    message = delivered(own(desk).seal(record()))
    changed = replace(message, attributes={**message.attributes, "trothpolicy": "shop/other"})
    assert rejected(desk, changed) is Reason.SIGNATURE_INVALID
