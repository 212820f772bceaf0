"""Kafka's ACLs give what is granted and nothing else, as a model of its authorizer judges."""

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

# Few, and each the beginning of others, so that a prefix and its neighbours meet.
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
    """What Kafka's StandardAuthorizer would say, from the documentation and not from ours."""

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
            "READ": {Action.CONSUME},
            "DESCRIBE": {Action.PUBLISH, Action.CONSUME},
        }
        return bool(reached & wanted.get(operation, set()))
    joined = {grant.group for grant in mine if grant.action is Action.CONSUME}
    return kind == "GROUP" and operation in ("READ", "DESCRIBE") and name in joined


@given(st.lists(grants, max_size=6))
def test_what_is_granted_passes_and_nothing_else(granted: list[Grant]) -> None:
    acls = rules(granted)
    for request in itertools.product(NAMES, OPERATIONS, KINDS, (*NAMES, "kafka-cluster", "*")):
        assert authorized(acls, *request) == declared(granted, *request), request


@given(st.lists(grants, max_size=6))
def test_the_acls_of_many_are_those_of_each(granted: list[Grant]) -> None:
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
def test_of_any_names_each_is_taken_as_it_is_or_refused(
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
def test_a_name_that_could_grant_more_is_refused(place: str, name: str) -> None:
    whole = {"principal": "a", "topic": "a", "group": "a"}
    whole["topic" if place == "prefix" else place] = name
    topic = Topic(whole["topic"], prefix=place == "prefix")
    with pytest.raises(ValueError, match="is not a"):
        rules([Grant(whole["principal"], Action.CONSUME, topic, whole["group"])])


def test_the_longest_name_is_taken_and_a_longer_one_is_not() -> None:
    assert rules([Grant("a", Action.PUBLISH, Topic("x" * 249))])
    with pytest.raises(ValueError, match="is not a topic name"):
        rules([Grant("a", Action.PUBLISH, Topic("x" * 250))])


@pytest.mark.parametrize("name", [".", ".."])
def test_a_path_is_no_topic(name: str) -> None:
    with pytest.raises(ValueError, match="is not a topic name"):
        rules([Grant("a", Action.PUBLISH, Topic(name))])
    assert rules([Grant("a", Action.PUBLISH, Topic(name, prefix=True))])


@pytest.mark.parametrize("internal", sorted(INTERNAL))
def test_kafkas_own_topics_are_nobodys(internal: str) -> None:
    for topic in (Topic(internal), *(Topic(internal[:end], prefix=True) for end in (1, 2, 5))):
        with pytest.raises(ValueError, match="Kafka's internal topic"):
            rules([Grant("a", Action.PUBLISH, topic)])
    assert rules([Grant("a", Action.PUBLISH, Topic(f"{internal}.mine"))])


def test_whoever_has_no_credential_is_granted_nothing() -> None:
    with pytest.raises(ValueError, match="every client without a credential"):
        rules([Grant("ANONYMOUS", Action.PUBLISH, Topic("a"))])
