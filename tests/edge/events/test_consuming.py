"""A message is committed only after it was handled, or after its dead letter was published."""

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.edge.events.consumer import Consumer, Marks
from tests.edge.events.trade import (
    CHECKOUT,
    FULFILMENT,
    NOW,
    TOPIC,
    Trade,
    bundle_map,
    delivered,
    edited,
    leaf,
    schema,
)
from tests.edge.mounts import Mounts
from troth.edge.events.consumption.flow import (
    PATIENCE,
    Outcome,
    StoppedError,
    UnavailableError,
    Wait,
)
from troth.edge.events.message import Message
from troth.edge.events.rejection import Reason, RejectedError, Rejection


def placed(trade: Trade, offset: int = 7, **options: Any) -> Message:
    """An order as Kafka delivers it; the topic has no LogAppendTime."""
    return delivered(trade.seal(**options), partition=0, offset=offset)


def test_accepted_event_is_handled_once(trade: Trade) -> None:
    consumer = Consumer(trade)
    message = placed(trade)
    consumed = consumer.consume(message)
    assert [each.id for each in consumer.handled] == [message.attributes["id"]]
    assert (consumed.outcome, consumed.attempts) == (Outcome.HANDLED, 1)
    assert consumer.counted == [consumed]
    assert not consumer.dead
    assert not consumer.waits


def test_rejected_message_is_committed_after_its_dead_letter(trade: Trade) -> None:
    consumer = Consumer(trade)
    consumed = consumer.consume(edited(trade.seal(), dssematerial=None))
    assert consumed.outcome is Outcome.DEAD_LETTERED
    assert consumed.rejection is not None
    assert consumed.rejection.reason is Reason.UNSIGNED
    assert [each["trothreason"] for each in consumer.letters] == ["Unsigned"]
    assert not consumer.handled
    assert not consumer.waits


def test_message_waits_until_its_dead_letter_is_published(trade: Trade) -> None:
    consumer = Consumer(trade)
    consumer.topic_failures = [UnavailableError("denied")] * 5
    assert consumer.consume(Message(TOPIC, {}, b"")).outcome is Outcome.DEAD_LETTERED
    assert len(consumer.dead) == 1
    assert consumer.causes == {"DeadLetterNotPublished"}
    assert [each.seconds for each in consumer.waits] == [1, 2, 4, 8, 16]
    assert consumer.counted_seconds == {"DeadLetterNotPublished": 31}


def test_dead_letter_that_is_published_late_has_the_time_of_its_publication(trade: Trade) -> None:
    consumer = Consumer(trade)
    consumer.topic_failures = [UnavailableError("denied")] * 20
    consumer.consume(Message(TOPIC, {}, b""))
    assert consumer.seconds > 400
    assert consumer.letters[0]["time"] > "2026-11-28T12:06:40Z"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"policy": "shop/refunds"}, "NotGranted"),
        ({"schemaFault": "SchemaMissing", "schemas": None}, "SchemaUnavailable"),
    ],
)
def test_fault_of_this_workload_rejects_no_message(
    trade: Trade, changed: dict[str, Any], reason: str
) -> None:
    consumer, message = Consumer(trade), placed(trade)
    trade.consume(**changed)

    def mend() -> None:
        if consumer.seconds > 4 * PATIENCE:
            trade.consume()

    consumer.meanwhile = mend
    assert consumer.consume(message).outcome is Outcome.HANDLED
    assert consumer.causes == {reason}
    assert not consumer.dead


def test_deleted_policy_commits_nothing(trade: Trade) -> None:
    consumer, message = Consumer(trade), edited(trade.seal(), dssematerial=None)
    trade.write(trade.fulfilment, leaf(FULFILMENT), FULFILMENT, bundle_map(), [])
    assert isinstance(consumer.begin(message), Wait)
    assert not consumer.dead
    assert not consumer.counted


def test_half_written_identity_rejects_no_message(trade: Trade, tmp_path: Path) -> None:
    message = placed(trade)
    trade.fulfilment = Mounts(tmp_path / "elsewhere")
    trade.fulfilment.identity.write({"identity.json": b"{"})
    trade.fulfilment.bundle.write({"bundle-map.json": b"{}"})
    consumer = Consumer(trade)
    consumer.meanwhile = lambda: trade.consume() if len(consumer.waits) == 3 else None
    assert consumer.consume(message).outcome is Outcome.HANDLED
    assert consumer.causes == {"IdentityUnusable"}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"producers": []}, Reason.PRODUCER_NOT_GRANTED),
        ({"schemas": [schema('{"type":"object"}')]}, Reason.SCHEMA_UNKNOWN),
    ],
)
def test_producer_whose_files_are_newer_is_waited_for(
    trade: Trade, changed: dict[str, Any], reason: Reason
) -> None:
    consumer, message = Consumer(trade), placed(trade)
    trade.consume(**changed)
    consumer.meanwhile = lambda: trade.consume() if trade.now > NOW + 100 else None
    assert consumer.consume(message).outcome is Outcome.HANDLED
    assert consumer.causes == {reason}
    assert not consumer.dead


@pytest.mark.parametrize("stored", [True, False])
def test_wait_for_newer_files_is_bounded(trade: Trade, stored: bool) -> None:
    consumer = Consumer(trade)
    message = delivered(trade.seal(), offset=7, stored_at=NOW if stored else None)
    trade.consume(producers=[])
    assert consumer.consume(message).outcome is Outcome.DEAD_LETTERED
    assert consumer.seconds == PATIENCE
    assert consumer.letters[0]["trothreason"] == "ProducerNotGranted"


def test_old_message_of_a_producer_without_grant_is_not_waited_for(trade: Trade) -> None:
    consumer, message = Consumer(trade), placed(trade)
    trade.consume(producers=[])
    trade.now += PATIENCE
    assert consumer.consume(message).outcome is Outcome.DEAD_LETTERED
    assert not consumer.waits


def test_backlog_of_a_producer_without_grant_waits_only_once(trade: Trade) -> None:
    consumer = Consumer(trade)
    trade.consume(producers=[])
    for offset in range(50):
        # each claims to be new, and no time of the broker says otherwise
        consumer.consume(placed(trade, offset))
    assert consumer.seconds == PATIENCE
    assert len(consumer.dead) == 50


def test_backlog_that_the_broker_dated_waits_only_once(trade: Trade) -> None:
    consumer = Consumer(trade)
    trade.consume(producers=[])
    for offset in range(50):
        consumer.consume(delivered(trade.seal(), offset=offset, stored_at=NOW))
        assert consumer.seconds == PATIENCE


def test_producer_is_waited_for_again_after_a_while(trade: Trade) -> None:
    consumer = Consumer(trade)
    trade.consume(producers=[])
    consumer.consume(placed(trade))
    trade.now += 10 * PATIENCE
    message = placed(trade)
    consumer.meanwhile = trade.consume
    assert consumer.consume(message).outcome is Outcome.HANDLED


def test_event_from_the_future_cannot_hold_up_a_partition(trade: Trade) -> None:
    consumer = Consumer(trade)
    trade.consume(producers=[])
    trade.now += 10**4
    message = placed(trade)
    trade.now -= 10**4
    consumer.consume(message)
    assert consumer.seconds <= PATIENCE


def test_failing_handler_is_called_again(trade: Trade) -> None:
    consumer = Consumer(trade, marks=Marks())
    consumer.failures = [OSError("first"), OSError("second")]
    consumed = consumer.consume(placed(trade))
    assert (consumed.outcome, consumed.attempts) == (Outcome.HANDLED, 3)
    assert consumer.causes == {"HandlerFailed"}
    assert not consumer.dead


def test_handler_that_fails_too_often_ends_in_a_dead_letter(trade: Trade) -> None:
    marks = Marks()
    consumer = Consumer(trade, marks=marks, attempts=2)
    consumer.failures = [ValueError("card 4111 1111"), KeyError("card 4111 1111")]
    consumed = consumer.consume(placed(trade))
    assert consumed.outcome is Outcome.DEAD_LETTERED
    letter = consumer.letters[0]
    assert letter["trothreason"] == "HandlerFailed"
    assert letter["trothdetail"] == "the handler raised KeyError in attempt 2 of 2"
    assert letter["trothattempts"] == "2"
    # a copy that somebody publishes again must not count as a duplicate
    assert (marks.held, marks.consumed) == (set(), {})


def test_interrupted_handler_releases_its_claim_and_commits_nothing(trade: Trade) -> None:
    marks = Marks()
    consumer = Consumer(trade, marks=marks)
    consumer.failures = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        consumer.consume(placed(trade))
    assert not marks.held
    assert not consumer.counted
    assert not consumer.dead


def test_redelivered_event_is_committed_silently(trade: Trade) -> None:
    consumer, message = Consumer(trade, marks=Marks()), placed(trade)
    consumer.consume(message)
    assert consumer.consume(message).outcome is Outcome.REDELIVERED
    assert len(consumer.handled) == 1
    assert not consumer.dead


def test_copy_of_a_consumed_event_is_a_duplicate(trade: Trade) -> None:
    consumer, sealed = Consumer(trade, marks=Marks()), trade.seal()
    for offset in (7, 8):
        consumed = consumer.consume(delivered(sealed, offset=offset))
    assert consumed.rejection == Rejection(
        Reason.DUPLICATE, "the event was consumed before", CHECKOUT
    )
    assert [each["trothreason"] for each in consumer.letters] == ["Duplicate"]
    assert len(consumer.handled) == 1


def test_copy_in_a_subject_without_a_log_is_a_duplicate(trade: Trade) -> None:
    consumer, message = Consumer(trade, marks=Marks()), delivered(trade.seal())
    consumer.consume(message)
    assert consumer.consume(message).outcome is Outcome.DEAD_LETTERED


def test_event_that_another_consumer_handles_waits(trade: Trade) -> None:
    marks, message = Marks(), placed(trade)
    marks.held.add(message.attributes["id"])
    consumer = Consumer(trade, marks=marks)
    consumer.meanwhile = marks.held.clear
    assert consumer.consume(message).outcome is Outcome.HANDLED
    assert consumer.causes == {"InFlight"}


def test_no_event_is_handled_while_the_store_is_away(trade: Trade) -> None:
    marks = Marks(away=True)
    consumer, message = Consumer(trade, marks=marks), placed(trade)
    assert isinstance(consumer.begin(message), Wait)
    assert not consumer.handled

    def back() -> None:
        marks.away = False

    consumer.meanwhile = back
    assert consumer.consume(message).outcome is Outcome.HANDLED
    assert consumer.causes == {"StoreUnavailable"}


def test_handled_event_is_committed_only_after_its_mark(trade: Trade) -> None:
    marks = Marks()
    consumer, message = Consumer(trade, marks=marks), placed(trade)
    handle = consumer.handled.append

    def handled(event: Any) -> None:
        handle(event)
        marks.away = True

    consumer.on_event = handled

    def back() -> None:
        assert not consumer.counted
        marks.away = len(consumer.waits) < 5

    consumer.meanwhile = back
    assert consumer.consume(message).outcome is Outcome.HANDLED
    assert len(consumer.handled) == 1
    assert marks.consumed == {message.attributes["id"]: message.origin}


def test_flow_that_is_closed_while_it_waits_holds_no_claim(trade: Trade) -> None:
    marks = Marks()
    consumer = Consumer(trade, marks=marks)
    consumer.failures = [OSError()]
    message = placed(trade)
    assert isinstance(consumer.begin(message), Wait)
    assert not marks.held
    assert consumer.consume(message).outcome is Outcome.HANDLED


def test_rejected_message_without_a_dead_letter_topic_stops_the_consumer(trade: Trade) -> None:
    trade.consume(deadLetter=None)
    consumer = Consumer(trade)
    with pytest.raises(StoppedError, match=r"prod\.orders\.v1.*Unsigned.*deadLetter"):
        consumer.consume(edited(trade.seal(), dssematerial=None))
    assert not consumer.counted


def test_rejected_message_without_a_dead_letter_topic_is_dropped_on_request(
    trade: Trade, caplog: pytest.LogCaptureFixture
) -> None:
    trade.consume(deadLetter=None)
    consumer = Consumer(trade, on_rejected="drop")
    consumed = consumer.consume(
        delivered(trade.seal(), data=b'{"card":"4111"}', partition=0, offset=7)
    )
    assert consumed.outcome is Outcome.DROPPED
    assert consumer.counted == [consumed]
    (line,) = caplog.messages
    assert "dropped" in line
    assert "SignatureInvalid" in line
    assert "prod.orders.v1/0@7" in line
    assert "4111" not in line


def test_event_whose_handler_fails_is_never_dropped(trade: Trade) -> None:
    trade.consume(deadLetter=None)
    consumer = Consumer(trade, on_rejected="drop", attempts=1)
    consumer.failures = [OSError("the database is away")]
    with pytest.raises(StoppedError) as stopped:
        consumer.consume(placed(trade))
    assert isinstance(stopped.value.__cause__, OSError)


def test_dead_letter_that_is_too_large_omits_the_data_first(trade: Trade) -> None:
    consumer = Consumer(trade)
    consumer.largest = 10_000
    consumer.consume(delivered(trade.seal(), data=b"x" * 20_000))
    assert consumer.letters[0]["trothomitted"] == "data"
    assert "trothheaders" in consumer.letters[0]


def test_dead_letter_whose_headers_are_too_large_omits_them(trade: Trade) -> None:
    consumer = Consumer(trade)
    consumer.largest = 10_000
    message = delivered(trade.seal(), data=b"x" * 1000, headers=(("h", b"x" * 10_000),))
    consumer.consume(edited_id(message))
    assert consumer.letters[0]["trothomitted"] == "headers"
    message = delivered(trade.seal(), data=b"x" * 20_000, headers=(("h", b"x" * 10_000),))
    consumer.consume(edited_id(message))
    assert consumer.letters[1]["trothomitted"] == "data headers"


def edited_id(message: Message) -> Message:
    return Message(message.topic, {}, message.data, headers=message.headers)


def test_waiting_is_logged_once_a_minute(
    trade: Trade, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troth.edge.events.consumption.flow.monotonic", lambda: trade.now)
    consumer = Consumer(trade)
    consumer.topic_failures = [UnavailableError("denied")] * 20
    with caplog.at_level(logging.WARNING, "troth.edge.events"):
        consumer.consume(Message(TOPIC, {}, b""))
    lines = [each for each in caplog.messages if "DeadLetterNotPublished" in each]
    assert 2 <= len(lines) <= 1 + consumer.seconds / 60


def test_expired_certificate_of_the_consumer_rejects_no_message(trade: Trade) -> None:
    consumer, message = Consumer(trade), edited(trade.seal(), dssematerial=None)
    trade.now += 2 * 86400
    consumer.meanwhile = trade.consume
    assert consumer.consume(message).outcome is Outcome.DEAD_LETTERED
    assert consumer.causes == {"DeadLetterNotSealed"}


def test_payload_that_the_model_rejects_is_invalid(trade: Trade) -> None:
    def prepare(_: Any) -> Any:
        raise RejectedError(Reason.SCHEMA_INVALID, "the payload does not satisfy the model")

    consumer = Consumer(trade, prepare=prepare)
    consumed = consumer.consume(placed(trade))
    assert consumed.rejection is not None
    assert consumed.rejection.reason is Reason.SCHEMA_INVALID
    assert consumed.rejection.actor == CHECKOUT
    assert not consumer.handled


def test_number_of_attempts_is_at_least_one(trade: Trade) -> None:
    with pytest.raises(ValueError, match="attempts"):
        Consumer(trade, attempts=0)
