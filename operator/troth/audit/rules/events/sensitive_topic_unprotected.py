"""Policies of sensitive topics that leave a protection out."""

from collections.abc import Iterator
from typing import Any

from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.messaging.dead_letter import Review
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.resources.reported import Severity

SENSITIVE = "troth.dev/sensitive"
"""Label of policies whose messages are sensitive; its value is true."""

REVIEW = "spec.deadLetter.review"
REVIEWER = "spec.deadLetter.reviewer"


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for ref, policy in sorted(scene.world.brokers.messaging.policies.items()):
        if ref.namespace != namespace or not _is_sensitive(scene, ref):
            continue
        lacking = dict(_lacking(policy))
        if not lacking:
            continue
        place = Object("TopicPolicy", ref)
        yield Finding(
            RULE.id,
            place,
            "its messages are sensitive, and the policy lacks "
            f"{_listed(list(lacking.values()))}; add what is missing",
            (
                Evidence(place, f"metadata.labels[{SENSITIVE}]", "is true"),
                *(Evidence(place, field, "is missing") for field in lacking if field != REVIEW),
                *(Evidence(place, REVIEW, "is Optional") for field in lacking if field == REVIEW),
            ),
        )


def _is_sensitive(scene: Scene, policy: Ref) -> bool:
    manifest = scene.object("TopicPolicy", policy) or {}
    labels = manifest.get("metadata", {}).get("labels") or {}
    return labels.get(SENSITIVE) == "true"


def _lacking(policy: TopicPolicy) -> Iterator[tuple[str, str]]:
    """Yield the fields that a policy lacks, each with its name in a sentence."""
    if policy.spec.context is None:
        yield "spec.context", "a context"
    if policy.spec.schema_ is None:
        yield "spec.schema", "a schema"
    if policy.spec.dead_letter is None:
        yield "spec.deadLetter", "a dead-letter topic"
    elif policy.spec.dead_letter.review is not Review.REQUIRED:
        yield REVIEW, "the review of dead letters"
    elif policy.spec.dead_letter.reviewer is None:
        yield REVIEWER, "a reviewer of dead letters"


def _listed(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _fix(scene: Scene, finding: Finding) -> Fix:
    policy = scene.world.brokers.messaging.policies[finding.subject.ref]
    lacking, spec, steps = dict(_lacking(policy)), dict[str, Any](), []
    if "spec.context" in lacking:
        spec["context"] = {"require": ["Actor"]}
        steps.append(
            "Use troth.edge.events in every producer and consumer before you require a context."
        )
    if "spec.schema" in lacking:
        steps.append("Write a schema of the messages in spec.schema; docs/schemas.md shows how.")
    if "spec.deadLetter" in lacking:
        name = policy.spec.topic.name
        if name is not None:
            spec["deadLetter"] = {"topic": f"{name}.dlq", "review": "Required"}
        steps.append(
            f"Create the topic {name}.dlq at the broker, which Troth does not do."
            if name is not None
            else "Choose a dead-letter topic outside the policy's prefix that the broker owns, "
            "and set spec.deadLetter to it."
        )
    if REVIEW in lacking:
        spec["deadLetter"] = {"review": "Required"}
    letters = policy.spec.dead_letter
    if letters is None or letters.reviewer is None:
        steps.append(
            "Run troth review with a ServiceIdentity of its own that lists the policy under "
            f"spec.reviews, and name that ServiceIdentity in {REVIEWER} of the policy. Without it, "
            "nobody carries out reviews."
        )
    patches = (Patch(finding.subject, {"spec": spec}),) if spec else ()
    return Fix(patches=patches, steps=tuple(steps))


RULE = Rule(
    id="TR302",
    name="SensitiveTopicUnprotected",
    title="The policy of a sensitive topic leaves out a context, a schema, a dead-letter topic, "
    "its review or its reviewer.",
    severity=Severity.MEDIUM,
    reads=frozenset({"TopicPolicy"}),
    find=_find,
    fix=_fix,
)
