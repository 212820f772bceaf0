"""A redrive delivers only what its consumer would accept now, apart from the age."""

from dataclasses import replace
from typing import Any

import pytest

from tests.edge.events.trade import NOW, ORDER, SCHEMA, TOPIC, digest, leaf
from tests.edge.mounts import workload
from tests.review.desk import (
    BILLING,
    GROUP,
    RETRY,
    REVIEWER,
    Desk,
    as_delivered,
    consumer,
    dead_letter,
    letter,
    redriven,
    reviewed,
)
from troth.edge.events.consumption.dead_letters import DATA, HEADERS, DeadLetter
from troth.edge.events.event import Event
from troth.edge.events.message import Message
from troth.edge.events.opening import Opener
from troth.edge.events.redriving import RedriveSealer
from troth.edge.events.rejection import Reason, Rejection
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.letters.judgement import Judge, Obstacle, Redrivable

DAY = 86_400.0
FORMER = workload("former-reviewer")
OTHERS = [consumer(retry=None), {"spiffeIDs": [BILLING], "group": "prod.billing"}]


def own_judge(desk: Desk) -> Judge:
    return Judge(desk.identity(desk.reviewer), "shop/orders", clock=desk.clock)


def judge(desk: Desk, found: DeadLetter, **changed: Any) -> Redrivable | Obstacle:
    own = own_judge(desk)
    judged = own.judge(letter(found, **changed), found)
    failed = [
        each.obstacle for each in own.explain(letter(found, **changed), found) if each.obstacle
    ]
    assert failed[:1] == ([judged] if isinstance(judged, Obstacle) else [])
    return judged


def original(desk: Desk, data: bytes = ORDER, **options: Any) -> Message:
    return as_delivered(desk.seal(data, **options), 5, stored_at=desk.now)


def buried(desk: Desk, message: Message | None = None, **options: Any) -> DeadLetter:
    return dead_letter(desk, desk.bury(message or original(desk), **options))


def route(desk: Desk, target: str) -> None:
    """Have redrives go to a topic."""
    retry = {"topic": RETRY} if target == RETRY else None
    desk.consume(reviewers=[REVIEWER], **({} if retry is None else {"retry": retry}))
    desk.review(consumers=[consumer(retry=retry)])


def failed_again(desk: Desk, found: DeadLetter, **options: Any) -> DeadLetter:
    """The letter of a message that its consumer accepted again, and could not handle."""
    message = redriven(desk, found, **options)
    assert isinstance(opened(desk, message), Event)
    return dead_letter(desk, desk.bury(message))


def failed_again_by(desk: Desk, reviewer: str, *, count: int) -> DeadLetter:
    """The letter of a message that another workload delivered again while it was the reviewer."""
    route(desk, RETRY)
    desk.consume(reviewers=[REVIEWER, reviewer], retry={"topic": RETRY})
    desk.write(desk.reviewer, leaf(reviewer, at=desk.now), reviewer, None, [reviewed()])
    return failed_again(desk, buried(desk), count=count)


def sealer(desk: Desk) -> RedriveSealer:
    return RedriveSealer(desk.identity(desk.reviewer), "shop/orders", clock=desk.clock)


def opened(desk: Desk, message: Message) -> Event | Rejection:
    """What the consumer says of a message."""
    return Opener(desk.identity(desk.fulfilment), "shop/orders", clock=desk.clock).open(message)


def reason(judged: Redrivable | Obstacle) -> str:
    assert isinstance(judged, Obstacle)
    assert judged.detail
    return judged.reason


def test_sound_letter_goes_to_the_retry_topic_of_its_consumer(desk: Desk) -> None:
    found = buried(desk)
    assert judge(desk, found) == Redrivable(RETRY)


def test_only_consumer_gets_the_message_on_the_topic_of_the_policy(desk: Desk) -> None:
    found = buried(desk)
    desk.review(consumers=[consumer(retry=None)])
    assert judge(desk, found) == Redrivable(TOPIC)


def test_consumer_of_several_without_retry_topic_is_skipped(desk: Desk) -> None:
    found = buried(desk)
    desk.review(consumers=OTHERS)
    assert reason(judge(desk, found)) == "RetryTopicMissing"


def test_consumer_that_may_not_read_its_retry_topic_gets_nothing_on_the_own_topic(
    desk: Desk,
) -> None:
    found = buried(desk)
    desk.review(consumers=[consumer(retry=None) | {"retryMissing": True}])
    assert reason(judge(desk, found)) == "RetryTopicMissing"


def test_expired_event_can_be_redriven(desk: Desk) -> None:
    found = buried(desk)
    desk.now += 30 * DAY
    desk.review()
    assert isinstance(judge(desk, found), Redrivable)


def test_event_that_was_too_old_for_its_consumer_needs_a_stored_time(desk: Desk) -> None:
    """Without the broker's time, its producer alone says when it was published."""
    sealed = desk.seal()
    desk.now += 7 * DAY + 1
    desk.consume()
    desk.review()
    expired = Rejection(Reason.EXPIRED, "the event is too old")
    unknown = dead_letter(desk, desk.bury(as_delivered(sealed), expired))
    assert reason(judge(desk, unknown)) == "Expired"
    known = dead_letter(desk, desk.bury(as_delivered(sealed, stored_at=NOW), expired))
    assert isinstance(judge(desk, known), Redrivable)


def test_event_without_a_stored_time_that_expired_as_a_letter_can_be_redriven(desk: Desk) -> None:
    sealed = desk.seal()
    desk.now += 7 * DAY
    desk.consume()
    found = buried(desk, as_delivered(sealed))
    desk.now += 7 * DAY
    desk.review()
    assert isinstance(judge(desk, found), Redrivable)


def test_back_dated_event_cannot_be_redriven(desk: Desk) -> None:
    message = as_delivered(desk.seal(), stored_at=NOW + 3600)
    desk.now += 3600
    desk.consume()
    assert reason(judge(desk, buried(desk, message))) == "TimeMismatch"


@pytest.mark.parametrize("target", [RETRY, TOPIC])
def test_message_that_failed_again_is_redriven_until_the_limit(desk: Desk, target: str) -> None:
    route(desk, target)
    found = buried(desk)
    for count in (1, 2):
        found = failed_again(desk, found, count=count, target=target)
        judged = judge(desk, found)
        assert judged == Redrivable(target, redrives=count)
    judged = judge(desk, failed_again(desk, found, count=3, target=target))
    assert reason(judged) == "RedriveLimitReached"
    assert isinstance(judged, Obstacle)
    assert judged.outcome is LetterOutcome.QUARANTINED


def test_limit_comes_before_what_the_consumer_would_reject(desk: Desk) -> None:
    route(desk, RETRY)
    found = failed_again(desk, buried(desk), count=3)
    desk.review(producers=[workload("other")])
    assert reason(judge(desk, found)) == "RedriveLimitReached"


def test_redrives_of_the_same_reviewer_in_another_trust_domain_count(desk: Desk) -> None:
    found = failed_again_by(desk, FORMER, count=2)
    desk.review(reviewers=[FORMER, REVIEWER])
    assert judge(desk, found) == Redrivable(RETRY, redrives=2)
    assert sealer(desk).redrives_of(found.message) == 2
    again = redriven(desk, found, count=3)
    event = opened(desk, again)
    assert isinstance(event, Event)
    assert (event.topic, event.redrive and event.redrive.origin_topic) == (TOPIC, TOPIC)


def test_message_that_another_reviewer_delivered_again_is_skipped(desk: Desk) -> None:
    """Its count and its first place are not this reviewer's to continue."""
    found = failed_again_by(desk, FORMER, count=3)
    desk.review()
    judged = judge(desk, found)
    assert reason(judged) == "RedrivenByAnother"
    assert isinstance(judged, Obstacle)
    assert judged.outcome is LetterOutcome.SKIPPED
    assert FORMER in judged.detail


def test_message_on_the_retry_topic_without_a_redrive_is_skipped(desk: Desk) -> None:
    """Its consumer would reject it again: the redrive would say that topic as the first one."""
    route(desk, RETRY)
    found = buried(desk, as_delivered(desk.seal(), 5, topic=RETRY, stored_at=desk.now))
    assert reason(judge(desk, found)) == "WrongTopic"
    rejection = opened(desk, redriven(desk, found))
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.WRONG_TOPIC


def test_time_of_the_first_delivery_counts_after_a_redrive(desk: Desk) -> None:
    route(desk, RETRY)
    first = buried(desk)
    desk.now += 2 * DAY
    route(desk, RETRY)
    assert isinstance(judge(desk, failed_again(desk, first)), Redrivable)


def test_unknown_time_of_the_first_delivery_stays_unknown_after_a_redrive(desk: Desk) -> None:
    route(desk, RETRY)
    first = buried(desk, as_delivered(desk.seal(), 5))
    desk.now += 30 * DAY
    route(desk, RETRY)
    again = redriven(desk, first)
    assert isinstance(opened(desk, again), Event)
    assert isinstance(judge(desk, dead_letter(desk, desk.bury(again))), Redrivable)


def test_producer_without_a_grant_is_skipped(desk: Desk) -> None:
    found = buried(desk)
    desk.review(producers=[workload("other")])
    assert reason(judge(desk, found)) == "ProducerNotGranted"


def test_data_that_the_current_schema_rejects_is_skipped(desk: Desk) -> None:
    found = buried(desk)
    text = SCHEMA.replace('"minimum":1', '"minimum":9')
    desk.review(schemas=[{"type": "JSONSchema", "digest": digest(text), "text": text}])
    assert reason(judge(desk, found)) == "SchemaUnknown"


def test_tenant_that_the_consumer_no_longer_accepts_is_skipped(desk: Desk) -> None:
    found = buried(desk, original(desk, tenant="acme"))
    desk.review(consumers=[consumer(tenants=["globex"])])
    assert reason(judge(desk, found)) == "TenantNotAccepted"
    desk.review(consumers=[consumer(tenants=["globex", "acme"])])
    assert isinstance(judge(desk, found), Redrivable)


def test_forged_data_is_skipped(desk: Desk) -> None:
    message = replace(original(desk), data=b'{"sku":"B","quantity":9}')
    assert reason(judge(desk, buried(desk, message))) == "SignatureInvalid"


@pytest.mark.parametrize("omitted", [frozenset({DATA}), frozenset({HEADERS})])
def test_incomplete_letter_is_skipped(desk: Desk, omitted: frozenset[str]) -> None:
    assert reason(judge(desk, buried(desk, omit=omitted))) == "Incomplete"


def test_other_message_at_the_position_is_skipped(desk: Desk) -> None:
    assert reason(judge(desk, buried(desk), digest="x" * 43)) == "MessageChanged"
    assert reason(judge(desk, buried(desk), id="another")) == "MessageChanged"


@pytest.mark.parametrize("changed", [{"group": "prod.other"}, {"consumer": BILLING}])
def test_consumer_without_a_grant_is_skipped(desk: Desk, changed: dict[str, Any]) -> None:
    assert reason(judge(desk, buried(desk), **changed)) == "ConsumerNotGranted"


def test_letter_without_a_group_needs_a_consumer_with_one_group(desk: Desk) -> None:
    found = buried(desk)
    assert isinstance(judge(desk, found, group=None), Redrivable)
    desk.review(consumers=[consumer(), consumer(group="prod.second", retry=None)])
    assert reason(judge(desk, found, group=None)) == "ConsumerNotGranted"
    assert isinstance(judge(desk, found, group=GROUP), Redrivable)


def test_message_of_another_topic_is_skipped(desk: Desk) -> None:
    message = replace(original(desk), topic="prod.elsewhere")
    assert reason(judge(desk, buried(desk, message))) == "WrongTopic"


def test_every_check_has_a_verdict(desk: Desk) -> None:
    own = Judge(desk.identity(desk.reviewer), "shop/orders", clock=desk.clock)
    found = buried(desk)
    desk.review(producers=[workload("other")], consumers=[consumer(tenants=["acme"])])
    verdicts = {each.name: each.obstacle for each in own.explain(letter(found), found)}
    assert list(verdicts)[:4] == ["message", "parts", "consumer", "limit"]
    assert list(verdicts)[-1] == "retry"
    assert {name for name, each in verdicts.items() if each} == {"producer", "tenant"}
