"""Consumers that trust the messages of a policy without checking them."""

from collections.abc import Iterator

from troth.audit.brokers.sight import condition_of
from troth.audit.finding import Evidence, Finding, Fix, Object
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.conditions import Truth
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import Action, EnforcedBy
from troth.resources.reported import Severity
from troth.trust.topics.guarded import needs_guard

UNVALIDATED = "UnvalidatedConsumer"


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for ref, policy in sorted(scene.world.brokers.messaging.policies.items()):
        if ref.namespace != namespace or not needs_guard(policy):
            continue
        found = condition_of(policy.status.conditions, "EdgesValidated")
        if found is None or (found.status, found.reason) != (Truth.FALSE, UNVALIDATED):
            continue
        place = Object("TopicPolicy", ref)
        yield Finding(
            RULE.id,
            place,
            "a consumer is connected that does not check what the policy requires of a message; "
            "consume with the guard of troth.edge.events",
            (
                Evidence(place, "status.conditions[EdgesValidated]", found.message),
                *_grants(place, policy),
            ),
        )


def _grants(place: Object, policy: TopicPolicy) -> Iterator[Evidence]:
    """Yield the consumers whose messages nothing is known to check."""
    for each in policy.status.grants:
        if each.action is Action.CONSUME and each.enforcement is EnforcedBy.BROKER:
            shows = f"the broker alone enforces what {each.identity} may consume"
            yield Evidence(place, "status.grants", shows)


def _fix(_: Scene, finding: Finding) -> Fix:
    return Fix(
        steps=(
            f"Consume the messages of {finding.subject} with troth.edge.events (docs/events.md).",
            "If such a program consumes other topics only, give it an identity of its own.",
        )
    )


RULE = Rule(
    id="TR301",
    name="ConsumerWithoutGuard",
    title="A consumer of a policy with a schema or a context does not check its messages.",
    severity=Severity.HIGH,
    reads=frozenset({"TopicPolicy"}),
    find=_find,
    fix=_fix,
    sources=frozenset({"brokers", "brokers:Clients", "brokers:Guards"}),
)
