"""Kafka's mapping rule turns an identity's subject into the principal of its grants."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.messaging import broker
from troth.brokers.kafka.principals import mapping_rule
from troth.pki.certificates.subjects import Subject
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.topics.candidate import principal_of

RULE = re.compile("RULE:([^/]*)/([^/]*)/")
namespaces = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
names = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", fullmatch=True)
refs = st.builds(Ref, namespaces, names)
prefixes = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)


def mapped(rule: str, subject: str) -> str | None:
    """Return the principal that one rule gives a subject, as Kafka's `SslPrincipalMapper` does."""
    parts = RULE.fullmatch(rule)
    assert parts is not None
    pattern, principal = parts.groups()
    found = re.fullmatch(pattern.removesuffix("$"), subject)
    if found is None:
        return None
    return re.sub(r"\$(\d)", lambda group: found[int(group[1])], principal)


def a_broker(prefix: str = "troth-prod-") -> MessageBroker:
    return MessageBroker.parse(broker(principals=prefix))


@given(refs, prefixes)
def test_identity_maps_to_the_principal_of_its_grants(ref: Ref, prefix: str) -> None:
    subject = Subject(ref.name, ref.namespace)
    assert mapped(mapping_rule(prefix), str(subject)) == principal_of(a_broker(prefix), ref)


@given(refs, refs)
def test_no_two_identities_map_to_one_principal(one: Ref, other: Ref) -> None:
    principals = {mapped(mapping_rule("p-"), str(Subject(*ref[::-1]))) for ref in (one, other)}
    assert len(principals) == len({one, other})


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "CN=troth-admin",
        "UID=payments",
        "OU=shop,UID=payments",
        "UID=payments,OU=shop,O=Corp",
        "CN=x,UID=payments,OU=shop",
        "UID=payments,OU=shop\n",
        "UID=payments,OU=shop.eu",
        "UID=payments\\,OU=shop,OU=other",
        "UID=payments+CN=troth-admin,OU=shop",
        "UID=payments,OU=Shop",
        "uid=payments,OU=shop",
    ],
)
def test_other_subject_maps_to_no_principal(subject: str) -> None:
    assert mapped(mapping_rule("troth-prod-"), subject) is None


def test_rule_has_its_documented_text() -> None:
    rule = "RULE:^UID=([a-z0-9.-]+),OU=([a-z0-9-]+)$/troth-prod-$2.$1/"
    assert mapping_rule("troth-prod-") == rule
