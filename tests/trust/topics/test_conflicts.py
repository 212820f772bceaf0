"""A disputed or unreadable grant is suspended with a reason."""

from typing import Any

import pytest

from tests import builders
from tests.builders import NOW, Manifest, domain, identity, namespace, stamp
from tests.changed_manifests import changed
from tests.messaging import (
    KAFKA,
    NATS,
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
    FULFILMENT,
    GUEST,
    ORDERS,
    POLICY,
    PUBLISH,
    SHOP,
    USES,
    agreed,
    grants_by_entry,
    older,
    verdict,
)
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import GrantEntry
from troth.trust.declarations.topics.messaging import Uses
from troth.trust.grants import Grant, Topic
from troth.trust.topics.evaluation import grants_of, undecided
from troth.world.observation.resources import policy_claims

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
    intruder = older(
        policy(
            "intruder",
            namespace_,
            topic={"name": "prod.lab"},
            consumers=[consumer(GUEST, group)],
        )
    )
    declared = [*SHOP, *BOTH, lab, closed, broker(described=described), POLICY]
    declared.append(identity(GUEST, namespace_))
    grant = grants_by_entry(*declared, intruder, uses=agreed(intruder))[CONSUME]
    assert grant.state is state
    assert grant.reason == ("GroupShared" if state is GrantState.SUSPENDED else "")
    about = messaging(*declared, intruder, uses=agreed(intruder))
    about.drop_policy(Ref(namespace_, "intruder"))
    assert grants_by_entry(*declared, about=about)[CONSUME].state is GrantState.LIVE


def streaming(name: str, topic: str, stream: str, group: str) -> Manifest:
    stored = {"name": topic} | ({"stream": stream} if stream else {})
    return older(policy(name, "lab", topic=stored, consumers=[consumer(GUEST, group)]))


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
    lab = [namespace("lab", domain="production"), identity(GUEST, "lab")]
    uses = agreed(intruder)
    grant = grants_by_entry(*SHOP, *BOTH, *lab, there, mine, intruder, uses=uses)[CONSUME]
    assert grant.state is state
    assert grant.reason == ("GroupShared" if state is GrantState.SUSPENDED else "")


def test_group_is_shared_only_if_each_owner_shares_it() -> None:
    mine = broker(more={"sharedGroups": ["fulfilment"]})
    second = broker("second", principals="second-", groups=["fulfilment"])
    lab = [namespace("lab", domain="production"), identity(GUEST, "lab")]
    consumers = [consumer(GUEST, "fulfilment")]
    theirs = older(policy("a", "lab", at=("messaging", "second"), consumers=consumers))
    declared, uses = [*SHOP, *BOTH, *lab, mine, POLICY, theirs], agreed(theirs)
    suspended = GrantState.SUSPENDED, "GroupShared"
    assert verdict(CONSUME, *declared, second, uses=uses) == suspended
    both = changed(second, "spec.owns.sharedGroups", ["fulfilment"])
    assert verdict(CONSUME, *declared, both, uses=uses) == (GrantState.LIVE, "")


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
        {
            "topic": {"name": "prod.orders.v1"},
            "environment": "production",
            "at": ("messaging", "main"),
        },
        False,
    ),
    "another topic": ({"topic": {"name": "prod.orders.v2"}}, False),
}
STAGE = [
    domain("staging", environment="staging"),
    namespace("stage", domain="staging"),
    identity(GUEST, "stage"),
    broker(
        "staging",
        environment="staging",
        principals="staging-",
        allowedNamespaces={"matchLabels": {"domain": "staging"}},
    ),
]
"""A namespace of another environment, and its broker at the same servers."""


def staged(**spec: Any) -> Manifest:
    """Return an older policy of the other environment, whose guest does everything."""
    usual: dict[str, Any] = {
        "topic": {"name": "prod.elsewhere"},
        "environment": "staging",
        "at": ("messaging", "staging"),
        "producers": [producer(GUEST)],
        "consumers": [consumer(GUEST, "other")],
    }
    return older(policy("rival", "stage", **usual | spec))


@pytest.mark.parametrize(("spec", "disputed"), RIVALS.values(), ids=list(RIVALS))
def test_disputed_topic_is_granted_to_nobody_new(spec: Manifest, *, disputed: bool) -> None:
    rival = staged(**spec)
    declared = [*SHOP, *STAGE, *BOTH, broker(), POLICY, rival]
    grant = grants_by_entry(*declared, uses=agreed(rival))[PUBLISH]
    assert grant.state is (GrantState.SUSPENDED if disputed else GrantState.LIVE)
    assert grant.grant is not None
    assert ("TopicPolicy stage/rival claims prod.orders.v1" in grant.message) == disputed


def test_dispute_affects_exactly_the_brokers_with_the_same_server() -> None:
    rival = staged(topic={"name": "prod.orders.v1"})
    *stage, staging = STAGE
    declared, uses = [*SHOP, *stage, *BOTH, broker(), POLICY, rival], agreed(rival)
    assert verdict(PUBLISH, *declared, staging, uses=uses)[1] == "EnvironmentDisputed"
    other = changed(staging, "spec.kafka.bootstrapServers", ["elsewhere:9093"])
    assert verdict(PUBLISH, *declared, other, uses=uses) == (GrantState.LIVE, "")
    closed = changed(staging, "spec.allowedNamespaces", {"matchLabels": {"domain": "none"}})
    assert verdict(PUBLISH, *declared, closed, uses=uses) == (GrantState.LIVE, "")


# Which claims count

INTRUDER = policy(
    "intruder",
    "lab",
    topic={"name": "prod.lab"},
    consumers=[consumer(GUEST, "fulfilment")],
)
LAB = [namespace("lab", domain="production"), identity(GUEST, "lab")]
DISPUTE = staged(topic={"name": "prod.orders.v1"})
REFUSED: dict[str, tuple[list[Manifest], Manifest, Any]] = {
    "group: the identity does not exist": (LAB[:1], older(INTRUDER), agreed(INTRUDER)),
    "group: the identity does not consent": (LAB, older(INTRUDER), USES),
    "group: the topic is not owned": (
        LAB,
        changed(older(INTRUDER), "spec.topic.name", "lab.x"),
        agreed(INTRUDER),
    ),
    "environment: nobody consents": (STAGE, DISPUTE, USES),
    "environment: not that of the broker": (
        STAGE,
        changed(DISPUTE, "spec.brokerRef.name", "main"),
        agreed(DISPUTE),
    ),
    "environment: not that of the namespace": (
        [*STAGE, *LAB],
        changed(DISPUTE, "metadata.namespace", "lab"),
        agreed(changed(DISPUTE, "metadata.namespace", "lab")),
    ),
    "environment: only by dead letters, of no consumer": (
        STAGE,
        staged(deadLetter={"topic": "prod.orders.v1"}, consumers=[]),
        agreed(DISPUTE),
    ),
}


@pytest.mark.parametrize(("beside", "rival", "uses"), REFUSED.values(), ids=list(REFUSED))
def test_policy_that_is_granted_nothing_suspends_nobody(
    beside: list[Manifest], rival: Manifest, uses: Any
) -> None:
    declared = [*SHOP, *BOTH, broker(), POLICY, *beside, rival]
    grants = grants_by_entry(*declared, uses=uses)
    assert grants[PUBLISH].state is grants[CONSUME].state is GrantState.LIVE


def accepted(manifest: Manifest, kind: str, name: str, at: str = "main") -> Manifest:
    """Return a policy that Troth accepted with a name."""
    claim = {"kind": kind, "name": name, "broker": f"messaging/{at}", "since": stamp(NOW)}
    return {**manifest, "status": {"claims": [claim]}}


@pytest.mark.parametrize("first", ["mine", "theirs"])
@pytest.mark.parametrize("by", ["acceptance", "creation"])
def test_older_claim_to_a_group_stands(first: str, by: str) -> None:
    mine, theirs = POLICY, INTRUDER
    if by == "acceptance":  # which goes before an earlier creation
        mine = accepted(mine, "Group", "fulfilment") if first == "mine" else older(mine)
        theirs = accepted(theirs, "Group", "fulfilment") if first == "theirs" else older(theirs)
    else:
        mine, theirs = (older(mine), theirs) if first == "mine" else (mine, older(theirs))
    declared, uses = [*SHOP, *BOTH, *LAB, broker(), mine, theirs], agreed(INTRUDER)
    states = [
        grants_by_entry(*declared, uses=uses)[CONSUME].state,
        grants_by_entry(*declared, uses=uses, of=Ref("lab", "intruder"))[
            GrantEntry(Ref("lab", GUEST), Action.CONSUME, "fulfilment")
        ].state,
    ]
    expected = [GrantState.LIVE, GrantState.SUSPENDED]
    assert states == (expected if first == "mine" else expected[::-1])


@pytest.mark.parametrize("first", ["mine", "theirs"])
def test_older_claim_to_a_topic_stands(first: str) -> None:
    rival = staged(topic={"prefix": "prod."})
    mine, theirs = POLICY, accepted(rival, "Topic", "prod.*", "staging")
    if first == "mine":
        mine, theirs = accepted(POLICY, "Topic", "prod.orders.v1"), rival
    declared, uses = [*SHOP, *BOTH, *STAGE, broker(), mine, theirs], agreed(rival)
    guest = GrantEntry(Ref("stage", GUEST), Action.PUBLISH)
    states = [
        grants_by_entry(*declared, uses=uses)[PUBLISH].state,
        grants_by_entry(*declared, uses=uses, of=Ref("stage", "rival"))[guest].state,
    ]
    expected = [GrantState.LIVE, GrantState.SUSPENDED]
    assert states == (expected if first == "mine" else expected[::-1])


def test_claim_accepted_for_another_name_or_at_another_broker_has_no_age() -> None:
    declared, uses = [*SHOP, *BOTH, *LAB, broker(), older(POLICY)], agreed(INTRUDER)
    for other in (
        accepted(INTRUDER, "Group", "other"),
        accepted(INTRUDER, "Topic", "fulfilment"),
        accepted(INTRUDER, "Group", "fulfilment", "second"),
    ):
        assert verdict(CONSUME, *declared, other, uses=uses) == (GrantState.LIVE, "")


def test_two_consumers_of_one_policy_in_one_group_are_both_suspended() -> None:
    twice = changed(
        POLICY, "spec.consumers", [consumer(each, "fulfilment") for each in ("fulfilment", "guest")]
    )
    uses = {**USES, ("shop", GUEST): ([], [ORDERS])}
    grants = grants_by_entry(
        *SHOP, *BOTH, identity(GUEST), broker(), accepted(twice, "Group", "fulfilment"), uses=uses
    )
    consuming = [each for each in grants.values() if each.entry.action is Action.CONSUME]
    assert [each.reason for each in consuming] == ["GroupShared"] * 2


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
    grant = grants_by_entry(*usual, moved)[PUBLISH]
    assert (grant.state, grant.reason) == (GrantState.REFUSED, "EnvironmentNotOfNamespace")
    assert "but namespace shop belongs to lab or rival; messages" in grant.message


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


LIVE = (GrantState.LIVE, "")


@pytest.mark.parametrize(
    ("kind", "name", "at", "waiting"),
    [
        ("Group", "fulfilment", "main", [CONSUME]),
        ("Group", "other", "main", []),
        ("Group", "fulfilment", "elsewhere", []),
        ("Topic", "prod.*", "main", [PUBLISH, CONSUME]),
        ("Topic", "prod.orders.v1", "main", [PUBLISH, CONSUME]),
        ("Topic", "prod.orders", "main", []),
        ("Stream", "prod.orders.v1", "main", []),
    ],
)
def test_unreadable_policy_keeps_its_accepted_claims(
    kind: str, name: str, at: str, waiting: list[GrantEntry]
) -> None:
    """Otherwise the younger of two rivals would get what the older one has."""
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    about = messaging(*manifests, uses=USES)
    claims = policy_claims(accepted(INTRUDER, kind, name, at))
    about.refuse_policy(Ref("lab", "intruder"), "broken", claims)
    for entry in (PUBLISH, CONSUME):
        expected = (GrantState.SUSPENDED, "PolicyInvalid") if entry in waiting else LIVE
        assert verdict(entry, *manifests, about=about) == expected
    about.drop_policy(Ref("lab", "intruder"))
    assert verdict(CONSUME, *manifests, about=about) == LIVE


def test_unreadable_policy_takes_nothing_that_another_one_has() -> None:
    manifests = [*SHOP, *BOTH, broker(), accepted(POLICY, "Group", "fulfilment")]
    about = messaging(*manifests, uses=USES)
    claims = policy_claims(accepted(INTRUDER, "Group", "fulfilment"))
    about.refuse_policy(Ref("lab", "intruder"), "broken", claims)
    assert verdict(CONSUME, *manifests, about=about) == LIVE


@pytest.mark.parametrize("status", [None, [], {"claims": {}}, {"claims": [None, {"kind": 1}]}])
def test_malformed_claims_of_an_unreadable_policy_are_none(status: Any) -> None:
    assert policy_claims({**POLICY, "status": status}) == ()


IDENTITIES = (CHECKOUT, FULFILMENT)


def test_grants_of_users_of_an_unreadable_policy_are_not_removed() -> None:
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    registry, about = builders.registry(*manifests), messaging(*manifests, uses=USES)
    assert undecided(registry, about, IDENTITIES) == set()
    about.refuse_policy(ORDERS, "broken")
    grant = grants_by_entry(*manifests, about=about)[GrantEntry(CHECKOUT, Action.PUBLISH)]
    assert (grant.state, grant.reason, grant.grant) == (
        GrantState.SUSPENDED,
        "PolicyInvalid",
        None,
    )
    assert undecided(registry, about, IDENTITIES) == {CHECKOUT, FULFILMENT}


def test_unreadable_identity_may_use_any_unreadable_policy() -> None:
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    registry, about = builders.registry(*manifests), messaging(*manifests, uses={})
    registry.refuse_identity(CHECKOUT, "broken")
    assert undecided(registry, about, IDENTITIES) == set()
    about.refuse_policy(ORDERS, "broken")
    assert undecided(registry, about, IDENTITIES) == {CHECKOUT}


# What is forgotten


def test_dropped_or_replaced_resources_leave_no_index_entries() -> None:
    manifests = [*SHOP, *BOTH, broker(), POLICY]
    manifests += STAGE
    declared = staged(topic={"name": "prod.orders.v1"})
    about = messaging(*manifests, uses=agreed(declared))
    rival = messaging(declared).policies[Ref("stage", "rival")]
    about.put_policy(rival)
    assert verdict(PUBLISH, *manifests, about=about)[1] == "EnvironmentDisputed"
    about.drop_policy(rival.ref)
    about.put_uses(Ref("stage", GUEST), Uses())
    about.drop_broker(Ref("messaging", "staging"))
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
