"""Each check of a grant, with its reason and a message that says what to change."""

from typing import Any

import pytest

from tests import builders
from tests.builders import NOW, Manifest, domain, identity, namespace
from tests.changed_manifests import changed
from tests.messaging import (
    KAFKA,
    MQTT,
    NATS,
    RABBITMQ,
    VALKEY,
    broker,
    consumer,
    messaging,
    policy,
    producer,
)
from tests.trust.topics.topic_scene import (
    BOTH,
    CHECKOUT,
    CONSUME,
    DEAD_LETTER,
    FULFILMENT,
    ORDERS,
    POLICY,
    PUBLISH,
    SHOP,
    USES,
    grants_by_entry,
    verdict,
)
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import GrantEntry
from troth.trust.grants import Grant, Topic
from troth.trust.topics.evaluation import GrantCache


def test_consent_of_all_sides_gives_grants_to_the_identitys_principal() -> None:
    manifests = [*SHOP, *BOTH, broker(principals="troth-prod-"), POLICY]
    declared = messaging(*manifests, uses=USES)
    grants = list(GrantCache(builders.registry(*manifests), declared).at(Ref("messaging", "main")))
    orders, dead = Topic("prod.orders.v1"), Topic("prod.orders.v1.dlq")
    assert {each.grant for each in grants if each.state is GrantState.LIVE} == {
        Grant("troth-prod-shop.checkout", Action.PUBLISH, orders),
        Grant("troth-prod-shop.fulfilment", Action.CONSUME, orders, "fulfilment"),
        Grant("troth-prod-shop.fulfilment", Action.PUBLISH, dead),
    }
    assert all(grant.reason == grant.message == "" for grant in grants)


def test_prefix_and_stream_are_granted_as_declared() -> None:
    kept = policy(
        topic={"prefix": "prod.orders.", "stream": "ORDERS"},
        consumers=[consumer("fulfilment", "f")],
    )
    found = grants_by_entry(*SHOP, *BOTH, broker(described=NATS), kept)
    assert found[GrantEntry(FULFILMENT, Action.CONSUME, "f")].grant == Grant(
        "troth-shop.fulfilment", Action.CONSUME, Topic("prod.orders.", prefix=True), "f", "ORDERS"
    )


def test_consumer_with_two_groups_has_two_grants() -> None:
    twice = policy(consumers=[consumer("fulfilment", "ga"), consumer("fulfilment", "gb")])
    found = grants_by_entry(*SHOP, *BOTH, broker(), twice)
    live = {each.entry.group for each in found.values() if each.state is GrantState.LIVE}
    assert live == {"ga", "gb"}


AWAITED: dict[str, tuple[list[Manifest], Any, GrantEntry, GrantState, str]] = {
    "the identity does not name the policy": (
        [broker(), POLICY, *BOTH],
        {},
        PUBLISH,
        GrantState.AWAITING_IDENTITY,
        "PolicyNotNamed",
    ),
    "the identity names it in the other list": (
        [broker(), POLICY, *BOTH],
        {CHECKOUT: ([], [ORDERS])},
        PUBLISH,
        GrantState.AWAITING_IDENTITY,
        "PolicyNotNamed",
    ),
    "a consumer's dead letters are consented by what it consumes": (
        [broker(), POLICY, *BOTH],
        {FULFILMENT: ([ORDERS], [])},
        DEAD_LETTER,
        GrantState.AWAITING_IDENTITY,
        "PolicyNotNamed",
    ),
    "the identity is not there": (
        [broker(), POLICY],
        None,
        PUBLISH,
        GrantState.AWAITING_IDENTITY,
        "IdentityMissing",
    ),
    "the policy does not name the identity": (
        [broker(), policy(), *BOTH],
        None,
        PUBLISH,
        GrantState.AWAITING_POLICY,
        "IdentityNotNamed",
    ),
    "the policy is not there": (
        [broker(), *BOTH],
        None,
        PUBLISH,
        GrantState.AWAITING_POLICY,
        "PolicyMissing",
    ),
}


@pytest.mark.parametrize(
    ("manifests", "uses", "asked", "state", "reason"), AWAITED.values(), ids=list(AWAITED)
)
def test_one_sided_declaration_grants_nothing(
    manifests: list[Manifest], uses: Any, asked: GrantEntry, state: GrantState, reason: str
) -> None:
    assert verdict(asked, *SHOP, *manifests, uses=uses) == (state, reason)


ELSEWHERE = policy(producers=[producer("checkout", "abroad")])
REFUSED: dict[str, tuple[list[Manifest], str, str]] = {
    "no broker": ([POLICY], "BrokerMissing", "create it or correct brokerRef"),
    "a broker of another environment": (
        [broker(environment="staging"), POLICY],
        "EnvironmentNotOfBroker",
        "name a broker of the policy's environment",
    ),
    "a policy of another environment": (
        [broker(environment="staging"), changed(POLICY, "spec.environment", "staging")],
        "EnvironmentNotOfNamespace",
        "messages never cross environments",
    ),
    "a namespace that the broker does not admit": (
        [broker(allowedNamespaces={"matchLabels": {"domain": "other"}}), POLICY],
        "NamespaceNotAllowed",
        "label the namespace so that allowedNamespaces selects it",
    ),
    "a topic that the broker does not own": (
        [broker(owns=["prod.payments.", "prod.carts."]), POLICY],
        "TopicNotOwned",
        "choose a topic under prod.payments. or prod.carts.",
    ),
    "a prefix that covers more than the broker owns": (
        [broker(), policy(topic={"prefix": "prod"}, producers=[producer("checkout")])],
        "TopicNotOwned",
        "or add a prefix to its owns.topicPrefixes",
    ),
    "a stream where there are none": (
        [broker(), changed(POLICY, "spec.topic.stream", "ORDERS")],
        "StreamNotKnown",
        "TopicPolicy shop/orders sets topic.stream",
    ),
}


@pytest.mark.parametrize(("manifests", "reason", "mend"), REFUSED.values(), ids=list(REFUSED))
def test_grant_outside_the_brokers_limits_or_environment_is_refused(
    manifests: list[Manifest], reason: str, mend: str
) -> None:
    grant = grants_by_entry(*SHOP, *BOTH, *manifests)[PUBLISH]
    assert (grant.state, grant.reason) == (GrantState.REFUSED, reason)
    assert mend in grant.message


def test_identity_of_another_namespace_needs_environment_and_admission() -> None:
    abroad = Ref("abroad", "checkout")
    uses: Any = {abroad: ([ORDERS], [])}
    asked = GrantEntry(abroad, Action.PUBLISH)
    there = [*SHOP, identity("checkout", "abroad"), broker(), ELSEWHERE]
    foreign = [namespace("abroad", domain="abroad"), domain("abroad")]
    assert verdict(asked, *there, *foreign, uses=uses)[1] == "EnvironmentNotOfNamespace"
    same = [foreign[0], domain("abroad", environment="production")]
    assert verdict(asked, *there, *same, uses=uses)[1] == "NamespaceNotAllowed"
    home = namespace("abroad", domain="production")
    assert verdict(asked, *there, home, uses=uses) == (GrantState.LIVE, "")


def test_only_the_unowned_dead_letter_topic_is_refused() -> None:
    found = grants_by_entry(
        *SHOP, *BOTH, broker(), changed(POLICY, "spec.deadLetter.topic", "dead")
    )
    assert found[CONSUME].state is GrantState.LIVE
    dead_letter = found[DEAD_LETTER._replace(topic="dead")]
    assert (dead_letter.state, dead_letter.reason) == (
        GrantState.REFUSED,
        "TopicNotOwned",
    )


@pytest.mark.parametrize(
    ("described", "stream", "without", "by_one"),
    [
        (KAFKA, "", "GroupMissing", ""),
        (VALKEY, "", "GroupMissing", ""),
        (NATS, "", "", ""),
        (NATS, "ORDERS", "GroupMissing", ""),
        (MQTT, "", "", ""),
        (RABBITMQ, "", "", "GroupNotKnown"),
    ],
)
def test_consumer_needs_a_group_if_the_broker_has_groups(
    described: Manifest, stream: str, without: str, by_one: str
) -> None:
    for group, reason in (("", without), ("g", by_one)):
        topic = {"name": "prod.orders"} | ({"stream": stream} if stream else {})
        declared = policy(topic=topic, consumers=[consumer("fulfilment", group)])
        asked = GrantEntry(FULFILMENT, Action.CONSUME, group)
        there = broker(described=described, more={"streams": [stream] if stream else []})
        grant = grants_by_entry(*SHOP, *BOTH, there, declared)[asked]
        assert grant.reason == reason
        assert grant.state is (GrantState.REFUSED if reason else GrantState.LIVE)


def test_identity_without_certificate_is_refused_if_the_broker_requires_one() -> None:
    trust = builders.gateway_only("gateway", NOW + builders.DAY)
    declared = [*SHOP, identity("checkout", authentication=trust), POLICY]
    assert verdict(PUBLISH, *declared, broker()) == (GrantState.LIVE, "")
    strict = changed(broker(), "spec.kafka.clients", "MTLS")
    assert verdict(PUBLISH, *declared, strict) == (GrantState.REFUSED, "IdentityHasNoCertificate")


@pytest.mark.parametrize(
    ("described", "more", "stream", "group", "reason"),
    [
        (KAFKA, {}, "", "g", ""),
        (KAFKA, {}, "", "billing", "GroupNotOwned"),
        (KAFKA, {"groupPrefixes": ["bill"]}, "", "billing", ""),
        (KAFKA, {"groupPrefixes": []}, "", "g", "GroupNotOwned"),
        (NATS, {}, "", "billing", "GroupNotOwned"),
        (NATS, {"streams": ["ORDERS"]}, "ORDERS", "g", ""),
        (NATS, {"streams": ["ORDERS"]}, "ORDERS", "billing", "GroupNotOwned"),
        (NATS, {"streams": ["ORDERS"]}, "BILLS", "g", "StreamNotOwned"),
        (NATS, {}, "ORDERS", "g", "StreamNotOwned"),
        (NATS, {"streams": ["ORDERS"]}, "", "g", "StreamMissing"),
    ],
)
def test_group_and_stream_are_granted_only_if_the_broker_owns_them(
    described: Manifest, more: Manifest, stream: str, group: str, reason: str
) -> None:
    topic = {"name": "prod.orders"} | ({"stream": stream} if stream else {})
    declared = policy(topic=topic, consumers=[consumer("fulfilment", group)])
    asked = GrantEntry(FULFILMENT, Action.CONSUME, group)
    grant = grants_by_entry(*SHOP, *BOTH, broker(described=described, more=more), declared)[asked]
    assert grant.reason == reason
    assert grant.state is (GrantState.REFUSED if reason else GrantState.LIVE)
