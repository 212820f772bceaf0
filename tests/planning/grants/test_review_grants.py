"""Grants of a reviewer in the status of its policy, and at the broker of the policy."""

from dataclasses import replace

import pytest

from tests.broker_builders import (
    CHECKOUT,
    FULFILMENT,
    MAIN,
    ORDERS,
    declared_at,
    give_credentials,
    keep_ledger,
    ledger_of,
    market,
    reviewed_orders,
    reviewer,
    sync_broker,
)
from tests.broker_plans import plan_with_inputs
from tests.builders import DAY, HOUR, NOW, Cluster, Manifest, identity, stamp
from tests.changed_manifests import changed
from tests.messaging import NATS, broker, consumer, policy, producer, review
from tests.planning.grants.test_topic_policy import KEY, entries, verdicts
from troth.planning.grants.changes import Brake, broker_changes
from troth.planning.grants.view import grants_at
from troth.resources.references import Ref
from troth.trust.grants import Rule
from troth.world.facts.broker import Ledger
from troth.world.facts.objects import UNREADABLE
from troth.world.keys import broker_key, identity_key
from troth.world.outcomes.reviews import ReviewsRead
from troth.world.reader import Reader

REVIEWER = Ref("shop", "reviewer")
LETTERS, RETRY = "prod.orders.v1.dlq", "prod.orders.v1.retry"
REDRIVE = Rule("troth-shop.reviewer", "TOPIC", "LITERAL", RETRY, "WRITE", host="*")
RETRYING = [consumer("fulfilment", "fulfilment") | {"retry": {"topic": RETRY}}]
COMPLETED = {"status": {"phase": "Completed"}}


def reviewed(*manifests: Manifest) -> Cluster:
    """Return a market with a reviewer, whose broker has what is granted."""
    cluster = market(reviewed_orders(consumers=RETRYING), reviewer(), *manifests)
    give_credentials(cluster, CHECKOUT, FULFILMENT, REVIEWER)
    cluster.visit(KEY)
    sync_broker(cluster)
    cluster.visit(KEY)
    return cluster


def shown(cluster: Cluster) -> list[tuple[str, str, str | None, str]]:
    return [
        (each["identity"], each["action"], each.get("topic"), each["state"])
        for each in entries(cluster)
    ]


def test_status_shows_each_topic_of_a_reviewer_and_a_waiting_redrive_is_no_fault() -> None:
    cluster = reviewed()
    assert shown(cluster) == [
        ("shop/checkout", "Publish", None, "InSync"),
        ("shop/fulfilment", "Consume", None, "InSync"),
        ("shop/fulfilment", "Consume", RETRY, "InSync"),
        ("shop/fulfilment", "Publish", LETTERS, "InSync"),
        ("shop/reviewer", "Publish", LETTERS, "InSync"),
        ("shop/reviewer", "Publish", RETRY, "Inactive"),
        ("shop/reviewer", "Review", LETTERS, "InSync"),
    ]
    assert verdicts(cluster)["Ready"] == ("True", "InPlace")
    assert verdicts(cluster)["PeersAgree"] == ("True", "AllAgree")


def test_missing_side_of_a_reviewer_is_told() -> None:
    cluster = reviewed(reviewer("reviewer", "other"))
    assert verdicts(cluster)["PeersAgree"] == ("False", "PolicyNotNamed")
    assert verdicts(cluster)["Ready"] == ("True", "InPlace")


def test_right_to_redrive_exists_at_the_broker_only_during_an_approved_review() -> None:
    cluster = reviewed()
    assert REDRIVE not in ledger_of(cluster).rules
    assert {broker_key(MAIN), KEY} <= cluster.put(review())
    assert REDRIVE in sync_broker(cluster).rules
    assert shown(cluster)[5] == ("shop/reviewer", "Publish", RETRY, "InSync")
    assert {broker_key(MAIN), KEY} <= cluster.put(review() | COMPLETED)
    assert REDRIVE not in sync_broker(cluster).rules
    assert shown(cluster)[5][3] == "Inactive"


def test_review_affects_the_reviewer_whose_only_right_is_the_redrive() -> None:
    letters = {"topic": "elsewhere.dlq", "reviewer": {"name": "reviewer"}}
    cluster = reviewed(reviewed_orders(consumers=RETRYING, deadLetter=letters))
    before = plan_with_inputs(cluster, identity_key(REVIEWER))
    affected = cluster.put(review())
    assert plan_with_inputs(cluster, identity_key(REVIEWER)) != before
    assert identity_key(REVIEWER) in affected
    affected = cluster.world.observe_outcome(ReviewsRead("", hidden=True))
    assert plan_with_inputs(cluster, identity_key(REVIEWER)) == before
    assert identity_key(REVIEWER) in affected


def test_deleted_review_takes_the_right_with_it() -> None:
    cluster = reviewed(review())
    assert REDRIVE in ledger_of(cluster).rules
    assert broker_key(MAIN) in cluster.drop("DeadLetterReview", Ref("shop", "fix"))
    assert REDRIVE not in sync_broker(cluster).rules


def test_unreadable_review_gives_no_right() -> None:
    cluster = reviewed(review())
    cluster.put({**review(), "spec": None, UNREADABLE: "too deep"})
    assert REDRIVE not in sync_broker(cluster).rules
    cluster.put(review())
    assert REDRIVE in sync_broker(cluster).rules
    cluster.put(changed(review(), "spec.action", "Explode"))
    assert REDRIVE not in sync_broker(cluster).rules


def test_progress_of_a_review_plans_nothing_again() -> None:
    cluster = reviewed(review())
    running = review() | {"status": {"phase": "Running", "counts": {"redriven": 7}}}
    assert cluster.put(running) == set()


def test_reviews_that_cannot_be_read_end_the_right() -> None:
    cluster = reviewed(review())
    hidden = cluster.world.observe_outcome(ReviewsRead("shop", hidden=True))
    assert {broker_key(MAIN), KEY} <= hidden
    assert REDRIVE not in sync_broker(cluster).rules
    reason = next(each["reason"] for each in entries(cluster) if each["state"] == "Inactive")
    assert reason == "ReviewsNotReadable"
    assert cluster.world.observe_outcome(ReviewsRead("shop", hidden=True)) == set()
    cluster.world.observe_outcome(ReviewsRead("shop", hidden=False))
    assert REDRIVE in sync_broker(cluster).rules


def test_right_to_redrive_does_not_outlive_the_policy() -> None:
    retained = reviewed_orders(consumers=RETRYING, onDelete="Retain")
    cluster = reviewed(retained, broker(retention="Allow"), review())
    before = ledger_of(cluster).rules
    assert REDRIVE in before
    cluster.delete("TopicPolicy", ORDERS)
    after = sync_broker(cluster)
    assert after.rules == after.retained == before - {REDRIVE}


def test_end_of_a_review_is_not_braked() -> None:
    groups = [f"g{number}" for number in range(30)]
    consumers = [
        consumer("fulfilment", group) | {"retry": {"topic": f"prod.retry.{group}"}}
        for group in groups
    ]
    cluster = reviewed(reviewed_orders(consumers=consumers), review())
    redrives = frozenset(
        each
        for each in ledger_of(cluster).rules
        if (each.name[:10], each.operation) == ("prod.retry", "WRITE")
    )
    assert len(redrives) == len(groups)
    cluster.put(review() | COMPLETED)
    declared = declared_at(cluster, MAIN)
    ledger = ledger_of(cluster)
    wanted = grants_at(declared, ledger, Reader(cluster.world)).wanted
    due = broker_changes(
        wanted, ledger.rules, ledger.rules, principal_prefix="troth-", brake=Brake(20)
    )
    assert (due.removals, due.braked) == (redrives, frozenset())
    lasting = frozenset(each for each in ledger.rules if each not in redrives)
    nothing = replace(wanted, rules=frozenset())
    due = broker_changes(
        nothing, ledger.rules, ledger.rules, principal_prefix="troth-", brake=Brake(20)
    )
    assert (due.removals, due.braked) == (redrives, lasting)


def test_redrive_in_a_ledger_of_an_earlier_operator_is_removed() -> None:
    cluster = reviewed()
    ledger = ledger_of(cluster)
    keep_ledger(cluster, Ledger(ledger.rules | {REDRIVE}, credentials=ledger.credentials))
    assert REDRIVE not in sync_broker(cluster).rules


RIVALS = {"its topic": {"name": RETRY}, "its prefix": {"prefix": "prod.orders.v1.r"}}


@pytest.mark.parametrize("topic", RIVALS.values(), ids=list(RIVALS))
def test_retry_topic_is_checked_again_when_an_older_claim_comes_and_goes(topic: Manifest) -> None:
    cluster, named = reviewed(review()), topic.get("name") or f"{topic['prefix']}*"
    claim = {"kind": "Topic", "name": named, "broker": str(MAIN), "since": stamp(NOW - DAY)}
    rival = policy("rival", topic=topic, producers=[producer("guest")])
    guest = identity("guest", publishes=[{"policy": {"name": "rival"}}])
    around = {broker_key(MAIN), KEY}
    cluster.put(rival | {"status": {"claims": [claim]}})
    assert REDRIVE in sync_broker(cluster).rules, "nobody consents to it"
    assert around <= cluster.put(guest)
    assert REDRIVE not in sync_broker(cluster).rules
    assert around <= cluster.drop("ServiceIdentity", Ref("shop", "guest"))
    assert REDRIVE in sync_broker(cluster).rules
    cluster.put(guest)
    assert around <= cluster.put(rival | {"status": {"claims": []}})
    assert REDRIVE in sync_broker(cluster).rules, "now its claim is the newer one"
    assert around <= cluster.put(rival | {"status": {"claims": [claim]}})
    assert around <= cluster.drop("TopicPolicy", Ref("shop", "rival"))
    assert REDRIVE in sync_broker(cluster).rules


def test_accepted_claims_are_in_the_status_until_their_grants_are_refused() -> None:
    cluster = reviewed()
    status = cluster.objects["TopicPolicy", ORDERS]["status"]["claims"]
    assert [(each["kind"], each["name"]) for each in status] == [
        ("Group", "fulfilment"),
        ("Topic", "prod.orders.v1"),
        ("Topic", LETTERS),
        ("Topic", RETRY),
    ]
    assert {each["since"] for each in status} == {stamp(NOW)}
    cluster.now += HOUR
    assert cluster.plan(KEY).status == cluster.objects["TopicPolicy", ORDERS]["status"]
    cluster.put(identity("twin", account="fulfilment"))  # suspends, and takes nothing
    assert claimed(cluster) == status
    cluster.drop("ServiceIdentity", Ref("shop", "twin"))
    cluster.drop("ServiceIdentity", FULFILMENT)
    assert [each["name"] for each in claimed(cluster)] == ["prod.orders.v1", LETTERS, RETRY]


def claimed(cluster: Cluster) -> list[Manifest]:
    status = cluster.plan(KEY).status
    assert status is not None
    found: list[Manifest] = status["claims"]
    return found


def test_reviewer_is_checked_again_when_another_policy_lets_it_publish() -> None:
    both = reviewer(publishes=[{"policy": {"name": "second"}}])
    cluster = reviewed(review(), both)
    assert REDRIVE in ledger_of(cluster).rules
    second = policy("second", topic={"name": RETRY[:-1]}, producers=[producer("reviewer")])
    cluster.put(second)
    assert REDRIVE in sync_broker(cluster).rules
    assert {broker_key(MAIN), KEY} <= cluster.put(
        changed(second, "spec.topic", {"name": "prod.orders.v1"})
    )
    assert verdicts(cluster)["GrantsInSync"][1] == "DutiesNotSeparate"
    assert KEY in cluster.put(changed(second, "spec.producers", []))
    assert verdicts(cluster)["GrantsInSync"][1] != "DutiesNotSeparate"


def test_brake_holds_what_a_reviewer_needs_without_a_review() -> None:
    """At NATS, publishing and reading need the same inbox."""
    stored = {
        "topic": {"name": "prod.orders.v1", "stream": "ORDERS"},
        "consumers": [
            consumer("fulfilment", "fulfilment") | {"retry": {"topic": RETRY, "stream": "RETRY"}}
        ],
        "deadLetter": {"topic": LETTERS, "reviewer": {"name": "reviewer"}, "stream": "DLQ"},
    }
    at_nats = broker(described=NATS, more={"streams": ["ORDERS", "DLQ", "RETRY"]})
    cluster = market(at_nats, reviewed_orders(**stored), reviewer(), review())
    give_credentials(cluster, CHECKOUT, FULFILMENT, REVIEWER)
    cluster.visit(KEY)
    declared, ledger = declared_at(cluster, MAIN), Ledger()
    wanted = grants_at(declared, ledger, Reader(cluster.world)).wanted
    inbox = next(
        each
        for each in wanted.rules
        if each.name.startswith("_INBOX_") and each.principal == REDRIVE.principal
    )
    assert {each.name for each in wanted.temporary} == {RETRY}
    nothing = replace(wanted, rules=frozenset())
    due = broker_changes(
        nothing, wanted.rules, wanted.rules, principal_prefix="troth-", brake=Brake(0)
    )
    assert inbox in due.braked
    assert {each.name for each in due.removals} == {RETRY}
