"""A policy is exclusive if the broker lets nobody else publish or consume its topic."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from tests.broker_builders import (
    CHECKOUT,
    FULFILMENT,
    MAIN,
    ORDERS,
    declared_at,
    give_credentials,
    ledger_of,
    market,
    orders,
    reviewed_orders,
    see,
    sync_broker,
)
from tests.builders import Cluster, Manifest
from tests.messaging import NATS, broker, consumer
from troth.brokers.kafka.rules import SUPER_USERS
from troth.trust.grants import Observed, Rule
from troth.world.keys import broker_key, policy_key
from troth.world.outcomes.brokers import BrokerChanged

KEY = policy_key(ORDERS)
TOPIC = "prod.orders.v1"


def acl(principal: str, name: str, operation: str, pattern: str = "LITERAL", **more: str) -> Rule:
    return replace(Rule(principal, "TOPIC", pattern, name, operation, host="*"), **more)


def with_foreign(*foreign: Rule, manifests: Iterable[Manifest] = ()) -> Cluster:
    """Return a market in sync, at a broker that also has foreign rules."""
    cluster = market(*manifests)
    give_credentials(cluster, CHECKOUT, FULFILMENT)
    cluster.visit(KEY)
    sync_broker(cluster)
    kept = ledger_of(cluster)
    see(cluster, {*kept.rules, *foreign}, kept.credentials)
    cluster.visit(KEY)
    return cluster


def told(cluster: Cluster, type_: str = "Exclusive") -> tuple[str, str, str]:
    status = cluster.plan(KEY).status
    assert status is not None
    found = {each["type"]: each for each in status["conditions"]}[type_]
    return found["status"], found["reason"], found["message"]


@pytest.mark.parametrize(
    ("foreign", "able"),
    [
        (acl("*", "prod.", "WRITE", "PREFIXED"), "every principal (*) may publish"),
        (acl("legacy", TOPIC, "WRITE"), "legacy may publish"),
        (acl("legacy", TOPIC, "READ"), "legacy may consume"),
        (acl("legacy", "*", "ALL"), "legacy may publish and legacy may consume"),
        (acl("Group:ops", "p", "READ", "PREFIXED"), "Group:ops may consume"),
        (acl("troth-lab.guest", TOPIC, "WRITE"), "troth-lab.guest may publish"),
        (SUPER_USERS, "super.users may publish and super.users may consume"),
        (acl("a\u202eb", TOPIC, "READ"), "'a\\u202eb' may consume"),
    ],
)
def test_foreign_principal_makes_a_policy_not_exclusive(foreign: Rule, able: str) -> None:
    cluster = with_foreign(foreign)
    status, reason, message = told(cluster)
    assert (status, reason) == ("False", "ForeignAccess")
    assert message.startswith(f"{able} {TOPIC} at MessageBroker {MAIN}")
    assert "remove this access at the broker, or list the principals under" in message
    assert told(cluster, "Ready")[:2] == ("False", "ForeignAccess")
    assert told(cluster, "Stalled")[0] == "True"


RETRY, LETTERS = f"{TOPIC}.retry", f"{TOPIC}.dlq"


@pytest.mark.parametrize("topic", [RETRY, LETTERS])
def test_topics_of_a_reviewed_policy_are_exclusive_too(topic: str) -> None:
    retrying = [consumer("fulfilment", "fulfilment") | {"retry": {"topic": RETRY}}]
    foreign = acl("legacy", topic, "READ"), acl("legacy", TOPIC, "WRITE")
    cluster = with_foreign(*foreign, manifests=[reviewed_orders(consumers=retrying)])
    status, reason, message = told(cluster)
    assert (status, reason) == ("False", "ForeignAccess")
    assert message.startswith(f"legacy may publish {TOPIC}; legacy may consume {topic} at ")


def test_dead_letters_without_a_reviewer_may_have_other_readers() -> None:
    unreviewed = orders(deadLetter={"topic": LETTERS})
    cluster = with_foreign(acl("legacy", LETTERS, "READ"), manifests=[unreviewed])
    assert told(cluster)[:2] == ("True", "OnlyGranted")


@pytest.mark.parametrize(
    "foreign",
    [
        acl("legacy", "prod.orders", "WRITE"),
        acl("legacy", "prod.orders.v1x", "WRITE", "PREFIXED"),
        acl("legacy", TOPIC, "DESCRIBE"),
        acl("legacy", TOPIC, "WRITE", kind="GROUP"),
        acl("legacy", TOPIC, "WRITE", effect="DENY"),
        acl("legacy", "other.", "ALL", "PREFIXED"),
    ],
)
def test_rule_that_reaches_nothing_of_a_policy_does_not_matter(foreign: Rule) -> None:
    assert told(with_foreign(foreign))[:2] == ("True", "OnlyGranted")


def test_prefix_policy_is_not_exclusive_if_one_topic_is_open() -> None:
    prefix = orders(topic={"prefix": "prod."})
    cluster = with_foreign(acl("legacy", "prod.x", "READ"), manifests=[prefix])
    assert told(cluster)[:2] == ("False", "ForeignAccess")


@pytest.mark.parametrize(
    ("whom", "status"), [("legacy", "True"), ("*", "True"), ("other", "False")]
)
def test_denied_access_does_not_count(whom: str, status: str) -> None:
    denied = acl(whom, "*", "ALL", effect="DENY")
    assert told(with_foreign(acl("legacy", TOPIC, "WRITE"), denied))[0] == status
    elsewhere = acl("legacy", "prod.x", "ALL", effect="DENY")
    assert told(with_foreign(acl("legacy", TOPIC, "WRITE"), elsewhere))[0] == "False"


@pytest.mark.parametrize("denied", ["*", "super.users"])
def test_denial_does_not_hide_super_users(denied: str) -> None:
    cluster = with_foreign()
    seen = cluster.world.brokers.observation(MAIN).observed
    assert seen is not None
    denial = acl(denied, "*", "ALL", effect="DENY")
    see(cluster, {*seen.rules, denial}, seen.credentials, openings={SUPER_USERS})
    status, reason, message = told(cluster)
    assert (status, reason) == ("False", "ForeignAccess")
    assert message.startswith("super.users may publish and super.users may consume")


def test_listed_administrator_does_not_count() -> None:
    known = broker(administrators=["legacy", "super.users"])
    both = acl("legacy", TOPIC, "ALL"), SUPER_USERS
    assert told(with_foreign(*both, manifests=[known]))[:2] == ("True", "OnlyGranted")
    other = acl("other", TOPIC, "READ")
    status, _, message = told(with_foreign(*both, other, manifests=[known]))
    assert status == "False"
    assert message.startswith("other may consume")


def test_longest_principal_that_can_be_listed_is_named_whole() -> None:
    longest = "CN=" + "x" * 317
    known = broker(administrators=[longest])
    cluster = with_foreign(acl(longest, TOPIC, "READ"))
    assert told(cluster)[2].startswith(f"{longest} may consume")
    assert told(with_foreign(acl(longest, TOPIC, "READ"), manifests=[known]))[0] == "True"


def test_kafka_user_does_not_count_as_the_administrator_before_its_slash() -> None:
    known = broker(administrators=["kafka"])
    status, _, message = told(with_foreign(acl("kafka/host", TOPIC, "READ"), manifests=[known]))
    assert status == "False"
    assert message.startswith("kafka/host may consume")


@pytest.mark.parametrize(
    ("listed", "principal", "status"),
    [
        ("A", "A/U", "True"),
        ("A/U", "A/U", "True"),
        ("A", "B/U", "False"),
        ("mapping:a", "mapping:a/b", "False"),
        ("mapping:a/b", "mapping:a/b", "True"),
    ],
)
def test_listed_nats_key_stands_for_the_users_that_it_has_signed(
    listed: str, principal: str, status: str
) -> None:
    there = broker(described=NATS, administrators=[listed])
    cluster = with_foreign(Rule(principal, "SUBJECT", "", TOPIC, "SUB"), manifests=[there])
    assert told(cluster)[0] == status


def test_verdict_stays_after_a_restart_until_the_broker_is_observed() -> None:
    cluster = with_foreign(acl("legacy", TOPIC, "WRITE"))
    before = told(cluster)
    cluster.world.brokers.forget_observation(MAIN)
    assert told(cluster) == before
    fresh = market()
    assert told(fresh)[:2] == ("Unknown", "NotSeenYet")


def test_changed_foreign_rules_requeue_the_policies_of_the_broker() -> None:
    cluster = with_foreign()
    seen = cluster.world.brokers.observation(MAIN).observed
    assert seen is not None
    opened = Observed(seen.credentials, seen.rules | {acl("*", "prod.", "READ", "PREFIXED")})
    outcome = BrokerChanged(MAIN, opened, {}, cluster.uptime)
    assert KEY in cluster.world.observe_outcome(outcome)
    assert told(cluster)[0] == "False"
    assert KEY not in cluster.world.observe_outcome(outcome)
    assert broker_key(MAIN) not in cluster.world.observe_outcome(outcome)


STREAMS = {"streams": ["ORDERS"], "groupPrefixes": ["fulfilment"]}


@pytest.mark.parametrize(
    ("name", "operation", "able"),
    [
        (">", "PUB", "publish"),
        ("prod.>", "SUB", "consume"),
        ("*.orders.*", "SUB", "consume"),
        ("$JS.API.>", "PUB", "consume"),
        ("$JS.API.CONSUMER.MSG.NEXT.ORDERS.mine", "PUB", "consume"),
        ("$JS.API.STREAM.MSG.GET.ORDERS", "PUB", "consume"),
        ("$JS.API.STREAM.SNAPSHOT.ORDERS", "PUB", "consume"),
        ("$JS.API.CONSUMER.MSG.NEXT.OTHERS.mine", "PUB", ""),
        ("prod.orders.*.x", "SUB", ""),
        ("_INBOX.>", "SUB", ""),
    ],
)
def test_permission_of_nats_is_judged_by_its_pattern(name: str, operation: str, able: str) -> None:
    there = broker(described=NATS, more=STREAMS)
    stored = orders(topic={"name": TOPIC, "stream": "ORDERS"})
    cluster = with_foreign(Rule("A", "SUBJECT", "", name, operation), manifests=[there, stored])
    assert declared_at(cluster).spec.owns.streams == ("ORDERS",)
    status, _, message = told(cluster)
    assert status == ("False" if able else "True")
    if able:
        assert f"A may {able}" in message
