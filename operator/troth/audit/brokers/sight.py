"""What rules could not see at message brokers, so that silence is never taken for safety."""

from collections.abc import Iterator

from troth.audit.finding import Cause, Unseen
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.conditions import Condition, Truth
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref

BROKERS, GUARDS = "brokers", "brokers:Guards"


def unseen_at_brokers(rule: Rule, scene: Scene) -> Iterator[Unseen]:
    """Yield what a rule with the source `brokers` could not see, in a cluster."""
    if BROKERS not in rule.sources or not scene.in_cluster:
        return
    declared = scene.world.brokers.messaging.brokers
    for manifest in scene.objects("MessageBroker"):
        ref = Ref.of(manifest)
        if ref.namespace not in scene.world.registry.watched:
            continue  # it has no effect
        broker = declared.get(ref)
        reasons = [("the MessageBroker cannot be used; see its conditions", Cause.FAILED)]
        if broker is not None:
            reasons = list(_hidden(rule, broker))
        for reason, cause in reasons:
            yield Unseen(rule.id, (f"broker {ref}",), reason, cause)
    if GUARDS in rule.sources:
        for policy_ref, policy in sorted(scene.world.brokers.messaging.policies.items()):
            reason = _unknown_guards(policy)
            if reason:
                yield Unseen(rule.id, (f"TopicPolicy {policy_ref}",), reason, Cause.NOT_SHOWN)


def _hidden(rule: Rule, broker: MessageBroker) -> Iterator[tuple[str, Cause]]:
    reachable = condition_of(broker.status.conditions, "Reachable")
    if reachable is None or reachable.status is not Truth.TRUE:
        reason = "the operator has not reached the broker"
        if reachable and reachable.message:
            reason = f"{reason}: {reachable.message}"
        yield reason, Cause.FAILED
    elif broker.status.observed is None:
        yield "the operator has not observed the security of the broker yet", Cause.FAILED
    if broker.status.observed is not None:
        for each in broker.status.observed.hidden:
            if f"{BROKERS}:{each.aspect}" in rule.sources:
                yield each.reason, Cause.NOT_SHOWN


def _unknown_guards(policy: TopicPolicy) -> str:
    found = condition_of(policy.status.conditions, "EdgesValidated")
    if found is None or (found.status, found.reason) != (Truth.UNKNOWN, "NotObservable"):
        return ""
    return found.message


def condition_of(conditions: tuple[Condition, ...], type_: str) -> Condition | None:
    """Return a condition, None if it is absent."""
    return next((each for each in conditions if each.type == type_), None)
