"""TR801 to TR805: what a broker shows of rights, super users and listeners."""

from typing import Any

import pytest

from tests.audit.broker_scene import (
    HOSTILE,
    USER,
    found,
    messages,
    observed_broker,
    scene,
    sentences,
)
from tests.audit.pages import NOW, evaluated
from tests.messaging import KAFKA, MQTT, NATS, RABBITMQ, VALKEY, broker
from troth.audit.rule import Rule
from troth.audit.rules.brokers import (
    anonymous_access,
    foreign_rights,
    plaintext_listener,
    super_user,
    wildcard_rights,
)
from troth.audit.scene import scene_of
from troth.resources.messaging.message_broker import MessageBroker

RULES = (
    foreign_rights.RULE,
    wildcard_rights.RULE,
    super_user.RULE,
    anonymous_access.RULE,
    plaintext_listener.RULE,
)


def right(principal: str = "legacy", **more: Any) -> dict[str, Any]:
    return {"principal": principal, "actions": ["Publish"], "topics": ["prod.orders.v1"]} | more


def listener(encryption: str, authentication: str, name: str = "LEGACY") -> dict[str, Any]:
    return {"name": name, "encryption": encryption, "authentication": authentication}


def test_right_without_a_wildcard_is_a_foreign_one() -> None:
    evaluation = found(foreign_rights.RULE, observed_broker(rights=[right()]))
    assert messages(evaluation) == [
        (
            "legacy may publish on topics of policies without a grant of Troth's; remove this "
            "access at the broker"
        )
    ]
    assert list(sentences(evaluation)) == [
        "MessageBroker messaging/main status.observed.rights: legacy may publish prod.orders.v1"
    ]


def test_right_with_a_wildcard_is_found_once() -> None:
    shown = observed_broker(rights=[right("*", wildcard=True), right("legacy", wildcard=True)])
    assert not messages(found(foreign_rights.RULE, shown))
    assert [each.split(" by ")[0] for each in messages(found(wildcard_rights.RULE, shown))] == [
        "every principal (*) may publish on topics of policies",
        "legacy may publish on every topic",
    ]


def test_topics_beyond_the_limit_are_others() -> None:
    shown = observed_broker(rights=[right(moreTopics=True)])
    (line,) = sentences(found(foreign_rights.RULE, shown))
    assert line.endswith("prod.orders.v1 and others")


def test_super_users_are_found_by_name_or_without_one() -> None:
    shown = observed_broker(superUsers=["super.users", USER])
    assert [
        each.split(" of the broker")[0] for each in messages(found(super_user.RULE, shown))
    ] == [
        f"{USER} bypasses every rule",
        "super users, whose names Kafka does not disclose, bypass every rule",
    ]


def test_accepted_super_user_is_among_the_administrators() -> None:
    shown = observed_broker(superUsers=[USER])
    shown["spec"]["administrators"] = ["owner"]
    place = scene(shown)
    (finding,) = evaluated(super_user.RULE, place).findings
    (patch,) = super_user.RULE.fix(place, finding).patches
    shown["spec"] |= patch.patch["spec"]
    assert MessageBroker.parse(shown).spec.administrators == (USER, "owner")


@pytest.mark.parametrize(
    ("shown", "anonymous", "plaintext"),
    [
        (listener("Required", "Required"), 0, 0),
        (listener("Unknown", "Unknown"), 0, 0),
        (listener("Required", "None"), 1, 0),
        (listener("None", "Required"), 0, 1),
        (listener("None", "None"), 1, 1),
    ],
)
def test_open_listener_is_found(shown: dict[str, Any], anonymous: int, plaintext: int) -> None:
    at = observed_broker(listeners=[shown])
    assert len(messages(found(anonymous_access.RULE, at))) == anonymous
    assert len(messages(found(plaintext_listener.RULE, at))) == plaintext


@pytest.mark.parametrize(
    ("described", "count"), [(KAFKA, 0), (NATS, 0), (VALKEY, 0), (RABBITMQ, 1), (MQTT, 1)]
)
def test_connection_without_tls_is_found_in_files(described: dict[str, Any], count: int) -> None:
    place = scene_of([broker(described=described)], NOW)
    findings = evaluated(plaintext_listener.RULE, place).findings
    assert len(findings) == count
    for finding in findings:
        (patch,) = plaintext_listener.RULE.fix(place, finding).patches
        (type_,) = described
        whole = described[type_] | patch.patch["spec"][type_]
        patched = scene_of([broker(described={type_: whole})], NOW)
        assert not evaluated(plaintext_listener.RULE, patched).findings


def test_kafka_without_the_member_tls_is_no_finding() -> None:
    bare = {name: value for name, value in KAFKA["kafka"].items() if name != "tls"}
    place = scene_of([broker(described={"kafka": bare})], NOW)
    assert not evaluated(plaintext_listener.RULE, place).findings


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_names_of_a_broker_may_be_hostile(rule: Rule) -> None:
    shown = observed_broker(
        rights=[right(HOSTILE), right(f"{HOSTILE}2", wildcard=True)],
        superUsers=[HOSTILE],
        listeners=[listener("None", "None", HOSTILE)],
    )
    place = scene(shown)
    findings = evaluated(rule, place).findings
    assert findings
    for each in findings:
        assert each.message.isprintable()
        assert all(line.sentence.isprintable() for line in each.evidence)
        assert rule.fix(place, each).steps


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_finding_is_of_the_namespace_of_its_broker(rule: Rule) -> None:
    shown = observed_broker(
        rights=[right(), right("other", wildcard=True)],
        superUsers=["super.users"],
        listeners=[listener("None", "None")],
    )
    assert list(rule.find(scene(shown), "messaging"))
    assert not list(rule.find(scene(shown), "shop"))
