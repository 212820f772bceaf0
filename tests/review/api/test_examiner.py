"""What the list API says of a letter is what a redrive of it would do."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.edge.events.trade import POLICY, Trade
from tests.review.desk import FAILED, Desk, as_delivered, consumer, redriven, reviewed
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import Reason, Rejection
from troth.edge.identity.snapshot import IdentityError
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.api.examiner import BrokerSource, Reviewed
from troth.review.api.source import CheckResult, Examination, Verdict
from troth.review.brokers import BrokerUnavailableError, Stored
from troth.review.letters.judgement import Judge
from troth.review.letters.letter import Letter, LetterState, Position
from troth.review.letters.reading import LetterReader

ORDERS = Ref("shop", "orders")
INVALID = b'{"sku":"A-1","quantity":0}'


class Topic:
    """The letters of one dead-letter topic, with the worker that examines them."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.stored: dict[Position, Stored] = {}
        self.failure: Exception | None = None
        self.reads: list[int] = []
        identity = desk.identity(desk.reviewer)
        self.reader = LetterReader(identity, POLICY, clock=desk.clock)
        judge = Judge(identity, POLICY, clock=desk.clock)
        self.reviewed = {ORDERS: Reviewed(self.fetch, self.reader, judge)}
        index: Any = None
        self.source = BrokerSource(index, lambda: self.reviewed, lambda: self.reviewed)

    async def fetch(self, letters: Sequence[Letter]) -> Mapping[Position, Stored]:
        self.reads.append(len(letters))
        if self.failure is not None:
            raise self.failure
        places = [each.position for each in letters]
        return {place: self.stored[place] for place in places if place in self.stored}

    def bury(self, data: bytes, rejection: Rejection = FAILED, **options: Any) -> Letter:
        """Put a message on the topic; return its letter as the index has it."""
        offset = len(self.stored)
        original = as_delivered(seal(self.desk, data), offset, stored_at=self.desk.now)
        return self.put(original, rejection, **options)

    def put(self, original: Message, rejection: Rejection, **options: Any) -> Letter:
        """Put the dead letter of a message on the topic."""
        place = Position(0, len(self.stored))
        message = as_delivered(self.desk.bury(original, rejection, **options), place.offset)
        self.stored[place] = Stored(place, message)
        read = self.reader.read(self.stored[place])
        assert isinstance(read, Letter), read
        return read

    async def examined(self, letter: Letter) -> Examination:
        (examination,) = await self.source.examine([letter])
        return examination


def seal(trade: Trade, data: bytes) -> Sealed:
    """Seal an event as a producer whose schema is older than the consumer's."""
    trade.publish(schemas=None)
    sealed = trade.seal(data)
    trade.publish()
    return sealed


@pytest.fixture
def topic(desk: Desk) -> Topic:
    desk.consume(schemas=None)
    desk.review(schemas=None)
    return Topic(desk)


def verdicts(examination: Examination) -> dict[str, str]:
    return {each.name: each.verdict.value for each in examination.checks}


def failure(examination: Examination) -> CheckResult:
    (failed,) = (each for each in examination.checks if each.verdict is Verdict.FAILED)
    return failed


async def test_sound_letter_passes_every_check(topic: Topic) -> None:
    letter = topic.bury(b"{}")
    examination = await topic.examined(letter)
    assert set(verdicts(examination).values()) == {"Passed"}
    assert [*verdicts(examination)][:5] == ["letter", "message", "parts", "consumer", "limit"]
    assert examination.redrive.outcome is LetterOutcome.REDRIVEN
    assert examination.dead_letter is not None
    assert examination.dead_letter.message.data == b"{}"


async def test_message_that_the_consumer_would_reject_again_is_skipped(topic: Topic) -> None:
    letter = topic.bury(INVALID)
    topic.desk.review(schemas=reviewed()["schemas"])
    examination = await topic.examined(letter)
    failed = [each for each in examination.checks if each.verdict is Verdict.FAILED]
    assert [(each.name, each.reason) for each in failed] == [("schema", "SchemaUnknown")]
    assert (examination.redrive.outcome, examination.redrive.reason) == (
        LetterOutcome.SKIPPED,
        "SchemaUnknown",
    )


async def test_letter_of_a_redriven_message_passes_every_check(topic: Topic) -> None:
    first = topic.reader.original(topic.stored[topic.bury(b"{}").position])
    topic.desk.now += 86_400
    topic.desk.consume(schemas=None)
    topic.desk.review(schemas=None)
    letter = topic.put(redriven(topic.desk, first), FAILED)
    examination = await topic.examined(letter)
    assert letter.redrives == 1
    assert set(verdicts(examination).values()) == {"Passed"}
    assert examination.redrive.outcome is LetterOutcome.REDRIVEN


async def test_producer_without_a_grant_fails_its_check(topic: Topic) -> None:
    letter = topic.bury(b"{}")
    topic.desk.review(schemas=None, producers=[])
    examination = await topic.examined(letter)
    assert failure(examination).name == "producer"
    assert examination.redrive.reason == "ProducerNotGranted"


async def test_forged_message_stops_the_checks_that_depend_on_it(topic: Topic) -> None:
    def forge(message: Message) -> Message:
        return replace(message, data=b"forged")

    place = Position(0, 0)
    original = forge(as_delivered(seal(topic.desk, b"{}"), 0, stored_at=topic.desk.now))
    buried = topic.desk.bury(original, Rejection(Reason.SIGNATURE_INVALID, "x"))
    topic.stored[place] = Stored(place, as_delivered(buried, 0))
    letter = topic.reader.read(topic.stored[place])
    assert isinstance(letter, Letter)
    examination = await topic.examined(letter)
    assert failure(examination).name == "seal"
    assert verdicts(examination)["producer"] == "NotRun"
    assert verdicts(examination)["limit"] == "Passed"


async def test_letter_at_the_limit_would_be_quarantined(topic: Topic) -> None:
    letter = replace(topic.bury(b"{}"), redrives=3)
    examination = await topic.examined(letter)
    assert failure(examination).name == "limit"
    assert examination.redrive.outcome is LetterOutcome.QUARANTINED


async def test_letter_that_the_broker_lost_is_gone(topic: Topic) -> None:
    letter = topic.bury(b"{}")
    topic.stored.clear()
    examination = await topic.examined(letter)
    assert examination.dead_letter is None
    assert (failure(examination).name, examination.redrive.reason) == ("letter", "Gone")
    assert verdicts(examination)["schema"] == "NotRun"


async def test_other_message_at_the_place_of_a_letter_is_noticed(topic: Topic) -> None:
    letter, other = topic.bury(b"{}"), topic.bury(b"[]")
    topic.stored[letter.position] = topic.stored[other.position]
    examination = await topic.examined(letter)
    assert failure(examination).name == "message"
    assert examination.redrive.reason == "MessageChanged"


async def test_message_that_is_no_dead_letter_any_more_is_skipped(topic: Topic) -> None:
    letter = topic.bury(b"{}")
    stranger = as_delivered(
        seal(topic.desk, b"{}"), 0, topic=topic.stored[letter.position].message.topic
    )
    topic.stored[letter.position] = Stored(letter.position, stranger)
    examination = await topic.examined(letter)
    assert examination.dead_letter is None
    assert failure(examination).name == "letter"
    assert examination.redrive.outcome is LetterOutcome.SKIPPED


async def test_settled_letter_would_be_skipped(topic: Topic) -> None:
    review = Ref("shop", "orders-fix")
    letter = replace(topic.bury(b"{}"), state=LetterState.DISCARDED, review=review)
    examination = await topic.examined(letter)
    assert examination.redrive.reason == "SettledBefore"
    assert examination.redrive.detail == "the letter is discarded by shop/orders-fix"
    quarantined = replace(letter, state=LetterState.QUARANTINED)
    assert (await topic.examined(quarantined)).redrive.outcome is LetterOutcome.REDRIVEN


async def test_consumer_without_a_grant_is_named(topic: Topic) -> None:
    letter = topic.bury(b"{}")
    topic.desk.review(schemas=None, consumers=[consumer(group="another")])
    examination = await topic.examined(letter)
    assert examination.redrive.outcome is LetterOutcome.SKIPPED
    assert verdicts(examination)["schema"] == "NotRun"


async def test_letters_are_read_in_one_batch(topic: Topic) -> None:
    letters = [topic.bury(b"{}") for _ in range(5)]
    assert len(await topic.source.examine(letters)) == 5
    assert await topic.source.examine([]) == ()
    assert topic.reads == [5]


async def test_worker_without_the_right_or_the_broker_says_so(topic: Topic) -> None:
    letter = topic.bury(b"{}")
    topic.desk.forbid()
    assert failure(await topic.examined(letter)).reason == "NotGranted"
    topic.failure = BrokerUnavailableError("kafka:9093 did not answer")
    with pytest.raises(BrokerUnavailableError, match="did not answer"):
        await topic.examined(letter)
    topic.reviewed.clear()
    assert not topic.source.serves(ORDERS)
    with pytest.raises(BrokerUnavailableError, match="is not reviewed"):
        await topic.examined(letter)


async def test_worker_without_files_raises(topic: Topic) -> None:
    letter = topic.bury(b"{}")
    (topic.desk.reviewer.identity.path / "identity.json").unlink()
    fresh = topic.desk.identity(topic.desk.reviewer)
    reader = LetterReader(fresh, POLICY, clock=topic.desk.clock)
    judge = Judge(fresh, POLICY, clock=topic.desk.clock)
    topic.reviewed[ORDERS] = Reviewed(topic.fetch, reader, judge)
    with pytest.raises(IdentityError):
        await topic.examined(letter)
