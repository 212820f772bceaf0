"""Condition `Exclusive`: whether only principals with grants can publish and consume a topic.

Troth never changes foreign access. It names the principals that have access to a policy's topic
without a grant.
"""

from collections.abc import Iterator

from troth.planning import verdicts
from troth.planning.grants.dialects import unsupported
from troth.planning.grants.foreign_access import EVERYBODY, foreign_access
from troth.planning.grants.rules import granted
from troth.planning.grants.view import PolicyView
from troth.planning.parts import Part, fails_closed, unplanned
from troth.resources.conditions import Verdict
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.names import PRINCIPAL_LIMIT
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.trust.declarations.topics.messaging import topic_of
from troth.trust.grants import Action, Observed, Topic

EXCLUSIVE = "Exclusive"
"""Type of the condition."""


@fails_closed(unplanned(EXCLUSIVE))
def plan_exclusive(view: PolicyView) -> Part:
    """Return the part on foreign access to a policy's topic."""
    return Part(verdicts=(_exclusive(view),))


def _exclusive(view: PolicyView) -> Verdict:
    """Return whether only principals with grants can publish and consume a policy's topic.

    This includes the dead-letter topic and the retry topics of a policy with a reviewer. It is
    Unknown while the broker has not been observed. After a restart the last verdict stays until
    then.
    """
    policy, broker = view.policy, view.broker
    if broker is None or unsupported(broker) is not None:
        message = f"MessageBroker {policy.broker} is not observed; see GrantsInSync"
        return verdicts.unknown(EXCLUSIVE, "BrokerNotObserved", message)
    observed = view.look.observed
    if observed is None:
        return _as_before(policy)
    able = list(_able(view, broker, observed))
    if not able:
        return verdicts.true(
            EXCLUSIVE, "OnlyGranted", "nobody else may publish or consume, except administrators"
        )
    message = (
        f"{'; '.join(able)} at MessageBroker {broker.ref} without a grant of Troth's; remove this "
        "access at the broker, or list the principals under administrators of the MessageBroker"
    )
    return verdicts.false(EXCLUSIVE, "ForeignAccess", message)


def _able(view: PolicyView, broker: MessageBroker, observed: Observed) -> Iterator[str]:
    """Yield which foreign principals may take which actions on each topic of a policy."""
    if not view.foreign:
        return
    own = frozenset().union(*(granted(broker, each) for each in view.grants))
    reaching = [each for each in view.foreign if each not in own]
    for topic, stream in _guarded_topics(view.policy):
        others = foreign_access(broker, reaching, observed, topic, stream)
        able = " and ".join(
            f"{verdicts.some(list(map(_shown, names)))} may {action.lower()}"
            for action in Action
            if (names := sorted(name for name, actions in others.items() if action in actions))
        )
        if able:
            yield f"{able} {topic.name}"


def _guarded_topics(policy: TopicPolicy) -> Iterator[tuple[Topic, str]]:
    """Yield a policy's topic, and its other topics if it has a reviewer, each with its stream."""
    spec, letters = policy.spec, policy.spec.dead_letter
    yield topic_of(policy), spec.topic.stream or ""
    if letters is None or letters.reviewer is None:
        return
    yield Topic(letters.topic), letters.stream or ""
    retries = {each.retry.topic: each.retry for each in spec.consumers if each.retry is not None}
    for name in sorted(retries):
        yield Topic(name), retries[name].stream or ""


def _as_before(policy: TopicPolicy) -> Verdict:
    last = next((each for each in policy.status.conditions if each.type == EXCLUSIVE), None)
    if last is None or policy.status.observed_generation != policy.metadata.generation:
        message = f"MessageBroker {policy.broker} has not been observed yet"
        return verdicts.unknown(EXCLUSIVE, "NotSeenYet", message)
    return Verdict(type=EXCLUSIVE, status=last.status, reason=last.reason, message=last.message)


def _shown(principal: str) -> str:
    """Return a principal as a message shows it; a broker may have any text there."""
    if principal == EVERYBODY:
        return "every principal (*)"
    text = principal if principal.isprintable() and principal.isascii() else ascii(principal)
    return text[:PRINCIPAL_LIMIT]
