"""A message that a review delivers again is accepted by one consumer, once, and by nobody else."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.edge.events.consumer import Consumer, Marks
from tests.edge.events.reviews import (
    RETRY,
    REVIEW,
    REVIEWER,
    STRANGER,
    Desk,
    accepting,
    placed,
)
from tests.edge.events.trade import CHECKOUT, FULFILMENT, NOW, TOPIC, Trade
from tests.edge.mounts import workload
from troth.edge.events.attributes import REDRIVE
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.consumption.flow import PATIENCE, Outcome
from troth.edge.events.event import Event
from troth.edge.events.message import Message
from troth.edge.events.redrive import (
    attributes_of,
    digest_of,
    original_headers,
    read,
    redrive_id,
    write,
)
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.pki.encodings import base64url

WEEK, DAY = 604800, 86400
HEADER = kafka.REDRIVE_HEADER


@pytest.fixture
def desk(trade: Trade, tmp_path: Path) -> Desk:
    accepting(trade)
    return Desk(trade, tmp_path)


def opened(trade: Trade, message: Message) -> Event:
    found = trade.open(message)
    assert isinstance(found, Event), found
    return found


def reason(trade: Trade, message: Message) -> Reason:
    found = trade.open(message)
    assert isinstance(found, Rejection), found
    return found.reason


def again(message: Message, *others: tuple[str, bytes], **changed: Any) -> Message:
    """The message with other headers beside its own, or at another place."""
    place: dict[str, Any] = {
        "topic": message.topic,
        "value": message.data,
        "partition": message.partition,
        "offset": message.offset,
        "stored_at": message.stored_at,
    }
    headers = changed.pop("headers", message.headers)
    return kafka.read(headers=[*headers, *others], **(place | changed))


# Accepted


def test_redriven_event_says_who_had_it_delivered_again(trade: Trade, desk: Desk) -> None:
    message = placed(trade)
    event = opened(trade, desk.redriven(message))
    assert event.redrive is not None
    assert (event.redrive.review, event.redrive.count) == (str(REVIEW), 1)
    assert (event.redrive.requested_by, event.redrive.approved_by) == ("alice", "bob")
    assert (event.actor, event.topic, event.data) == (CHECKOUT, TOPIC, message.data)


def test_event_that_nobody_delivered_again_has_no_redrive(trade: Trade, desk: Desk) -> None:
    assert opened(trade, placed(trade)).redrive is None


def test_review_without_approval_names_no_approver(trade: Trade, desk: Desk) -> None:
    event = opened(trade, desk.redriven(placed(trade), approved_by=None))
    assert event.redrive is not None
    assert event.redrive.approved_by is None


def test_expired_event_is_accepted_after_a_review(trade: Trade, desk: Desk) -> None:
    message = placed(trade)
    trade.now += WEEK + DAY
    assert reason(trade, message) is Reason.EXPIRED
    accepting(trade)
    desk.write()
    assert opened(trade, desk.redriven(message)).time.timestamp() == NOW


def test_back_dated_event_is_not_accepted_after_a_review(trade: Trade, desk: Desk) -> None:
    message = placed(trade, stored_at=NOW + 301)
    assert reason(trade, desk.redriven(message)) is Reason.TIME_MISMATCH


def test_event_whose_first_time_is_not_known_is_accepted(trade: Trade, desk: Desk) -> None:
    message = replace(placed(trade), stored_at=None)
    trade.now += 2 * DAY
    accepting(trade)
    desk.write()
    assert isinstance(trade.open(desk.redriven(message)), Event)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"producers": []}, Reason.PRODUCER_NOT_GRANTED),
        ({"tenants": ["globex"]}, Reason.TENANT_NOT_ACCEPTED),
        ({"schemas": None, "schemaFault": "SchemaMissing"}, Reason.SCHEMA_UNAVAILABLE),
    ],
)
def test_redrive_replaces_no_other_check(
    trade: Trade, desk: Desk, changed: dict[str, Any], expected: Reason
) -> None:
    context = {"require": ["Actor", "Tenant"], "evidence": "Producer", "maxAge": WEEK}
    message = desk.redriven(placed(trade, tenant="acme"))
    accepting(trade, **({"context": context} | changed))
    assert reason(trade, message) is expected


def test_policy_topic_is_the_target_without_a_retry_topic(trade: Trade, desk: Desk) -> None:
    accepting(trade, retry=False)
    event = opened(trade, desk.redriven(placed(trade), target=TOPIC))
    assert event.redrive is not None


def test_redriven_event_of_a_prefix_is_for_its_own_topic(trade: Trade, desk: Desk) -> None:
    prefix: dict[str, Any] = {"topic": None, "prefix": "prod.orders."}
    trade.publish(**prefix)
    accepting(trade, retry=False, **prefix)
    desk.write(**prefix)
    message = placed(trade, topic=TOPIC)
    assert opened(trade, desk.redriven(message, target=TOPIC)).topic == TOPIC
    elsewhere = desk.redriven(replace(message, topic="prod.orders.v2"), target="prod.orders.v2")
    assert reason(trade, elsewhere) is Reason.WRONG_TOPIC


def test_nats_message_is_accepted_after_a_review(trade: Trade, tmp_path: Path) -> None:
    accepting(trade, type="nats")
    desk = Desk(trade, tmp_path, type="nats")
    sealed = trade.seal(about="größer 100 %")
    message = nats.read(TOPIC, nats.headers(sealed) | {"Nats-Msg-Id": "1"}, sealed.data, sequence=4)
    headers = dict(message.headers) | {"Nats-Msg-Id": b"another"}
    name, value = desk.header(desk.letter(message))
    assert name == nats.REDRIVE_HEADER
    texts = {key: each.decode() for key, each in (headers | {name: value}).items()}
    event = opened(trade, nats.read(RETRY, texts, sealed.data, sequence=1, stored_at=NOW))
    assert event.redrive is not None


# Rejected


def test_message_on_the_retry_topic_needs_a_redrive(trade: Trade, desk: Desk) -> None:
    message = placed(trade)
    assert reason(trade, again(message, topic=RETRY)) is Reason.REDRIVE_INVALID
    sealed = trade.seal()
    bare = kafka.read(RETRY, [*kafka.headers(sealed)], sealed.data)
    assert reason(trade, bare) is Reason.REDRIVE_INVALID


def test_message_on_the_retry_topic_that_cannot_be_read_is_malformed(
    trade: Trade, desk: Desk
) -> None:
    assert reason(trade, kafka.read(RETRY, [("CE_ID", b"1")], b"")) is Reason.MALFORMED


def test_bogus_redrive_on_the_own_topic_is_rejected(trade: Trade, desk: Desk) -> None:
    assert reason(trade, again(placed(trade), (HEADER, b"bogus"))) is Reason.REDRIVE_INVALID


def test_redrive_of_a_workload_that_is_no_reviewer_is_rejected(
    trade: Trade, desk: Desk, tmp_path: Path
) -> None:
    found = trade.open(Desk(trade, tmp_path, STRANGER).redriven(placed(trade)))
    assert isinstance(found, Rejection)
    assert (found.reason, found.actor) == (Reason.REDRIVE_INVALID, STRANGER)


def test_reviewer_that_lost_its_role_is_rejected(trade: Trade, desk: Desk) -> None:
    message = desk.redriven(placed(trade))
    accepting(trade, reviewers=[])
    assert reason(trade, message) is Reason.REDRIVE_INVALID


@pytest.mark.parametrize(
    "changed",
    [
        {"policy": "shop/refunds"},
        {"broker": "shop/other"},
        {"environment": "staging"},
    ],
)
def test_redrive_of_another_declaration_is_rejected(
    trade: Trade, desk: Desk, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    message = placed(trade)
    others = {f"troth{name}": value for name, value in changed.items()}
    monkeypatch.setattr("troth.edge.events.redriving.attributes_of", bent(**others))
    assert reason(trade, desk.redriven(message)) is Reason.REDRIVE_INVALID


def bent(**changed: str) -> Any:
    """Attributes of a redrive, some of them as another reviewer would seal them."""
    return lambda *given: attributes_of(*given) | changed


def test_redrive_for_another_message_is_rejected(trade: Trade, desk: Desk) -> None:
    first, second = placed(trade), placed(trade)
    header = desk.header(desk.letter(first))
    swapped = again(second, header, topic=RETRY)
    assert reason(trade, swapped) is Reason.REDRIVE_INVALID


@pytest.mark.parametrize("topic", [TOPIC, "prod.orders.v1.retry.audit"])
def test_redrive_that_another_topic_delivers_is_rejected(
    trade: Trade, desk: Desk, topic: str
) -> None:
    message = desk.redriven(placed(trade))
    assert reason(trade, again(message, topic=topic)) is Reason.REDRIVE_INVALID


@pytest.mark.parametrize("retry", [True, False])
def test_redrive_to_a_topic_of_nobody_is_rejected(trade: Trade, desk: Desk, retry: bool) -> None:
    accepting(trade, retry=retry)
    message = desk.redriven(placed(trade), target="prod.other.v1")
    assert reason(trade, message) is Reason.REDRIVE_INVALID


def test_redrive_that_another_topic_of_the_prefix_delivers_is_rejected(
    trade: Trade, desk: Desk
) -> None:
    prefix: dict[str, Any] = {"topic": None, "prefix": "prod.orders."}
    trade.publish(**prefix)
    accepting(trade, retry=False, **prefix)
    desk.write(**prefix)
    message = desk.redriven(placed(trade, topic=TOPIC), target=TOPIC)
    assert isinstance(trade.open(message), Event)
    assert reason(trade, again(message, topic="prod.orders.v2")) is Reason.REDRIVE_INVALID


@pytest.mark.parametrize("changed", [{"trothevent": "another"}, {"trothproducer": FULFILMENT}])
def test_redrive_that_names_another_event_is_rejected(
    trade: Trade, desk: Desk, changed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("troth.edge.events.redriving.attributes_of", bent(**changed))
    assert reason(trade, desk.redriven(placed(trade))) is Reason.REDRIVE_INVALID


def test_consumer_with_a_retry_topic_accepts_no_redrive_elsewhere(trade: Trade, desk: Desk) -> None:
    assert reason(trade, desk.redriven(placed(trade), target=TOPIC)) is Reason.REDRIVE_INVALID


@pytest.mark.parametrize("late", [-301, 301, WEEK])
def test_redrive_that_is_stored_at_another_time_is_rejected(
    trade: Trade, desk: Desk, late: float
) -> None:
    first = placed(trade)
    trade.now += WEEK
    accepting(trade)
    desk.write()
    message = desk.redriven(first, stored_at=trade.now + late)
    trade.now += 2 * WEEK
    accepting(trade)
    assert reason(trade, message) is Reason.REDRIVE_INVALID


def test_redrive_whose_time_the_broker_does_not_know_expires(trade: Trade, desk: Desk) -> None:
    message = desk.redriven(placed(trade), stored_at=None)
    trade.now += WEEK
    assert isinstance(trade.open(message), Event)
    trade.now += 1
    assert reason(trade, message) is Reason.REDRIVE_INVALID


def test_redrive_from_the_future_is_rejected(trade: Trade, desk: Desk) -> None:
    message = desk.redriven(placed(trade))
    trade.now -= 301
    assert reason(trade, message) is Reason.REDRIVE_INVALID


def test_reviewer_seals_with_a_valid_certificate_only(trade: Trade, desk: Desk) -> None:
    letter = desk.letter(placed(trade))
    trade.now += 2 * DAY
    with pytest.raises(RejectedError, match="expired"):
        desk.header(letter)


# Addressed to others


@pytest.mark.parametrize("changed", [{"group": "prod.audit"}, {"group": None}])
def test_redrive_for_another_group_is_not_addressed(
    trade: Trade, desk: Desk, changed: dict[str, Any]
) -> None:
    message = desk.redriven(placed(trade), target=TOPIC)
    accepting(trade, retry=False, **changed)
    assert reason(trade, message) is Reason.NOT_ADDRESSED


def test_redrive_for_another_consumer_without_a_group_is_not_addressed(
    trade: Trade, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepting(trade, retry=False, group=None)
    message = placed(trade)
    assert isinstance(trade.open(desk.redriven(message, target=TOPIC)), Event)
    monkeypatch.setattr(
        "troth.edge.events.redriving.attributes_of", bent(trothconsumer=workload("audit"))
    )
    assert reason(trade, desk.redriven(message, target=TOPIC)) is Reason.NOT_ADDRESSED


def test_another_workload_of_the_group_is_addressed(
    trade: Trade, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the same one, in its new trust domain."""
    monkeypatch.setattr(
        "troth.edge.events.redriving.attributes_of",
        bent(trothconsumer=workload("fulfilment", "old.example")),
    )
    assert isinstance(trade.open(desk.redriven(placed(trade))), Event)


def test_redrive_for_another_consumer_is_committed_without_the_handler(
    trade: Trade, desk: Desk
) -> None:
    message = desk.redriven(placed(trade), target=TOPIC)
    accepting(trade, retry=False, group="prod.audit")
    consumer = Consumer(trade, marks=Marks())
    consumed = consumer.consume(message)
    assert consumed.outcome is Outcome.NOT_ADDRESSED
    assert consumer.counted == [consumed]
    assert (consumer.handled, consumer.dead, consumer.waits) == ([], [], [])


# Consumed once


def test_redrive_that_is_published_twice_is_handled_once(trade: Trade, desk: Desk) -> None:
    consumer, first = Consumer(trade, marks=Marks()), placed(trade)
    outcomes = [
        consumer.consume(desk.redriven(first, offset=offset)).outcome for offset in (90, 91)
    ]
    assert outcomes == [Outcome.HANDLED, Outcome.REDELIVERED]
    assert len(consumer.handled) == 1
    assert not consumer.dead


def test_redrive_of_a_handled_event_is_a_duplicate(trade: Trade, desk: Desk) -> None:
    consumer, first = Consumer(trade, marks=Marks()), placed(trade)
    consumer.consume(first)
    assert consumer.consume(desk.redriven(first)).outcome is Outcome.DEAD_LETTERED
    assert [each["trothreason"] for each in consumer.letters] == ["Duplicate"]


def test_reviewer_that_the_files_do_not_name_yet_is_waited_for(trade: Trade, desk: Desk) -> None:
    message = desk.redriven(placed(trade))
    trade.consume(retry={"topic": RETRY})
    consumer = Consumer(trade)
    consumer.meanwhile = lambda: accepting(trade) if consumer.seconds > 20 else None
    assert consumer.consume(message).outcome is Outcome.HANDLED
    assert consumer.causes == {"RedriveInvalid"}


def test_invalid_redrive_is_not_waited_for(trade: Trade, desk: Desk) -> None:
    consumer = Consumer(trade)
    message = again(placed(trade), (HEADER, b"bogus"))
    assert consumer.consume(message).outcome is Outcome.DEAD_LETTERED
    assert not consumer.waits


def test_old_event_of_a_redrive_gets_the_patience_of_a_new_one(trade: Trade, desk: Desk) -> None:
    first = placed(trade)
    trade.now += DAY - 60
    message = desk.redriven(first, stored_at=None)
    accepting(trade, producers=[])
    consumer = Consumer(trade)
    consumer.consume(message)
    assert consumer.seconds == PATIENCE


# Rejected again


def test_redrive_stays_in_the_dead_letter_of_a_message_that_fails_again(
    trade: Trade, desk: Desk
) -> None:
    first = placed(trade)
    second = desk.redriven(first)
    letter = desk.letter(second)
    assert (letter.group, letter.consumer) == ("prod.fulfilment", FULFILMENT)
    assert dict(letter.message.headers)[HEADER] == dict(second.headers)[HEADER]
    assert desk.sealer().redrives_of(letter.message) == 1
    assert desk.sealer().redrives_of(first) == 0


def test_message_that_fails_again_keeps_the_place_and_time_of_its_first_delivery(
    trade: Trade, desk: Desk
) -> None:
    first = placed(trade)
    trade.now += DAY - 60
    second = desk.redriven(first)
    trade.now += DAY
    accepting(trade)
    desk.write()
    third = desk.redriven(second, count=2, offset=91)
    assert len([name for name, _ in third.headers if name == HEADER]) == 1
    redrive = opened(trade, third).redrive
    assert redrive is not None
    assert (redrive.count, redrive.origin_topic, redrive.stored_at) == (2, TOPIC, NOW)


def test_redrive_that_somebody_else_sealed_does_not_count(
    trade: Trade, desk: Desk, tmp_path: Path
) -> None:
    other = Desk(trade, tmp_path, STRANGER)
    assert desk.sealer().redrives_of(other.redriven(placed(trade), count=99)) == 0


def test_redrive_of_another_message_does_not_count(trade: Trade, desk: Desk) -> None:
    header = desk.header(desk.letter(placed(trade)), count=7)
    assert desk.sealer().redrives_of(again(placed(trade), header)) == 0


# Sealed


def test_redrive_needs_the_whole_event(trade: Trade, desk: Desk) -> None:
    letter = desk.letter(placed(trade))
    for broken in (
        replace(letter, omitted=frozenset({"data"})),
        replace(letter, message=replace(letter.message, attributes={})),
    ):
        with pytest.raises(RejectedError, match="whole event"):
            desk.header(broken)


@pytest.mark.parametrize(
    "changed",
    [
        {"count": 0},
        {"count": -1},
        {"requested_by": ""},
        {"requested_by": "a\nb"},
        {"approved_by": ""},
    ],
)
def test_malformed_redrive_is_not_sealed(trade: Trade, desk: Desk, changed: dict[str, Any]) -> None:
    with pytest.raises(RejectedError, match="Malformed"):
        desk.header(desk.letter(placed(trade)), **changed)


def test_redrive_that_is_too_long_is_not_sealed(trade: Trade, desk: Desk) -> None:
    with pytest.raises(RejectedError, match="TooLarge"):
        desk.header(desk.letter(placed(trade)), target="x" * 1000, review="y" * 20_000)


def test_workload_without_the_role_seals_no_redrive(trade: Trade, desk: Desk) -> None:
    letter = desk.letter(placed(trade))
    desk.write(policy="shop/refunds")
    with pytest.raises(RejectedError, match="no grant to review"):
        desk.header(letter)


def test_id_of_a_redrive_depends_on_review_and_letter() -> None:
    assert redrive_id("a", "b") == redrive_id("a", "b")
    assert len({redrive_id("a", "b"), redrive_id("a", "c"), redrive_id("ab", "")}) == 3


def test_digest_leaves_out_what_the_worker_replaces() -> None:
    message = Message(TOPIC, {}, b"1", headers=(("a", b"1"),))
    for others in (((HEADER, b"x"),), ((nats.REDRIVE_HEADER, b"x"),), (("Nats-Msg-Id", b"1"),)):
        assert digest_of(replace(message, headers=message.headers + others)) == digest_of(message)
    assert digest_of(replace(message, data=b"2")) != digest_of(message)
    assert digest_of(replace(message, headers=())) != digest_of(message)


# One form


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        "e30=",
        base64url.encode(b"[]"),
        base64url.encode(b'{"id":7}'),
        base64url.encode(b"{}"),
        base64url.encode(b"\xff"),
        base64url.encode(b'{"id":"\\ud800"}'),
        "A" * 16_385,
    ],
    ids=lambda text: text[:12],
)
def test_text_that_is_no_redrive_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"it is|base64url|JSON"):
        read(text)


@pytest.mark.parametrize(
    "dumps", [{"indent": 1}, {"ensure_ascii": True}, {"separators": (", ", ":")}]
)
def test_redrive_has_one_spelling(trade: Trade, desk: Desk, dumps: dict[str, Any]) -> None:
    value = desk.header(desk.letter(placed(trade)), requested_by="jürgen")[1].decode()
    assert write(read(value)) == value
    given: dict[str, Any] = {
        "ensure_ascii": False,
        "separators": (",", ":"),
        "sort_keys": True,
    } | dumps
    other = base64url.encode(json.dumps(read(value), **given).encode())
    assert other != value
    with pytest.raises(ValueError, match="form"):
        read(other)


def test_unknown_attribute_is_rejected(trade: Trade, desk: Desk) -> None:
    value = desk.header(desk.letter(placed(trade)))[1].decode()
    with pytest.raises(ValueError, match="form"):
        read(write(read(value) | {"other": "1"}))


# Any change


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trade, Message]:
    path = tmp_path_factory.mktemp("scene")
    trade = Trade(path)
    accepting(trade)
    return trade, Desk(trade, path).redriven(placed(trade, tenant="acme"))


@given(st.data())
def test_change_of_one_bit_of_a_redrive_is_rejected(
    scene: tuple[Trade, Message], data: st.DataObject
) -> None:
    trade, message = scene
    value = bytearray(dict(message.headers)[HEADER])
    value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    headers = [*original_headers(message.headers), (HEADER, bytes(value))]
    assert isinstance(trade.open(again(message, headers=headers)), Rejection)


@given(st.data())
def test_change_of_one_bit_inside_a_redrive_is_rejected(
    scene: tuple[Trade, Message], data: st.DataObject
) -> None:
    trade, message = scene
    attributes = read(message.attributes[REDRIVE])
    name = data.draw(st.sampled_from(sorted(attributes)))
    value = attributes[name]
    place = data.draw(st.integers(0, len(value) - 1))
    letter = chr(ord(value[place]) ^ 1 << data.draw(st.integers(0, 6)))
    changed = attributes | {name: value[:place] + letter + value[place + 1 :]}
    removed = {key: each for key, each in attributes.items() if key != name}
    for other in (changed, removed):
        headers = [*original_headers(message.headers), (HEADER, write(other).encode())]
        assert reason(trade, again(message, headers=headers)) is Reason.REDRIVE_INVALID


@given(st.data())
def test_change_of_one_bit_of_the_original_is_rejected(
    scene: tuple[Trade, Message], data: st.DataObject
) -> None:
    trade, message = scene
    own = original_headers(message.headers)
    place = data.draw(st.integers(0, len(own)))
    bit = 1 << data.draw(st.integers(0, 7))
    if place == len(own):
        assert message.data is not None
        changed = bytearray(message.data)
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= bit
        found = trade.open(again(message, value=bytes(changed)))
    else:
        name, value = own[place]
        bent_value = bytearray(value)
        bent_value[data.draw(st.integers(0, len(value) - 1))] ^= bit
        others = [*own[:place], (name, bytes(bent_value)), *own[place + 1 :]]
        redrive = (HEADER, dict(message.headers)[HEADER])
        found = trade.open(again(message, redrive, headers=others))
    assert isinstance(found, Rejection)


@given(st.data())
def test_header_that_is_added_removed_or_moved_is_rejected(
    scene: tuple[Trade, Message], data: st.DataObject
) -> None:
    trade, message = scene
    own = list(original_headers(message.headers))
    place = data.draw(st.integers(0, len(own) - 2))
    added = [*own[:place], ("x-other", b"1"), *own[place:]]
    removed = own[:place] + own[place + 1 :]
    moved = [*own[:place], own[place + 1], own[place], *own[place + 2 :]]
    redrive = (HEADER, dict(message.headers)[HEADER])
    for headers in (added, removed, moved):
        assert isinstance(trade.open(again(message, redrive, headers=headers)), Rejection)


@given(st.data())
def test_change_of_one_bit_of_the_target_is_rejected(
    scene: tuple[Trade, Message], data: st.DataObject
) -> None:
    trade, message = scene
    place = data.draw(st.integers(0, len(RETRY) - 1))
    letter = chr(ord(RETRY[place]) ^ 1 << data.draw(st.integers(0, 6)))
    topic = RETRY[:place] + letter + RETRY[place + 1 :]
    assert reason(trade, again(message, topic=topic)) is Reason.REDRIVE_INVALID


def test_scene_of_the_changes_is_accepted(scene: tuple[Trade, Message]) -> None:
    trade, message = scene
    assert isinstance(trade.open(message), Event)
    assert message.attributes["source"] == CHECKOUT
    assert (
        REVIEWER
        in trade.opener().rights(trade.identity(trade.fulfilment).current).granted.reviewers
    )
