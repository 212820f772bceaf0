"""A rule becomes exactly one ACL, and never a filter that matches several."""

import pytest
from confluent_kafka.admin import AclBinding
from hypothesis import given
from hypothesis import strategies as st

from troth.brokers.kafka.acls import EVERYTHING, binding_of, filter_of, rule_of
from troth.trust.grants import Rule

WRITE = Rule("checkout", "TOPIC", "LITERAL", "orders", "WRITE", host="*")

texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)
acls = st.builds(
    Rule,
    principal=texts | texts.map("Group:{}".format) | texts.map("User:{}".format),
    kind=st.sampled_from(["TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID"]),
    pattern=st.sampled_from(["LITERAL", "PREFIXED"]),
    name=texts,
    operation=st.sampled_from(["ALL", "READ", "WRITE", "DESCRIBE", "ALTER_CONFIGS"]),
    effect=st.sampled_from(["ALLOW", "DENY"]),
    host=texts,
)


@given(
    st.builds(
        AclBinding,
        st.sampled_from(["TOPIC", "GROUP", "BROKER", "TRANSACTIONAL_ID"]),
        texts,
        st.sampled_from(["LITERAL", "PREFIXED"]),
        st.sampled_from(["User:", "Group:", "User:User:", "User:Group:"]).flatmap(
            lambda kind: texts.map(lambda name: kind + name)
        ),
        texts,
        st.sampled_from(["ALL", "READ", "ALTER_CONFIGS"]),
        st.sampled_from(["ALLOW", "DENY"]),
    )
)
def test_observed_acl_equals_the_acl_of_its_rule(acl: AclBinding) -> None:
    assert binding_of(rule_of(acl)) == acl


def test_user_is_named_without_its_type() -> None:
    assert binding_of(WRITE).principal == "User:checkout"
    assert rule_of(binding_of(WRITE)) == WRITE


@pytest.mark.parametrize("name", ["", "orders\0eu", "orders\n", "\udc80", "x" * 8_001])
@pytest.mark.parametrize("place", ["principal", "name", "host"])
def test_text_that_kafka_would_receive_changed_is_rejected(place: str, name: str) -> None:
    fields = {"principal": "a", "name": "a", "host": "*", place: name}
    rule = Rule(
        fields["principal"],
        "TOPIC",
        "LITERAL",
        fields["name"],
        "WRITE",
        host=fields["host"],
    )
    for form in (binding_of, filter_of):
        with pytest.raises(ValueError, match="cannot be passed to Kafka unchanged"):
            form(rule)


@pytest.mark.parametrize("word", ["ANY", "MATCH", "UNKNOWN", "", "literal", "__class__"])
@pytest.mark.parametrize("place", ["kind", "pattern", "operation", "effect"])
def test_word_that_matches_several_acls_deletes_nothing(place: str, word: str) -> None:
    words = {"kind": "TOPIC", "pattern": "LITERAL", "operation": "WRITE", "effect": "ALLOW"}
    words[place] = word
    rule = Rule("a", words["kind"], words["pattern"], "n", words["operation"], words["effect"], "*")
    with pytest.raises(ValueError, match="Kafka has no"):
        filter_of(rule)


@given(acls)
def test_filter_matches_only_its_rule(rule: Rule) -> None:
    acl, narrow = binding_of(rule), filter_of(rule)
    assert narrow._to_tuple() == acl._to_tuple()
    assert None not in narrow._to_tuple()
    assert narrow._to_tuple() != EVERYTHING._to_tuple()
