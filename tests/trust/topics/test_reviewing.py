"""Grants of a reviewer: what it reads, where it records, and when it may publish again."""

from typing import Any

import pytest

from tests.broker_builders import reviewed_orders, reviewer
from tests.builders import Manifest, identity, namespace
from tests.changed_manifests import GONE, changed
from tests.messaging import NATS, broker, consumer, messaging, policy, producer, review
from tests.trust.topics.topic_scene import (
    BOTH,
    FULFILMENT,
    GUEST,
    ORDERS,
    SHOP,
    USES,
    agreed,
    grants_by_entry,
    older,
)
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import GrantEntry, Purpose
from troth.trust.grants import Grant, Topic
from troth.trust.topics.evaluation import TopicGrant

REVIEWER = Ref("shop", "reviewer")
LETTERS, RETRY = "prod.orders.v1.dlq", "prod.orders.v1.retry"
READ = GrantEntry(REVIEWER, Action.REVIEW, purpose=Purpose.REVIEW, topic=LETTERS)
RECORD = GrantEntry(REVIEWER, Action.PUBLISH, purpose=Purpose.RECORDS, topic=LETTERS)
REDRIVE = GrantEntry(REVIEWER, Action.PUBLISH, purpose=Purpose.REDRIVE)
REDRIVE_RETRY = REDRIVE._replace(topic=RETRY)
RETRYING: Manifest = consumer("fulfilment", "fulfilment") | {"retry": {"topic": RETRY}}
USED: dict[tuple[str, str], tuple[list[Any], ...]] = {**USES, REVIEWER: ([], [], [ORDERS])}


def found(*manifests: Manifest, uses: Any = None, of: Ref = ORDERS) -> dict[GrantEntry, TopicGrant]:
    """Return the grants of a policy beside a reviewer; later manifests replace earlier."""
    everything = [*SHOP, *BOTH, broker(), reviewed_orders(), reviewer(), *manifests]
    return grants_by_entry(*everything, uses=USED if uses is None else uses, of=of)


def state(grant: TopicGrant) -> tuple[GrantState, str]:
    return grant.state, grant.reason


def test_reviewer_reads_and_records_without_any_review() -> None:
    grants = found()
    live = {each.grant for each in grants.values() if each.state is GrantState.LIVE}
    assert {each for each in live if each is not None and each.principal.endswith("reviewer")} == {
        Grant("troth-shop.reviewer", Action.REVIEW, Topic(LETTERS)),
        Grant("troth-shop.reviewer", Action.PUBLISH, Topic(LETTERS)),
    }
    assert state(grants[REDRIVE]) == (GrantState.INACTIVE, "NoApprovedReview")


def test_approved_review_lets_the_reviewer_publish_to_the_policys_topic() -> None:
    assert found(review())[REDRIVE].grant == Grant(
        "troth-shop.reviewer", Action.PUBLISH, Topic("prod.orders.v1")
    )
    assert found(review())[REDRIVE].state is GrantState.LIVE


WITHDRAWN: dict[str, Any] = {"withdrawal": {"withdrawnBy": "alice", "reason": "not needed"}}


@pytest.mark.parametrize(
    "made",
    [
        review(approved=False),
        review(**WITHDRAWN),
        review(action="Discard"),
        review(action="Quarantine"),
        review(policy={"name": "other"}),
        review(namespace="other"),
        *(review() | {"status": {"phase": each}} for each in ("Completed", "Withdrawn", "Refused")),
        changed(
            changed(review(), "metadata.deletionTimestamp", "2026-11-28T00:00:00Z"),
            "metadata.finalizers",
            ["troth.dev/review"],
        ),
    ],
    ids=[
        *("not approved", "withdrawn", "discards", "quarantines", "of another policy", "elsewhere"),
        *("completed", "ended as withdrawn", "refused", "being deleted"),
    ],
)
def test_other_reviews_give_no_right_to_publish(made: Manifest) -> None:
    assert state(found(made)[REDRIVE]) == (GrantState.INACTIVE, "NoApprovedReview")


def test_request_suffices_where_no_approval_is_required() -> None:
    free = changed(reviewed_orders(), "spec.deadLetter.approvals", 0)
    assert found(free, review(approved=False))[REDRIVE].state is GrantState.LIVE
    assert found(free)[REDRIVE].state is GrantState.INACTIVE


def test_running_review_keeps_the_right_and_another_one_that_ended_takes_nothing() -> None:
    running = review() | {"status": {"phase": "Running"}}
    ended = review("earlier") | {"status": {"phase": "Completed"}}
    assert found(running, ended)[REDRIVE].state is GrantState.LIVE


def test_retry_topic_is_consumed_and_takes_the_place_of_the_policys_topic() -> None:
    grants = found(reviewed_orders(consumers=[RETRYING]), review())
    retry = GrantEntry(FULFILMENT, Action.CONSUME, "fulfilment", Purpose.RETRY, RETRY)
    assert grants[retry].grant == Grant(
        "troth-shop.fulfilment", Action.CONSUME, Topic(RETRY), "fulfilment"
    )
    assert grants[REDRIVE_RETRY].state is GrantState.LIVE
    assert REDRIVE not in grants


def test_several_consumers_need_retry_topics() -> None:
    others = [consumer("fulfilment", "other")]
    grants = found(reviewed_orders(consumers=[RETRYING, *others]), review())
    assert grants[REDRIVE].state is GrantState.INACTIVE
    assert grants[REDRIVE].reason == "RetryTopicMissing"
    assert grants[REDRIVE_RETRY].state is GrantState.LIVE
    assert "consumers[].retry" in grants[REDRIVE].message


def test_consumer_that_does_not_agree_receives_nothing_and_is_no_second_one() -> None:
    both = [consumer("fulfilment", "fulfilment"), consumer("stranger", "other")]
    grants = found(reviewed_orders(consumers=both), review())
    assert grants[REDRIVE].state is GrantState.LIVE


def test_each_side_is_named_if_it_is_missing() -> None:
    alone = found(uses=USES)[READ]
    assert state(alone) == (GrantState.AWAITING_IDENTITY, "PolicyNotNamed")
    assert alone.message == "shop/reviewer does not name shop/orders; add it to its reviews"
    unnamed = found(reviewed_orders(deadLetter={"topic": LETTERS}))[READ]
    assert state(unnamed) == (GrantState.AWAITING_POLICY, "IdentityNotNamed")
    assert unnamed.message == (
        "shop/orders does not name shop/reviewer; set its deadLetter.reviewer"
    )


def test_policy_without_dead_letters_has_nothing_to_review() -> None:
    bare = policy(producers=[producer("checkout")])
    (grant,) = (each for each in found(bare).values() if each.entry.purpose is Purpose.REVIEW)
    assert (grant.state, grant.grant) == (GrantState.AWAITING_POLICY, None)


@pytest.mark.parametrize("role", ["producers", "consumers"])
def test_producer_or_consumer_cannot_review(role: str) -> None:
    named = {"identity": {"name": "reviewer"}} | ({"group": "g"} if role == "consumers" else {})
    uses = {**USED, REVIEWER: ([ORDERS], [ORDERS], [ORDERS])}
    grants = found(reviewed_orders(**{role: [named]}), review(), uses=uses)
    for entry in (READ, RECORD, *(each for each in grants if each.purpose is Purpose.REDRIVE)):
        assert state(grants[entry]) == (GrantState.REFUSED, "DutiesNotSeparate")
    assert any(
        each.state is GrantState.LIVE for each in grants.values() if each.entry.identity == REVIEWER
    ), "its other role stays"


def test_unowned_retry_topic_is_refused_on_both_sides() -> None:
    retrying = changed(RETRYING, "retry.topic", "dead.retry")
    grants = found(reviewed_orders(consumers=[retrying]), review())
    about = [each for each in grants.values() if each.entry.topic == "dead.retry"]
    assert [state(each) for each in about] == [(GrantState.REFUSED, "TopicNotOwned")] * 2


def test_nothing_is_redriven_to_a_retry_topic_that_the_consumer_may_not_read() -> None:
    retrying = changed(RETRYING, "group", "foreign")
    grants = found(broker(groups=["fulfilment"]), reviewed_orders(consumers=[retrying]), review())
    assert state(grants[REDRIVE_RETRY]) == (GrantState.INACTIVE, "RetryTopicNotReceived")
    assert "GroupNotOwned" in grants[REDRIVE_RETRY].message


# Topics of several policies

RETRY_ENTRY = GrantEntry(FULFILMENT, Action.CONSUME, "fulfilment", Purpose.RETRY, RETRY)


def rival_policy(namespace: str = "shop", **spec: Any) -> Manifest:
    """Return another policy, by default with a guest as its producer and consumer."""
    usual: dict[str, Any] = {
        "topic": {"name": "prod.rival"},
        "producers": [producer(GUEST)],
        "consumers": [consumer(GUEST, "packing")],
    }
    return policy("rival", namespace, **usual | spec)


RIVALS = {
    "its topic": rival_policy(topic={"name": RETRY}),
    "its prefix": rival_policy(topic={"prefix": "prod.orders.v1.re"}),
    "its dead letters": rival_policy(deadLetter={"topic": RETRY}),
    "its retry topic": rival_policy(consumers=[consumer(GUEST, "g") | {"retry": {"topic": RETRY}}]),
    "of another namespace": rival_policy("other", topic={"name": RETRY}),
}
"""Other policies with a right on the retry topic of `orders`."""


def contested(mine: Manifest, rival: Manifest, of: Ref = ORDERS) -> dict[GrantEntry, TopicGrant]:
    there = rival["metadata"]["namespace"]
    guests = [namespace("other", domain="production"), identity(GUEST, there)]
    everything = [*SHOP, *BOTH, broker(), mine, reviewer(), rival, *guests, review()]
    return grants_by_entry(*everything, uses=agreed(rival, USED), of=of)


@pytest.mark.parametrize("rival", RIVALS.values(), ids=list(RIVALS))
def test_retry_topic_that_an_older_policy_has_too_is_suspended(rival: Manifest) -> None:
    grants = contested(reviewed_orders(consumers=[RETRYING]), older(rival))
    assert state(grants[RETRY_ENTRY]) == (GrantState.SUSPENDED, "RetryTopicShared")
    assert f"TopicPolicy {Ref.of(rival)}" in grants[RETRY_ENTRY].message
    assert state(grants[REDRIVE_RETRY]) == (GrantState.INACTIVE, "RetryTopicNotReceived")
    assert "RetryTopicShared" in grants[REDRIVE_RETRY].message


@pytest.mark.parametrize("rival", RIVALS.values(), ids=list(RIVALS))
def test_newer_policy_is_granted_nothing_on_a_retry_topic(rival: Manifest) -> None:
    mine = older(reviewed_orders(consumers=[RETRYING]))
    grants = contested(mine, rival)
    assert grants[RETRY_ENTRY].state is grants[REDRIVE_RETRY].state is GrantState.LIVE
    theirs = contested(mine, rival, Ref.of(rival)).values()
    named = [each for each in theirs if each.state is not GrantState.AWAITING_POLICY]
    meeting = [each for each in named if each.grant and meets_retry_topic(each.grant.topic)]
    assert {state(each) for each in meeting} == {(GrantState.SUSPENDED, "RetryTopicShared")}


def meets_retry_topic(topic: Topic) -> bool:
    return RETRY.startswith(topic.name) if topic.prefix else topic.name == RETRY


@pytest.mark.parametrize("rival", RIVALS.values(), ids=list(RIVALS))
def test_policy_that_is_granted_nothing_suspends_no_retry_topic(rival: Manifest) -> None:
    other = namespace("other", domain="production")
    grants = found(reviewed_orders(consumers=[RETRYING]), older(rival), other, review())
    assert grants[RETRY_ENTRY].state is grants[REDRIVE_RETRY].state is GrantState.LIVE


@pytest.mark.parametrize(
    "rival",
    [
        rival_policy(topic={"name": RETRY + ".more"}),
        rival_policy(topic={"name": RETRY}, at=("messaging", "elsewhere")),
        rival_policy("other", topic={"name": RETRY}),
    ],
    ids=["another topic", "at another broker", "of a namespace that the broker does not admit"],
)
def test_retry_topic_of_one_policy_is_live(rival: Manifest) -> None:
    guest, uses = identity(GUEST, rival["metadata"]["namespace"]), agreed(rival, USED)
    mine = reviewed_orders(consumers=[RETRYING])
    grants = found(mine, older(rival), guest, review(), uses=uses)
    assert grants[RETRY_ENTRY].state is GrantState.LIVE
    assert grants[REDRIVE_RETRY].state is GrantState.LIVE


def test_retry_topic_is_live_again_after_the_other_policy_is_gone() -> None:
    rival = older(rival_policy(topic={"prefix": "prod.orders.v1.re"}))
    manifests = [*SHOP, *BOTH, broker(), reviewed_orders(consumers=[RETRYING]), reviewer(), rival]
    manifests.append(identity(GUEST))
    declared = messaging(*manifests, uses=agreed(rival, USED))
    assert grants_by_entry(*manifests, about=declared)[RETRY_ENTRY].reason == "RetryTopicShared"
    declared.drop_policy(Ref("shop", "rival"))
    assert grants_by_entry(*manifests, about=declared)[RETRY_ENTRY].state is GrantState.LIVE


@pytest.mark.parametrize(
    "topic",
    [{"name": "prod.orders.v1"}, {"prefix": "prod.orders."}, {"name": RETRY}],
    ids=["the same topic", "a prefix of it", "the retry topic"],
)
def test_producer_of_another_policy_of_the_topic_cannot_review(topic: dict[str, str]) -> None:
    second = policy("second", topic=topic, producers=[producer("reviewer")])
    consenting = {**USED, REVIEWER: ([Ref("shop", "second")], [], [ORDERS])}
    mine = reviewed_orders(consumers=[RETRYING])
    grants = found(mine, second, review(), uses=consenting)
    for entry in (READ, RECORD, REDRIVE_RETRY):
        assert state(grants[entry])[1] in {"DutiesNotSeparate", "RetryTopicNotReceived"}
    assert state(grants[READ]) == (GrantState.REFUSED, "DutiesNotSeparate")
    assert "TopicPolicy shop/second" in grants[READ].message
    refused = found(mine, second, review(), uses=USED)[READ]
    assert refused.state is GrantState.LIVE, "a policy of somebody else takes no grant away"


def test_reviewer_may_be_a_producer_of_another_topic() -> None:
    second = policy("second", topic={"name": "prod.second"}, producers=[producer("reviewer")])
    consenting = {**USED, REVIEWER: ([Ref("shop", "second")], [], [ORDERS])}
    assert found(second, review(), uses=consenting)[READ].state is GrantState.LIVE


# Streams

STORED: dict[str, Any] = {
    "topic": {"name": "prod.orders.v1", "stream": "ORDERS"},
    "deadLetter": {"topic": LETTERS, "reviewer": {"name": "reviewer"}, "stream": "DLQ"},
}
READ_STREAM = READ._replace(stream="DLQ")


def nats(*manifests: Manifest, uses: Any = None, of: Ref = ORDERS) -> dict[GrantEntry, TopicGrant]:
    owned = broker(described=NATS, more={"streams": ["ORDERS", "DLQ", "RETRY"]})
    return found(owned, *(manifests or (reviewed_orders(**STORED),)), uses=uses, of=of)


def test_reviewer_reads_the_stream_of_the_dead_letters() -> None:
    grants = nats()
    assert grants[READ_STREAM].state is GrantState.LIVE
    assert grants[READ_STREAM].grant == Grant(
        "troth-shop.reviewer", Action.REVIEW, Topic(LETTERS), stream="DLQ"
    )


def test_dead_letters_at_nats_need_a_stream_for_a_reviewer() -> None:
    without = {"topic": LETTERS, "reviewer": {"name": "reviewer"}}
    grant = nats(reviewed_orders(**STORED | {"deadLetter": without}))[READ]
    assert state(grant) == (GrantState.REFUSED, "StreamMissing")
    assert "set deadLetter.stream" in grant.message


def test_stream_of_dead_letters_must_be_owned_and_known_to_the_broker() -> None:
    elsewhere = changed(reviewed_orders(**STORED), "spec.deadLetter.stream", "OTHER")
    grants = nats(elsewhere)
    other = READ._replace(stream="OTHER")
    assert state(grants[other]) == (GrantState.REFUSED, "StreamNotOwned")
    at_kafka = changed(reviewed_orders(), "spec.deadLetter.stream", "DLQ")
    assert state(found(at_kafka)[READ_STREAM]) == (GrantState.REFUSED, "StreamNotKnown")


STORED_TOPIC = {"name": "prod.rival", "stream": "ORDERS"}
IN_STREAM = {
    "messages": rival_policy(topic={"name": "prod.rival", "stream": "DLQ"}),
    "retries": rival_policy(
        topic=STORED_TOPIC,
        consumers=[consumer(GUEST, "g") | {"retry": {"topic": "prod.again", "stream": "DLQ"}}],
    ),
    "letters of another reviewer": rival_policy(
        topic=STORED_TOPIC,
        deadLetter={"topic": "prod.rival.dlq", "stream": "DLQ", "reviewer": {"name": "other"}},
    ),
    "letters of no reviewer": rival_policy(
        topic=STORED_TOPIC, deadLetter={"topic": "prod.rival.dlq", "stream": "DLQ"}
    ),
}
"""Other policies with messages in the stream of the dead letters of `orders`."""


@pytest.mark.parametrize("rival", IN_STREAM.values(), ids=list(IN_STREAM))
def test_stream_with_messages_that_are_not_reviewed_suspends_the_reviewer(rival: Manifest) -> None:
    mine, guest, uses = reviewed_orders(**STORED), identity(GUEST), agreed(rival, USED)
    grant = nats(mine, older(rival), guest, uses=uses)[READ_STREAM]
    assert state(grant) == (GrantState.SUSPENDED, "StreamShared")
    assert "TopicPolicy shop/rival" in grant.message
    assert nats(mine, older(rival), guest)[READ_STREAM].state is GrantState.LIVE


@pytest.mark.parametrize("rival", IN_STREAM.values(), ids=list(IN_STREAM))
def test_newer_policy_stores_nothing_in_a_stream_that_is_reviewed(rival: Manifest) -> None:
    declared = [older(reviewed_orders(**STORED)), rival, identity(GUEST)]
    uses = agreed(rival, USED)
    assert nats(*declared, uses=uses)[READ_STREAM].state is GrantState.LIVE
    theirs = nats(*declared, uses=uses, of=Ref.of(rival)).values()
    shared = [each for each in theirs if each.reason == "StreamShared"]
    assert shared
    assert "as the reviewer of TopicPolicy shop/orders" in shared[0].message


def test_one_reviewer_may_have_the_dead_letters_of_several_policies_in_one_stream() -> None:
    second = policy(
        "second",
        topic={"name": "prod.second", "stream": "ORDERS"},
        deadLetter={"topic": "prod.second.dlq", "stream": "DLQ", "reviewer": {"name": "reviewer"}},
    )
    assert nats(reviewed_orders(**STORED), second)[READ_STREAM].state is GrantState.LIVE


def test_durable_consumer_of_a_retry_stream_belongs_to_one_identity() -> None:
    retrying = changed(RETRYING, "retry.stream", "RETRY")
    rival = rival_policy(
        topic={"name": "prod.rival", "stream": "RETRY"}, consumers=[consumer(GUEST, "fulfilment")]
    )
    entry = GrantEntry(
        *(FULFILMENT, Action.CONSUME, "fulfilment", Purpose.RETRY, RETRY), stream="RETRY"
    )
    mine = reviewed_orders(**STORED | {"consumers": [retrying]})
    assert nats(mine)[entry].state is GrantState.LIVE
    grants = nats(mine, older(rival), identity(GUEST), uses=agreed(rival, USED))
    assert state(grants[entry]) == (GrantState.SUSPENDED, "GroupShared")


@pytest.mark.parametrize(
    ("retry", "refused"),
    [
        ({"topic": RETRY}, "StreamMissing"),
        ({"topic": RETRY, "stream": "FOREIGN"}, "StreamNotOwned"),
    ],
    ids=["no stream", "stream of somebody else"],
)
def test_nothing_is_redriven_to_a_retry_topic_without_a_stream(
    retry: dict[str, str], refused: str
) -> None:
    grants = nats(
        reviewed_orders(**STORED | {"consumers": [RETRYING | {"retry": retry}]}), review()
    )
    (receives,) = (each for each in grants.values() if each.entry.purpose is Purpose.RETRY)
    assert state(receives) == (GrantState.REFUSED, refused)
    assert state(grants[REDRIVE_RETRY]) == (GrantState.INACTIVE, "RetryTopicNotReceived")


def test_retry_topic_of_stored_letters_needs_a_stream_even_where_the_broker_owns_none() -> None:
    unstored = changed(reviewed_orders(**STORED), "spec.topic.stream", GONE)
    grants = found(
        broker(described=NATS), changed(unstored, "spec.consumers", [RETRYING]), review()
    )
    (receives,) = (each for each in grants.values() if each.entry.purpose is Purpose.RETRY)
    assert state(receives) == (GrantState.REFUSED, "StreamMissing")


# Reviews that cannot be read


@pytest.mark.parametrize("namespace", ["", "shop"])
def test_nothing_is_redriven_while_reviews_cannot_be_read(namespace: str) -> None:
    manifests = [*SHOP, *BOTH, broker(), reviewed_orders(), reviewer(), review()]
    declared = messaging(*manifests, uses=USED)
    assert declared.reviews.note_hidden(namespace, hidden=True)
    grants = grants_by_entry(*manifests, about=declared)
    assert state(grants[REDRIVE]) == (GrantState.INACTIVE, "ReviewsNotReadable")
    assert grants[READ].state is GrantState.LIVE
    assert not declared.reviews.note_hidden(namespace, hidden=True)
    declared.reviews.note_hidden(namespace, hidden=False)
    assert grants_by_entry(*manifests, about=declared)[REDRIVE].state is GrantState.LIVE


def test_reviews_of_another_namespace_that_cannot_be_read_change_nothing() -> None:
    manifests = [*SHOP, *BOTH, broker(), reviewed_orders(), reviewer(), review()]
    declared = messaging(*manifests, uses=USED)
    declared.reviews.note_hidden("elsewhere", hidden=True)
    assert grants_by_entry(*manifests, about=declared)[REDRIVE].state is GrantState.LIVE
