"""A rule that needs a broker says what it could not see there, and is never silent instead."""

from dataclasses import replace

import pytest

from tests.audit.broker_scene import (
    AWAY,
    UP,
    client,
    found,
    messages,
    observed_broker,
    reasons,
    scene,
)
from tests.audit.pages import evaluated
from tests.broker_builders import orders
from tests.messaging import MQTT, broker
from troth.audit.finding import Cause
from troth.audit.registry import RULE_BY_ID, RULES
from troth.audit.rule import Rule
from troth.audit.rules.brokers import anonymous_access, foreign_rights, plaintext_listener
from troth.audit.rules.credentials import shared_broker_login
from troth.audit.rules.events import consumer_without_guard

AT_BROKERS = [rule for rule in RULES if "brokers" in rule.sources]
EVERY = pytest.mark.parametrize("rule", AT_BROKERS, ids=lambda rule: rule.id)
MAIN = "broker messaging/main"


@EVERY
def test_observed_broker_leaves_nothing_unseen(rule: Rule) -> None:
    assert not found(rule, observed_broker(listeners=[])).unseen


@EVERY
@pytest.mark.parametrize(
    ("reachable", "reason"),
    [
        (AWAY, "the operator has not reached the broker: nobody answers at nats:4222"),
        (AWAY | {"status": "Unknown", "message": ""}, "the operator has not reached the broker"),
        (None, "the operator has not reached the broker"),
    ],
    ids=["away", "not yet", "no status"],
)
def test_broker_that_is_away_is_unseen(
    rule: Rule, reachable: dict[str, str] | None, reason: str
) -> None:
    assert reasons(found(rule, observed_broker(reachable=reachable))) == {(MAIN, reason)}
    last_known = observed_broker(reachable=reachable, listeners=[])
    assert reasons(found(rule, last_known)) == {(MAIN, reason)}


def test_cause_says_whether_a_broker_failed_or_does_not_show() -> None:
    rule = RULE_BY_ID["TR805"]
    hidden = observed_broker(hidden=[{"aspect": "Listeners", "reason": "it is so"}])
    assert [each.cause for each in found(rule, hidden).unseen] == [Cause.NOT_SHOWN]
    unobserved = scene(broker(), in_cluster=True)
    assert {each.cause for each in evaluated(rule, unobserved).unseen} == {Cause.FAILED}


def test_kind_that_nobody_asked_for_is_not_denied() -> None:
    rule = RULE_BY_ID["TR703"]
    shown = scene()
    shown.hidden["Secret"] = "it may not be listed"
    assert {each.cause for each in evaluated(rule, shown).unseen} == {Cause.DENIED}
    shown.unwanted.add("Secret")
    assert {each.cause for each in evaluated(rule, shown).unseen} == {Cause.NOT_CONFIGURED}


@EVERY
def test_broker_that_was_never_observed_is_unseen(rule: Rule) -> None:
    """A status that an older operator wrote has no observation."""
    evaluation = found(rule, observed_broker(reachable=UP))
    reason = "the operator has not observed the security of the broker yet"
    assert reasons(evaluation) == {(MAIN, reason)}


@EVERY
def test_unusable_broker_is_unseen(rule: Rule) -> None:
    unusable = broker()
    unusable["spec"]["environment"] = "Not A Name"
    assert reasons(found(rule, unusable)) == {
        (MAIN, "the MessageBroker cannot be used; see its conditions")
    }


@EVERY
def test_manifests_alone_leave_nothing_unseen(rule: Rule) -> None:
    assert not evaluated(rule, scene(broker(), in_cluster=False)).unseen


def test_findings_of_the_last_observation_stay_while_the_broker_is_away() -> None:
    listener = {"name": "mqtt", "encryption": "None", "authentication": "None"}
    evaluation = found(
        plaintext_listener.RULE, observed_broker(reachable=AWAY, listeners=[listener])
    )
    assert len(messages(evaluation)) == 1
    assert evaluation.unseen


@pytest.mark.parametrize(
    ("rule", "aspect"),
    [
        (shared_broker_login.RULE, "Clients"),
        (shared_broker_login.RULE, "Principals"),
        (foreign_rights.RULE, "Rights"),
        (anonymous_access.RULE, "Listeners"),
    ],
    ids=lambda value: value.id if isinstance(value, Rule) else value,
)
def test_hidden_aspect_is_unseen_by_the_rules_that_need_it(rule: Rule, aspect: str) -> None:
    hidden = observed_broker(hidden=[{"aspect": aspect, "reason": "the server hides it"}])
    assert reasons(found(rule, hidden)) == {(MAIN, "the server hides it")}
    others = [each for each in AT_BROKERS if f"brokers:{aspect}" not in each.sources]
    assert others
    for other in others:
        assert not found(other, hidden).unseen


def test_policy_whose_clients_are_hidden_is_unseen() -> None:
    condition = {
        "type": "EdgesValidated",
        "status": "Unknown",
        "reason": "NotObservable",
        "message": "MessageBroker messaging/main does not show its clients",
        "lastTransitionTime": "2026-11-28T08:00:00Z",
    }
    policy = orders(context={"require": ["Actor"]}) | {"status": {"conditions": [condition]}}
    evaluation = found(consumer_without_guard.RULE, observed_broker(listeners=[]), policy)
    assert reasons(evaluation) == {("TopicPolicy shop/orders", condition["message"])}
    condition["reason"] = "NoConsumerSeen"
    assert not found(consumer_without_guard.RULE, observed_broker(listeners=[]), policy).unseen


def test_rule_without_the_source_says_nothing_of_brokers() -> None:
    rule = replace(foreign_rights.RULE, sources=frozenset())
    assert not found(rule, observed_broker(reachable=AWAY)).unseen


def test_kinds_that_are_hidden_are_unseen_besides() -> None:
    hidden = scene(observed_broker(clients=[client("a", "10.0.0.1")]))
    hidden.hidden["Pod"] = "the auditor may not list them"
    (unseen,) = evaluated(shared_broker_login.RULE, hidden).unseen
    assert (unseen.kinds, unseen.reason) == (("Pod",), "the auditor may not list them")


def test_unsupported_broker_is_unseen_with_the_reason() -> None:
    reachable = AWAY | {"reason": "Unsupported", "message": "Troth does not support mqtt yet"}
    evaluation = found(anonymous_access.RULE, observed_broker(reachable=reachable, described=MQTT))
    assert "Troth does not support mqtt yet" in next(iter(reasons(evaluation)))[1]
