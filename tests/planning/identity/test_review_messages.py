"""Reviews in `identity.json`: the reviewer's entry, and what a consumer knows of reviews."""

import json
from typing import Any

from tests.builders import Cluster, Manifest, domain, identity, shop
from tests.changed_manifests import GONE, changed
from tests.messaging import NATS, broker, consumer, older_claim, policy, producer
from tests.planning.identity.test_messages import (
    CHECKOUT,
    ORDERS,
    checkout,
    document,
    entries_of,
    fulfilment,
    names,
    unreadable,
)

FULFILMENT = "spiffe://production.example/ns/shop/sa/fulfilment"
REVIEWER = "spiffe://production.example/ns/shop/sa/reviewer"
LETTERS = "prod.orders.v1.dlq"
RETRY = {"topic": "prod.orders.v1.retry"}
REVIEWED: dict[str, Any] = ORDERS | {
    "consumers": [consumer("fulfilment", "fulfilment") | {"retry": RETRY}],
    "deadLetter": {"topic": LETTERS, "reviewer": {"name": "reviewer"}},
}


def reviewer(**spec: Any) -> Manifest:
    return identity("reviewer", **{"reviews": names("orders")} | spec)


def stage(*others: Manifest, **changes: Any) -> Cluster:
    declared = policy(**REVIEWED | changes)
    return shop(broker(), declared, checkout(), fulfilment(), reviewer(), *others)


def only_entry(cluster: Cluster, name: str) -> dict[str, Any]:
    (entry,) = entries_of(cluster, name)
    return entry


def test_reviewer_gets_the_consumers_and_the_rules_of_reviews() -> None:
    entry = only_entry(stage(), "reviewer")
    assert entry.pop("schemas")
    assert entry == {
        "policy": "shop/orders",
        "action": "Review",
        "broker": "messaging/main",
        "type": "kafka",
        "topic": "prod.orders.v1",
        "principal": "troth-shop.reviewer",
        "environment": "production",
        "context": {"require": ["Actor", "Tenant"], "evidence": "Producer", "maxAge": 604_800},
        "deadLetter": {
            "topic": LETTERS,
            "review": "Required",
            "approvals": 1,
            "redriveLimit": 3,
            "retention": 2160 * 3600,
        },
        "producers": [CHECKOUT],
        "reviewers": [REVIEWER],
        "consumers": [{"spiffeIDs": [FULFILMENT], "group": "fulfilment", "retry": RETRY}],
    }


def test_reviewer_knows_its_names_in_every_trust_domain() -> None:
    cluster = stage()
    assert only_entry(cluster, "reviewer")["reviewers"] == [REVIEWER]
    selector = domain()["spec"]["namespaceSelector"]
    cluster.put(domain("next", namespaceSelector=selector))
    claimed = REVIEWER.replace("production.example", "next.example")
    assert only_entry(cluster, "reviewer")["reviewers"] == sorted([claimed, REVIEWER])


def test_declared_rules_of_reviews_are_listed() -> None:
    letters = {
        **REVIEWED["deadLetter"],
        "stream": "DLQ",
        "approvals": 0,
        "redriveLimit": 7,
        "retention": "48h",
        "review": "Optional",
    }
    cluster = stage(
        broker(described=NATS, more={"streams": ["ORDERS", "DLQ"]}),
        topic={"name": "prod.orders.v1", "stream": "ORDERS"},
        consumers=[consumer("fulfilment", "fulfilment")],
        deadLetter=letters,
    )
    entry = only_entry(cluster, "reviewer")
    assert entry["stream"] == "ORDERS"
    assert entry["deadLetter"] == {
        "topic": LETTERS,
        "stream": "DLQ",
        "review": "Optional",
        "approvals": 0,
        "redriveLimit": 7,
        "retention": 48 * 3600,
    }
    assert entry["consumers"] == [{"spiffeIDs": [FULFILMENT], "group": "fulfilment"}]


def test_consumer_gets_its_retry_topic_and_the_reviewer() -> None:
    entry = only_entry(stage(), "fulfilment")
    assert entry["retry"] == RETRY
    assert entry["reviewers"] == [REVIEWER]
    assert entry["deadLetter"] == {"topic": LETTERS, "review": "Required"}
    assert "consumers" not in entry


def test_consumer_of_a_policy_without_reviewer_has_no_member_of_reviews() -> None:
    """An edge library of an earlier version rejects a document with a member that is new."""
    cluster = shop(broker(), policy(**ORDERS), checkout(), fulfilment())
    assert not {"retry", "reviewers", "consumers"} & only_entry(cluster, "fulfilment").keys()
    assert not {"retry", "reviewers", "consumers"} & only_entry(cluster, "checkout").keys()


def test_tenants_of_each_consumer_are_listed_for_the_reviewer() -> None:
    consumers = [
        consumer("fulfilment", "fulfilment") | {"tenants": ["acme", "beta"]},
        consumer("packing", "packing"),
    ]
    cluster = stage(identity("packing", consumes=names("orders")), consumers=consumers)
    packing = FULFILMENT.replace("fulfilment", "packing")
    assert only_entry(cluster, "reviewer")["consumers"] == [
        {"spiffeIDs": [FULFILMENT], "group": "fulfilment", "tenants": ["acme", "beta"]},
        {"spiffeIDs": [packing], "group": "packing"},
    ]


def test_consumer_without_a_grant_is_not_reviewed() -> None:
    cluster = stage()
    cluster.put(fulfilment(consumes=[]))
    assert only_entry(cluster, "reviewer")["consumers"] == []


def test_reviewer_that_does_not_agree_is_not_named_to_consumers() -> None:
    cluster = stage(reviewer(reviews=[]))
    assert "reviewers" not in only_entry(cluster, "fulfilment")
    assert entries_of(cluster, "reviewer") == []
    cluster.put(reviewer())
    assert only_entry(cluster, "fulfilment")["reviewers"] == [REVIEWER]
    cluster.put(policy(**changed({"spec": REVIEWED}, "spec.deadLetter.reviewer", GONE)["spec"]))
    assert "reviewers" not in only_entry(cluster, "fulfilment")


def test_reviewer_knows_that_a_consumer_may_not_read_its_retry_topic() -> None:
    retry = {"topic": "again.orders"}
    consumers = [consumer("fulfilment", "fulfilment") | {"retry": retry}]
    cluster = stage(broker(owns=["prod.", "again."]), consumers=consumers)
    reviewed = {"spiffeIDs": [FULFILMENT], "group": "fulfilment"}
    assert only_entry(cluster, "reviewer")["consumers"] == [reviewed | {"retry": retry}]
    cluster.put(broker(owns=["prod."]))
    assert only_entry(cluster, "reviewer")["consumers"] == [reviewed | {"retryMissing": True}]


def test_suspended_retry_topic_stays_for_the_reviewer_only_if_it_was_listed() -> None:
    cluster = stage()
    before = only_entry(cluster, "reviewer")["consumers"]
    rivals = older_claim(RETRY["topic"])
    for each in rivals:
        cluster.put(each)
    assert only_entry(cluster, "reviewer")["consumers"] == before
    (missing,) = only_entry(stage(*rivals), "reviewer")["consumers"]
    assert missing == {"spiffeIDs": [FULFILMENT], "group": "fulfilment", "retryMissing": True}


def test_consumer_with_a_group_keeps_no_retry_topic_of_a_consumer_without_one() -> None:
    consumers = [
        consumer("fulfilment") | {"retry": RETRY},
        consumer("fulfilment", "fulfilment") | {"retry": {"topic": "again.orders"}},
    ]
    cluster = stage(broker(described=NATS), consumers=consumers)
    found = {each.get("group", ""): each for each in entries_of(cluster, "fulfilment")}
    assert found[""]["retry"] == RETRY
    assert "retry" not in found["fulfilment"]
    assert all("deadLetter" in each for each in found.values())


def test_retry_topic_that_the_broker_lost_is_removed() -> None:
    retry = {"topic": "again.orders"}
    consumers = [consumer("fulfilment", "fulfilment") | {"retry": retry}]
    cluster = stage(broker(owns=["prod.", "again."]), consumers=consumers)
    assert only_entry(cluster, "fulfilment")["retry"] == retry
    cluster.put(broker(owns=["prod."]))
    assert "retry" not in only_entry(cluster, "fulfilment")


def test_entries_stay_while_the_policy_is_unreadable() -> None:
    cluster = stage()
    before = {name: entries_of(cluster, name) for name in ("fulfilment", "reviewer")}
    cluster.put(unreadable())
    assert {name: entries_of(cluster, name) for name in before} == before


def test_consumer_that_withdraws_is_removed_while_the_policy_is_unreadable() -> None:
    cluster = stage()
    entries_of(cluster, "reviewer")
    cluster.put(unreadable())
    cluster.put(fulfilment(consumes=[]))
    assert only_entry(cluster, "reviewer")["consumers"] == []


def test_suspended_review_is_kept_only_for_the_letters_that_were_listed() -> None:
    cluster = stage()
    before = entries_of(cluster, "reviewer")
    rivals = older_claim(LETTERS)
    for each in rivals:
        cluster.put(each)
    assert entries_of(cluster, "reviewer") == before
    assert entries_of(stage(*rivals), "reviewer") == []


def test_suspended_review_does_not_move_to_other_letters() -> None:
    cluster = stage()
    assert entries_of(cluster, "reviewer")
    for each in older_claim("prod.other.dlq"):
        cluster.put(each)
    letters = REVIEWED["deadLetter"] | {"topic": "prod.other.dlq"}
    cluster.put(policy(**REVIEWED | {"deadLetter": letters}))
    assert entries_of(cluster, "reviewer") == []


def test_documents_do_not_depend_on_the_order_of_declarations() -> None:
    declared = [broker(), policy(**REVIEWED), checkout(), fulfilment(), reviewer()]
    for name in ("fulfilment", "reviewer"):
        found = [document(shop(*each), name) for each in (declared, list(reversed(declared)))]
        first, second = (json.loads(each)["messages"] for each in found)
        assert first == second


def test_producer_that_is_added_reaches_the_reviewer() -> None:
    cluster = stage()
    assert only_entry(cluster, "reviewer")["producers"] == [CHECKOUT]
    cluster.put(identity("desk", publishes=names("orders")))
    cluster.put(policy(**REVIEWED | {"producers": [producer("checkout"), producer("desk")]}))
    desk = REVIEWER.replace("reviewer", "desk")
    assert only_entry(cluster, "reviewer")["producers"] == [desk, CHECKOUT]
