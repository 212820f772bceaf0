"""Kafka's ACLs allow exactly what is granted, as judged by a model of Kafka's authorizer."""

import itertools
import string
from collections.abc import Collection

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from troth.brokers.kafka.rules import INTERNAL, rules
from troth.trust.grants import Action, Grant, Rule, Topic

OPERATIONS = (
    *("READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "CLUSTER_ACTION"),
    *("DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE"),
)
KINDS = ("TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID", "USER")
IMPLYING = {
    "DESCRIBE": {"DESCRIBE", "READ", "WRITE", "DELETE", "ALTER"},
    "DESCRIBE_CONFIGS": {"DESCRIBE_CONFIGS", "ALTER_CONFIGS"},
}

# Few names that are prefixes of each other, so that a prefix meets its neighbours.
NAMES = ("a", "a.b", "a.bc", "ab", "b")
SAFE = set(string.ascii_letters + string.digits + "._-")

names = st.sampled_from(NAMES)
grants = st.builds(
    Grant,
    principal=names,
    action=st.sampled_from(Action),
    topic=st.builds(Topic, names, prefix=st.booleans()),
    group=names,
)


def authorized(
    acls: Collection[Rule], principal: str, operation: str, kind: str, name: str
) -> bool:
    """Return the decision of Kafka's StandardAuthorizer, modelled on its documentation."""

    def about(acl: Rule) -> bool:
        fits = {
            "LITERAL": acl.name in (name, "*"),
            "PREFIXED": name.startswith(acl.name),
        }
        return acl.kind == kind and acl.principal in (principal, "*") and fits[acl.pattern]

    relevant = [acl for acl in acls if about(acl)]
    denied = {acl.operation for acl in relevant if acl.effect == "DENY"}
    allowed = {acl.operation for acl in relevant if acl.effect == "ALLOW" and acl.host == "*"}
    if denied & {operation, "ALL"}:
        return False
    return bool(allowed & ({"ALL", operation} | IMPLYING.get(operation, set())))


def declared(
    granted: Collection[Grant], principal: str, operation: str, kind: str, name: str
) -> bool:
    mine = [grant for grant in granted if grant.principal == principal]
    if kind == "TOPIC":
        reached = {
            grant.action
            for grant in mine
            if name == grant.topic.name
            or (grant.topic.prefix and name[: len(grant.topic.name)] == grant.topic.name)
        }
        wanted = {
            "WRITE": {Action.PUBLISH},
            "READ": {Action.CONSUME, Action.REVIEW},
            "DESCRIBE": {*Action},
        }
        return bool(reached & wanted.get(operation, set()))
    joined = {grant.group for grant in mine if grant.action is Action.CONSUME}
    return kind == "GROUP" and operation in ("READ", "DESCRIBE") and name in joined


@given(st.lists(grants, max_size=6))
def test_exactly_what_is_granted_is_allowed(granted: list[Grant]) -> None:
    acls = rules(granted)
    for request in itertools.product(NAMES, OPERATIONS, KINDS, (*NAMES, "kafka-cluster", "*")):
        assert authorized(acls, *request) == declared(granted, *request), request


@given(st.lists(grants, max_size=6))
def test_rules_of_several_grants_are_the_union_of_their_rules(granted: list[Grant]) -> None:
    assert rules(granted) == {rule for grant in granted for rule in rules([grant])}


hostile = st.text(max_size=260) | st.sampled_from(NAMES)


@given(hostile, hostile, hostile, st.booleans())
@example("*", "a", "a", False)
@example("a", "*", "a", False)
@example("a", "", "a", True)
@example("a", "a", "*", False)
@example("a", "a\n", "a", False)
@example("a", "ä", "a", False)
@example("a", "a\0b", "a", True)
@example("a", "x" * 250, "a", False)
def test_any_name_is_used_literally_or_rejected(
    principal: str, topic: str, group: str, prefix: bool
) -> None:
    try:
        acls = rules([Grant(principal, Action.CONSUME, Topic(topic, prefix), group)])
    except ValueError:
        return
    assert {(acl.principal, acl.kind, acl.name) for acl in acls} == {
        (principal, "TOPIC", topic),
        (principal, "GROUP", group),
    }
    for name in (principal, topic, group):
        assert name
        assert set(name) <= SAFE


@pytest.mark.parametrize(
    "name", ["", "*", "a*", "a b", "a/b", "a\n", "ö", "\N{FULLWIDTH ASTERISK}"]
)
@pytest.mark.parametrize("place", ["principal", "topic", "prefix", "group"])
def test_name_that_could_grant_more_is_rejected(place: str, name: str) -> None:
    whole = {"principal": "a", "topic": "a", "group": "a"}
    whole["topic" if place == "prefix" else place] = name
    topic = Topic(whole["topic"], prefix=place == "prefix")
    with pytest.raises(ValueError, match="is not a"):
        rules([Grant(whole["principal"], Action.CONSUME, topic, whole["group"])])


def test_longest_name_is_accepted_and_a_longer_one_rejected() -> None:
    assert rules([Grant("a", Action.PUBLISH, Topic("x" * 249))])
    with pytest.raises(ValueError, match="is not a topic name"):
        rules([Grant("a", Action.PUBLISH, Topic("x" * 250))])


@pytest.mark.parametrize("name", [".", ".."])
def test_path_is_no_topic_name(name: str) -> None:
    with pytest.raises(ValueError, match="is not a topic name; choose another topic"):
        rules([Grant("a", Action.PUBLISH, Topic(name))])
    assert rules([Grant("a", Action.PUBLISH, Topic(name, prefix=True))])


@pytest.mark.parametrize("internal", sorted(INTERNAL))
def test_internal_topics_of_kafka_are_never_granted(internal: str) -> None:
    for topic in (Topic(internal), *(Topic(internal[:end], prefix=True) for end in (1, 2, 5))):
        other = "another topic prefix$" if topic.prefix else "another topic$"
        with pytest.raises(ValueError, match=f"Kafka's internal topic .*; choose {other}"):
            rules([Grant("a", Action.PUBLISH, topic)])
    assert rules([Grant("a", Action.PUBLISH, Topic(f"{internal}.mine"))])


def test_anonymous_principal_is_granted_nothing() -> None:
    with pytest.raises(ValueError, match="every client without a credential; choose another"):
        rules([Grant("ANONYMOUS", Action.PUBLISH, Topic("a"))])
