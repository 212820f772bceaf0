"""A disputed or unreadable grant is suspended with a reason."""

from typing import Any

import pytest

from tests import builders
from tests.builders import Manifest, domain, identity, namespace
from tests.changed_manifests import changed
from tests.messaging import (
    KAFKA,
    NATS,
    broker,
    consumer,
    messaging,
    policy,
)
from tests.trust.topics.topic_scene import (
    BOTH,
    CHECKOUT,
    CONSUME,
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
from troth.trust.declarations.grant_entries import GrantEntry
from troth.trust.declarations.messaging import Uses
from troth.trust.grants import Grant, Topic
from troth.trust.topics.evaluation import grants_of, undecided

# What is in dispute


def test_suspended_grant_keeps_its_rules() -> None:
    twin = identity("twin", account="checkout")
    grant = grants_by_entry(*SHOP, *BOTH, twin, broker(), POLICY)[PUBLISH]
    assert (grant.state, grant.reason) == (GrantState.SUSPENDED, "SharedIdentity")
    assert grant.grant == Grant("troth-shop.checkout", Action.PUBLISH, Topic("prod.orders.v1"))
    overlap = domain("rival", namespaceSelector=domain()["spec"]["namespaceSelector"])
    grant = grants_by_entry(*SHOP, overlap, *BOTH, broker(), POLICY)[PUBLISH]
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
def test_brokers_with_one_server_never_share_a_principal(
    second: Manifest, principals: str, state: GrantState
) -> None:
    """Else the checkout of `prod-shop` at one would be that of `shop` at the other."""
    other = broker("second", described=second, principals=principals)
    grant = grants_by_entry(*SHOP, *BOTH, broker(), other, POLICY)[PUBLISH]
    assert grant.state is state
    assert grant.reason == ("PrincipalsShared" if state is GrantState.SUSPENDED else "")


@pytest.mark.parametrize(
    ("described", "namespace_", "group", "state"),
    [
        (KAFKA, "lab", "fulfilment", GrantState.SUSPENDED),
        (KAFKA, "lab", "other", GrantState.LIVE),
        (KAFKA, "shop", "fulfilment", GrantState.SUSPENDED),
        (KAFKA, "closed", "fulfilment", GrantState.LIVE),
        (NATS, "lab", "fulfilment", GrantState.LIVE),
    ],
)
def test_identity_cannot_join_the_group_of_another(
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
    grant = grants_by_entry(*declared, intruder)[CONSUME]
    assert grant.state is state
    assert grant.reason == ("GroupShared" if state is GrantState.SUSPENDED else "")
    about = messaging(*declared, intruder, uses=USES)
    about.drop_policy(Ref(namespace_, "intruder"))
    assert grants_by_entry(*declared, about=about)[CONSUME].state is GrantState.LIVE


def streaming(name: str, topic: str, stream: str, group: str, who: str = "guest") -> Manifest:
    stored = {"name": topic} | ({"stream": stream} if stream else {})
    return policy(name, "lab", topic=stored, consumers=[consumer(who, group)])


@pytest.mark.parametrize(
    ("stream", "intruder", "shared", "state"),
    [
        ("A", streaming("a", "prod.x", "A", "fulfilment"), [], GrantState.SUSPENDED),
        ("A", streaming("a", "prod.x", "A", "fulfilment"), ["fulfilment"], GrantState.LIVE),
        ("A", streaming("a", "prod.x", "B", "fulfilment"), [], GrantState.LIVE),
        ("A", streaming("a", "prod.x", "A", "other"), [], GrantState.LIVE),
        ("", streaming("a", "prod.orders.v1", "", "fulfilment"), [], GrantState.SUSPENDED),
        ("", streaming("a", "prod.orders.v1", "", "fulfilment"), ["fulfilment"], GrantState.LIVE),
        ("", streaming("a", "prod.x", "", "fulfilment"), [], GrantState.LIVE),
    ],
)
def test_durable_belongs_to_its_stream_and_a_queue_group_to_its_topic(
    stream: str, intruder: Manifest, shared: list[str], state: GrantState
) -> None:
    topic = {"name": "prod.orders.v1"} | ({"stream": stream} if stream else {})
    mine = changed(POLICY, "spec.topic", topic)
    there = broker(
        described=NATS, more={"streams": ["A", "B"] if stream else [], "sharedGroups": shared}
    )
    lab = namespace("lab", domain="production")
    grant = grants_by_entry(*SHOP, *BOTH, lab, there, mine, intruder)[CONSUME]
    assert grant.state is state
    assert grant.reason == ("GroupShared" if state is GrantState.SUSPENDED else "")


def test_group_is_shared_only_if_each_owner_shares_it() -> None:
    mine = broker(more={"sharedGroups": ["fulfilment"]})
    second = broker("second", principals="second-", groups=["fulfilment"])
    lab = namespace("lab", domain="production")
    consumers = [consumer("guest", "fulfilment")]
    theirs = policy("a", "lab", at=("messaging", "second"), consumers=consumers)
    declared = [*SHOP, *BOTH, lab, mine, POLICY, theirs]
    assert verdict(CONSUME, *declared, second) == (GrantState.SUSPENDED, "GroupShared")
    both = changed(second, "spec.owns.sharedGroups", ["fulfilment"])
    assert verdict(CONSUME, *declared, both) == (GrantState.LIVE, "")


def test_brokers_of_one_account_agree_whether_consumers_use_streams() -> None:
    """Else a consumer of a stream could have its messages sent to a subscriber of the other."""
    mine = broker(described=NATS)
    second = broker("second", principals="second-", described=NATS, more={"streams": ["S"]})
    declared = [*SHOP, *BOTH, POLICY, mine]
    assert verdict(CONSUME, *declared, second) == (GrantState.SUSPENDED, "AccountShared")
    assert verdict(PUBLISH, *declared, second) == (GrantState.LIVE, "")
    elsewhere = changed(second, "spec.nats.account", f"A{'C' * 55}")
    assert verdict(CONSUME, *declared, elsewhere) == (GrantState.LIVE, "")


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
def test_disputed_topic_is_granted_to_nobody_new(spec: Manifest, *, disputed: bool) -> None:
    usual: dict[str, Any] = {"topic": {"name": "stage.x"}, "environment": "staging"}
    rival = policy("rival", **usual | spec)
    grant = grants_by_entry(*SHOP, *BOTH, broker(), POLICY, rival)[PUBLISH]
    assert grant.state is (GrantState.SUSPENDED if disputed else GrantState.LIVE)
    assert grant.grant is not None
    assert ("TopicPolicy shop/rival claims prod.orders.v1" in grant.message) == disputed


def test_dispute_affects_exactly_the_brokers_with_the_same_server() -> None:
    staging = broker("staging", environment="staging", principals="staging-")
    rival = policy("rival", "lab", at=("messaging", "staging"), environment="staging")
    lab = namespace("lab", domain="production")
    declared = [*SHOP, *BOTH, broker(), POLICY, rival, lab]
    assert verdict(PUBLISH, *declared, staging)[1] == "EnvironmentDisputed"
    other = changed(staging, "spec.kafka.bootstrapServers", ["elsewhere:9093"])
    assert verdict(PUBLISH, *declared, other) == (GrantState.LIVE, "")
    closed = changed(staging, "spec.allowedNamespaces", {"matchLabels": {"domain": "none"}})
    assert verdict(PUBLISH, *declared, closed) == (GrantState.LIVE, "")


def test_refused_grant_ends_even_if_something_else_is_unsettled() -> None:
    twin = identity("twin", account="checkout")
    closed = broker(owns=["other."])
    assert verdict(PUBLISH, *SHOP, *BOTH, twin, closed, POLICY)[0] is GrantState.REFUSED


def test_grant_for_an_environment_of_no_possible_domain_ends_during_a_conflict() -> None:
    selected = domain()["spec"]["namespaceSelector"]
    overlap = domain("rival", namespaceSelector=selected)
    usual = [*SHOP, overlap, *BOTH, broker(), POLICY]
    assert verdict(PUBLISH, *usual)[0] is GrantState.SUSPENDED
    moved = domain(environment="lab")
    found = verdict(PUBLISH, *usual, moved)
    assert found == (GrantState.REFUSED, "EnvironmentNotOfNamespace")


# What cannot be read


def test_unreadable_resource_changes_no_grant() -> None:
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    about = messaging(*manifests, uses=USES)
    about.refuse_broker(Ref("messaging", "main"), "broken")
    assert verdict(PUBLISH, *manifests, about=about) == (GrantState.SUSPENDED, "BrokerInvalid")

    registry = builders.registry(*manifests)
    registry.refuse_identity(CHECKOUT, "broken")
    (grant, *_) = grants_of(registry, messaging(*manifests, uses={}), ORDERS)
    assert (grant.entry, grant.state) == (PUBLISH, GrantState.SUSPENDED)
    assert grant.reason == "IdentityInvalid"
    assert grant.grant is not None


def test_grants_of_users_of_an_unreadable_policy_are_not_removed() -> None:
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    registry, about = builders.registry(*manifests), messaging(*manifests, uses=USES)
    assert undecided(registry, about) == set()
    about.refuse_policy(ORDERS, "broken")
    grant = grants_by_entry(*manifests, about=about)[GrantEntry(CHECKOUT, Action.PUBLISH)]
    assert (grant.state, grant.reason, grant.grant) == (
        GrantState.SUSPENDED,
        "PolicyInvalid",
        None,
    )
    assert undecided(registry, about) == {CHECKOUT, FULFILMENT}


def test_unreadable_identity_may_use_any_unreadable_policy() -> None:
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    registry, about = builders.registry(*manifests), messaging(*manifests, uses={})
    registry.refuse_identity(CHECKOUT, "broken")
    assert undecided(registry, about) == set()
    about.refuse_policy(ORDERS, "broken")
    assert undecided(registry, about) == {CHECKOUT}


# What is forgotten


def test_dropped_or_replaced_resources_leave_no_index_entries() -> None:
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
    found = grants_by_entry(*manifests, about=about)
    assert found[PUBLISH].state is GrantState.LIVE
    assert found[CONSUME].reason == "PolicyNotNamed"
    about.drop_broker(Ref("messaging", "main"))
    assert verdict(PUBLISH, *manifests, about=about)[1] == "BrokerMissing"
    about.drop_policy(ORDERS)
    assert grants_by_entry(*manifests, about=about)[PUBLISH].reason == "PolicyMissing"
    about.put_uses(CHECKOUT, Uses())
    assert grants_by_entry(*manifests, about=about) == {}
    assert about.users(ORDERS) == about.at(Ref("messaging", "main")) == set()
