"""Each obstacle to a grant, with its reason and a sentence that says what to change."""

from typing import Any

import pytest

from tests import builders
from tests.builders import NOW, Manifest, domain, identity, namespace
from tests.changing import changed
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
from troth.resources.references import Ref
from troth.resources.topic_policy_status import Action, GrantState
from troth.trust.grants import Grant, Topic
from troth.trust.messaging import Asked, Messaging, Uses
from troth.trust.topic_grants import TopicGrant, grants_at, grants_of, in_state, undecided

ORDERS = Ref("shop", "orders")
CHECKOUT = Ref("shop", "checkout")
FULFILMENT = Ref("shop", "fulfilment")
SHOP = [namespace("shop", domain="production"), domain()]
BOTH = [identity("checkout"), identity("fulfilment")]
POLICY = policy(
    producers=[producer("checkout")],
    consumers=[consumer("fulfilment", "fulfilment")],
    deadLetter={"topic": "prod.orders.v1.dlq"},
)
USES: dict[tuple[str, str], tuple[list[Any], list[Any]]] = {
    CHECKOUT: ([ORDERS], []),
    FULFILMENT: ([], [ORDERS]),
}
PUBLISH = Asked(CHECKOUT, Action.PUBLISH)
CONSUME = Asked(FULFILMENT, Action.CONSUME, "fulfilment")
DEAD_LETTER = Asked(FULFILMENT, Action.PUBLISH, dead_letter=True)


def judged(
    *manifests: Manifest, uses: Any = None, about: Messaging | None = None, of: Ref = ORDERS
) -> dict[Asked, TopicGrant]:
    """Every grant that touches the policy."""
    declared = about or messaging(*manifests, uses=USES if uses is None else uses)
    grants = grants_of(builders.registry(*manifests), declared, of)
    return {grant.asked: grant for grant in grants}


def verdict(
    asked: Asked, *manifests: Manifest, uses: Any = None, about: Messaging | None = None
) -> tuple[GrantState, str]:
    grant = judged(*manifests, uses=uses, about=about)[asked]
    return grant.state, grant.reason


def test_what_all_agree_on_comes_to_grants_of_the_identitys_own_principal() -> None:
    manifests = [*SHOP, *BOTH, broker(principals="troth-prod-"), POLICY]
    grants = grants_at(
        builders.registry(*manifests),
        messaging(*manifests, uses=USES),
        Ref("messaging", "main"),
    )
    orders, dead = Topic("prod.orders.v1"), Topic("prod.orders.v1.dlq")
    assert in_state(grants, GrantState.LIVE) == {
        Grant("troth-prod-shop.checkout", Action.PUBLISH, orders),
        Grant("troth-prod-shop.fulfilment", Action.CONSUME, orders, "fulfilment"),
        Grant("troth-prod-shop.fulfilment", Action.PUBLISH, dead),
    }
    assert all(grant.reason == grant.message == "" for grant in grants)


def test_a_prefix_and_a_stream_are_granted_as_they_are_declared() -> None:
    kept = policy(
        topic={"prefix": "prod.orders.", "stream": "ORDERS"},
        consumers=[consumer("fulfilment", "f")],
    )
    found = judged(*SHOP, *BOTH, broker(described=NATS), kept)
    assert found[Asked(FULFILMENT, Action.CONSUME, "f")].grant == Grant(
        "troth-shop.fulfilment", Action.CONSUME, Topic("prod.orders.", prefix=True), "f", "ORDERS"
    )


def test_who_consumes_by_two_groups_has_two_grants() -> None:
    twice = policy(consumers=[consumer("fulfilment", "a"), consumer("fulfilment", "b")])
    found = judged(*SHOP, *BOTH, broker(), twice)
    live = {each.asked.group for each in found.values() if each.state is GrantState.LIVE}
    assert live == {"a", "b"}


AWAITED: dict[str, tuple[list[Manifest], Any, Asked, GrantState, str]] = {
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
def test_one_side_alone_is_granted_nothing(
    manifests: list[Manifest], uses: Any, asked: Asked, state: GrantState, reason: str
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
        "messages do not leave their environment",
    ),
    "a namespace that the broker does not admit": (
        [broker(allowedNamespaces={"matchLabels": {"domain": "other"}}), POLICY],
        "NamespaceNotAllowed",
        "label the namespace as its allowedNamespaces ask",
    ),
    "a topic that the broker does not own": (
        [broker(owns=["prod.payments.", "prod.carts."]), POLICY],
        "TopicNotOwned",
        "choose a topic under prod.payments. or prod.carts.",
    ),
    "a prefix that covers more than the broker owns": (
        [broker(), policy(topic={"prefix": "prod"}, producers=[producer("checkout")])],
        "TopicNotOwned",
        "or add to its owns.topicPrefixes",
    ),
    "a stream where there are none": (
        [broker(), changed(POLICY, "spec.topic.stream", "ORDERS")],
        "StreamNotKnown",
        "remove topic.stream from shop/orders",
    ),
}


@pytest.mark.parametrize(("manifests", "reason", "mend"), REFUSED.values(), ids=list(REFUSED))
def test_what_the_brokers_owner_or_the_environment_does_not_allow_is_refused(
    manifests: list[Manifest], reason: str, mend: str
) -> None:
    grant = judged(*SHOP, *BOTH, *manifests)[PUBLISH]
    assert (grant.state, grant.reason) == (GrantState.REFUSED, reason)
    assert mend in grant.message


def test_an_identity_in_another_namespace_must_be_of_the_environment_and_admitted() -> None:
    abroad = Ref("abroad", "checkout")
    uses: Any = {abroad: ([ORDERS], [])}
    asked = Asked(abroad, Action.PUBLISH)
    there = [*SHOP, identity("checkout", "abroad"), broker(), ELSEWHERE]
    foreign = [namespace("abroad", domain="abroad"), domain("abroad")]
    assert verdict(asked, *there, *foreign, uses=uses)[1] == "EnvironmentNotOfNamespace"
    same = [foreign[0], domain("abroad", environment="production")]
    assert verdict(asked, *there, *same, uses=uses)[1] == "NamespaceNotAllowed"
    home = namespace("abroad", domain="production")
    assert verdict(asked, *there, home, uses=uses) == (GrantState.LIVE, "")


def test_a_dead_letter_topic_that_is_not_owned_is_refused_by_itself() -> None:
    found = judged(*SHOP, *BOTH, broker(), changed(POLICY, "spec.deadLetter.topic", "dead"))
    assert found[CONSUME].state is GrantState.LIVE
    assert (found[DEAD_LETTER].state, found[DEAD_LETTER].reason) == (
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
def test_a_consumer_has_a_group_where_the_broker_has_groups(
    described: Manifest, stream: str, without: str, by_one: str
) -> None:
    for group, reason in (("", without), ("g", by_one)):
        topic = {"name": "prod.orders"} | ({"stream": stream} if stream else {})
        declared = policy(topic=topic, consumers=[consumer("fulfilment", group)])
        asked = Asked(FULFILMENT, Action.CONSUME, group)
        grant = judged(*SHOP, *BOTH, broker(described=described), declared)[asked]
        assert grant.reason == reason
        assert grant.state is (GrantState.REFUSED if reason else GrantState.LIVE)


def test_where_clients_prove_themselves_by_certificate_who_has_none_is_refused() -> None:
    trust = builders.gateway_only("gateway", NOW + builders.DAY)
    declared = [*SHOP, identity("checkout", authentication=trust), POLICY]
    assert verdict(PUBLISH, *declared, broker()) == (GrantState.LIVE, "")
    strict = changed(broker(), "spec.kafka.clients", "MTLS")
    assert verdict(PUBLISH, *declared, strict) == (GrantState.REFUSED, "IdentityHasNoCertificate")


# What is in dispute


def test_what_a_conflict_suspends_keeps_what_it_comes_to() -> None:
    twin = identity("twin", account="checkout")
    grant = judged(*SHOP, *BOTH, twin, broker(), POLICY)[PUBLISH]
    assert (grant.state, grant.reason) == (GrantState.SUSPENDED, "SharedIdentity")
    assert grant.grant == Grant("troth-shop.checkout", Action.PUBLISH, Topic("prod.orders.v1"))
    overlap = domain("rival", namespaceSelector=domain()["spec"]["namespaceSelector"])
    grant = judged(*SHOP, overlap, *BOTH, broker(), POLICY)[PUBLISH]
    assert (grant.state, grant.reason) == (GrantState.SUSPENDED, "NamespaceOverlap")
    assert grant.grant is not None


@pytest.mark.parametrize(
    ("second", "principals", "state"),
    [
        (KAFKA, "troth-", GrantState.SUSPENDED),
        (KAFKA, "troth-prod-", GrantState.SUSPENDED),
        (KAFKA, "tr", GrantState.SUSPENDED),
        (KAFKA, "other-", GrantState.LIVE),
        (NATS, "troth-", GrantState.LIVE),
    ],
)
def test_two_brokers_that_are_one_never_share_a_principal(
    second: Manifest, principals: str, state: GrantState
) -> None:
    """Else the checkout of `prod-shop` at one would be that of `shop` at the other."""
    other = broker("second", described=second, principals=principals)
    grant = judged(*SHOP, *BOTH, broker(), other, POLICY)[PUBLISH]
    assert grant.state is state
    assert grant.reason == ("PrincipalsShared" if state is GrantState.SUSPENDED else "")


@pytest.mark.parametrize(
    ("described", "namespace_", "group", "state"),
    [
        (KAFKA, "lab", "fulfilment", GrantState.SUSPENDED),
        (KAFKA, "lab", "other", GrantState.LIVE),
        (KAFKA, "shop", "fulfilment", GrantState.LIVE),
        (KAFKA, "closed", "fulfilment", GrantState.LIVE),
        (NATS, "lab", "fulfilment", GrantState.LIVE),
    ],
)
def test_no_namespace_joins_the_group_of_another(
    described: Manifest, namespace_: str, group: str, state: GrantState
) -> None:
    """In a group of Kafka one member decides what each is given, whatever it may read itself."""
    lab, closed = namespace("lab", domain="production"), namespace("closed", domain="none")
    intruder = policy(
        "intruder",
        namespace_,
        topic={"name": "prod.lab"},
        consumers=[consumer("guest", group)],
    )
    declared = [*SHOP, *BOTH, lab, closed, broker(described=described), POLICY]
    grant = judged(*declared, intruder)[CONSUME]
    assert grant.state is state
    assert grant.reason == ("GroupShared" if state is GrantState.SUSPENDED else "")
    about = messaging(*declared, intruder, uses=USES)
    about.drop_policy(Ref(namespace_, "intruder"))
    assert judged(*declared, about=about)[CONSUME].state is GrantState.LIVE


RIVALS = {
    "the same topic": ({"topic": {"name": "prod.orders.v1"}}, True),
    "a prefix of it": ({"topic": {"prefix": "prod.or"}}, True),
    "by its dead letters": ({"deadLetter": {"topic": "prod.orders.v1"}}, True),
    "the same topic for the same environment": (
        {"topic": {"name": "prod.orders.v1"}, "environment": "production"},
        False,
    ),
    "another topic": ({"topic": {"name": "prod.orders.v2"}}, False),
}


@pytest.mark.parametrize(("spec", "disputed"), RIVALS.values(), ids=list(RIVALS))
def test_a_topic_that_two_environments_claim_is_given_to_nobody_new(
    spec: Manifest, *, disputed: bool
) -> None:
    usual: dict[str, Any] = {"topic": {"name": "stage.x"}, "environment": "staging"}
    rival = policy("rival", **usual | spec)
    grant = judged(*SHOP, *BOTH, broker(), POLICY, rival)[PUBLISH]
    assert grant.state is (GrantState.SUSPENDED if disputed else GrantState.LIVE)
    assert grant.grant is not None
    assert ("TopicPolicy shop/rival claims prod.orders.v1" in grant.message) == disputed


def test_a_dispute_reaches_every_broker_that_is_the_same_one_and_no_stranger() -> None:
    staging = broker("staging", environment="staging", principals="staging-")
    rival = policy("rival", "lab", at=("messaging", "staging"), environment="staging")
    lab = namespace("lab", domain="production")
    declared = [*SHOP, *BOTH, broker(), POLICY, rival, lab]
    assert verdict(PUBLISH, *declared, staging)[1] == "EnvironmentDisputed"
    other = changed(staging, "spec.kafka.bootstrapServers", ["elsewhere:9093"])
    assert verdict(PUBLISH, *declared, other) == (GrantState.LIVE, "")
    closed = changed(staging, "spec.allowedNamespaces", {"matchLabels": {"domain": "none"}})
    assert verdict(PUBLISH, *declared, closed) == (GrantState.LIVE, "")


def test_what_is_refused_closes_whatever_else_is_unsettled() -> None:
    twin = identity("twin", account="checkout")
    closed = broker(owns=["other."])
    assert verdict(PUBLISH, *SHOP, *BOTH, twin, closed, POLICY)[0] is GrantState.REFUSED


# What cannot be read


def test_what_cannot_be_read_changes_nothing() -> None:
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    about = messaging(*manifests, uses=USES)
    about.refuse_broker(Ref("messaging", "main"), "broken")
    assert verdict(PUBLISH, *manifests, about=about) == (GrantState.SUSPENDED, "BrokerInvalid")

    registry = builders.registry(*manifests)
    registry.refuse_identity(CHECKOUT, "broken")
    (grant, *_) = grants_of(registry, messaging(*manifests, uses={}), ORDERS)
    assert (grant.asked, grant.state) == (PUBLISH, GrantState.SUSPENDED)
    assert grant.reason == "IdentityInvalid"
    assert grant.grant is not None


def test_of_whoever_names_a_policy_that_cannot_be_read_nothing_is_removed() -> None:
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    registry, about = builders.registry(*manifests), messaging(*manifests, uses=USES)
    assert undecided(registry, about) == set()
    about.refuse_policy(ORDERS, "broken")
    grant = judged(*manifests, about=about)[Asked(CHECKOUT, Action.PUBLISH)]
    assert (grant.state, grant.reason, grant.grant) == (
        GrantState.SUSPENDED,
        "PolicyInvalid",
        None,
    )
    assert undecided(registry, about) == {CHECKOUT, FULFILMENT}


def test_an_identity_that_cannot_be_read_may_name_any_policy_that_cannot() -> None:
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    registry, about = builders.registry(*manifests), messaging(*manifests, uses={})
    registry.refuse_identity(CHECKOUT, "broken")
    assert undecided(registry, about) == set()
    about.refuse_policy(ORDERS, "broken")
    assert undecided(registry, about) == {CHECKOUT}


# What is forgotten


def test_nothing_is_left_of_what_is_dropped_or_replaced() -> None:
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    about = messaging(*manifests, uses=USES)
    rival = messaging(policy("rival", environment="staging")).policies[Ref("shop", "rival")]
    about.put_policy(rival)
    assert verdict(PUBLISH, *manifests, about=about)[1] == "EnvironmentDisputed"
    about.drop_policy(rival.ref)
    assert verdict(PUBLISH, *manifests, about=about) == (GrantState.LIVE, "")
    second = messaging(broker("second")).brokers[Ref("messaging", "second")]
    about.put_broker(second)
    assert verdict(PUBLISH, *manifests, about=about)[1] == "PrincipalsShared"
    about.drop_broker(second.ref)
    about.put_uses(FULFILMENT, Uses())
    found = judged(*manifests, about=about)
    assert found[PUBLISH].state is GrantState.LIVE
    assert found[CONSUME].reason == "PolicyNotNamed"
    about.drop_broker(Ref("messaging", "main"))
    assert verdict(PUBLISH, *manifests, about=about)[1] == "BrokerMissing"
    about.drop_policy(ORDERS)
    assert judged(*manifests, about=about)[PUBLISH].reason == "PolicyMissing"
    about.put_uses(CHECKOUT, Uses())
    assert judged(*manifests, about=about) == {}
    assert about.users(ORDERS) == about.at(Ref("messaging", "main")) == set()
