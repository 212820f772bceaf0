"""TR302: policies of sensitive topics that leave a protection out."""

from typing import Any

import pytest

from tests.audit.broker_scene import found, messages, scene
from tests.audit.pages import evaluated
from tests.broker_builders import orders
from tests.builders import Manifest
from tests.changed_manifests import changed
from tests.messaging import broker
from troth.audit.rules.events.sensitive_topic_unprotected import RULE, SENSITIVE
from troth.resources.messaging.topic_policy import TopicPolicy

WHOLE: dict[str, Any] = {
    "schema": {"jsonSchema": {"type": "object"}},
    "context": {"require": ["Actor"]},
    "deadLetter": {"topic": "prod.orders.v1.dlq", "reviewer": {"name": "reviewer"}},
}


def sensitive(label: str = "true", **spec: Any) -> Manifest:
    return changed(orders(**spec), "metadata.labels", {SENSITIVE: label})


def test_everything_that_is_missing_is_named() -> None:
    assert messages(found(RULE, broker(), sensitive())) == [
        (
            "its messages are sensitive, and the policy lacks a context, a schema and a "
            "dead-letter topic; add what is missing"
        )
    ]


def test_complete_policy_and_other_labels_are_no_finding() -> None:
    assert not messages(found(RULE, broker(), sensitive(**WHOLE)))
    assert not messages(found(RULE, broker(), sensitive("false")))
    assert not messages(found(RULE, broker(), orders()))


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_each_protection_counts(name: str) -> None:
    spec = {each: value for each, value in WHOLE.items() if each != name}
    assert len(messages(found(RULE, broker(), sensitive(**spec)))) == 1


def test_patch_requires_a_review_that_was_optional() -> None:
    optional = WHOLE | {"deadLetter": WHOLE["deadLetter"] | {"review": "Optional"}}
    policy = sensitive(**optional)
    place = scene(broker(), policy)
    (finding,) = evaluated(RULE, place).findings
    fix = RULE.fix(place, finding)
    (patch,) = fix.patches
    assert not fix.steps
    policy["spec"]["deadLetter"] |= patch.patch["spec"]["deadLetter"]
    place.put(policy)
    assert not evaluated(RULE, place).findings


def test_required_review_needs_somebody_who_carries_it_out() -> None:
    place = scene(broker(), sensitive(**WHOLE | {"deadLetter": {"topic": "prod.orders.v1.dlq"}}))
    (finding,) = evaluated(RULE, place).findings
    assert "lacks a reviewer of dead letters" in finding.message
    fix = RULE.fix(place, finding)
    assert not fix.patches, "nobody can guess the reviewer"
    assert any("troth review" in each and "spec.reviews" in each for each in fix.steps)


def test_patch_of_a_bare_policy_is_valid() -> None:
    policy = sensitive()
    place = scene(broker(), policy)
    (finding,) = evaluated(RULE, place).findings
    fix = RULE.fix(place, finding)
    policy["spec"] |= fix.patches[0].patch["spec"]
    assert TopicPolicy.parse(policy).spec.dead_letter is not None
    assert any("spec.schema" in each for each in fix.steps)


def test_prefix_needs_a_person_to_choose_the_dead_letter_topic() -> None:
    place = scene(broker(), sensitive(topic={"prefix": "prod.orders."}))
    (finding,) = evaluated(RULE, place).findings
    fix = RULE.fix(place, finding)
    assert "deadLetter" not in fix.patches[0].patch["spec"]
    assert any("outside the policy's prefix" in each for each in fix.steps)
