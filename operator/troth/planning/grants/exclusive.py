"""Condition `Exclusive`: whether only principals with grants can publish and consume a topic.

Troth never changes foreign access. It names the principals that have access to a policy's topic
without a grant.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from troth.brokers.registry import DIALECTS
from troth.planning import status as verdicts
from troth.planning.grants.dialects import unsupported
from troth.planning.grants.rules import granted
from troth.resources.conditions import Verdict
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.names import PRINCIPAL_LIMIT
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.trust.declarations.messaging import topic_of
from troth.trust.grants import Action, Observed, Rule, Topic
from troth.trust.topics.evaluation import TopicGrant
from troth.world.world import World

EXCLUSIVE = "Exclusive"
"""Type of the condition."""
EVERYBODY = "*"
"""Principal of Kafka that stands for every principal."""
ALLOW = "ALLOW"

_Access = Mapping[str, frozenset[Action]]


def exclusive(policy: TopicPolicy, grants: Iterable[TopicGrant], world: World) -> Verdict:
    """Return whether only principals with grants can publish and consume a policy's topic.

    This includes the dead-letter topic and the retry topics of a policy with a reviewer. It is
    Unknown while the broker has not been observed. After a restart the last verdict stays until
    then.
    """
    broker = world.brokers.messaging.brokers.get(policy.broker)
    if broker is None or unsupported(broker) is not None:
        message = f"MessageBroker {policy.broker} is not observed; see GrantsInSync"
        return verdicts.unknown(EXCLUSIVE, "BrokerNotObserved", message)
    observed = world.brokers.observation(policy.broker).observed
    if observed is None:
        return _as_before(policy)
    able = list(_able(policy, broker, observed, grants, world))
    if not able:
        return verdicts.true(
            EXCLUSIVE, "OnlyGranted", "nobody else may publish or consume, except administrators"
        )
    message = (
        f"{'; '.join(able)} at MessageBroker {broker.ref} without a grant of Troth's; remove this "
        "access at the broker, or list the principals under administrators of the MessageBroker"
    )
    return verdicts.false(EXCLUSIVE, "ForeignAccess", message)


def _able(
    policy: TopicPolicy,
    broker: MessageBroker,
    observed: Observed,
    grants: Iterable[TopicGrant],
    world: World,
) -> Iterator[str]:
    """Yield which foreign principals may take which actions on each topic of a policy."""
    foreign = world.brokers.observation(broker.ref).foreign
    candidates = world.memo.of(
        "reaching", broker.ref, (foreign, broker), lambda: reaching_rules(broker, foreign)
    )
    if not candidates:
        return
    own = frozenset().union(*(granted(broker, each) for each in grants))
    reaching = [each for each in candidates if each not in own]
    for topic, stream in _guarded_topics(policy):
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


def foreign_access(
    broker: MessageBroker, rules: Iterable[Rule], observed: Observed, topic: Topic, stream: str
) -> Mapping[str, frozenset[Action]]:
    """Return the actions on topics that the principals of foreign rules may take."""
    reaching = list(rules)
    # apart, because the broker's rules deny nothing to an opening: super users bypass every ACL
    sides = (
        [each for each in reaching if each not in observed.openings],
        [each for each in reaching if each in observed.openings],
    )
    found: dict[str, frozenset[Action]] = defaultdict(frozenset)
    for side in sides:
        for name, actions in _access(broker, side, topic, stream).items():
            found[name] |= actions
    return found


def reaching_rules(broker: MessageBroker, foreign: Iterable[Rule]) -> tuple[Rule, ...]:
    """Return the foreign rules that concern any owned topic, except those of administrators."""
    dialect, owns = DIALECTS[broker.spec.type], broker.spec.owns
    return tuple(
        rule
        for rule in foreign
        if not is_administrator(rule.principal, broker)
        and any(
            # a rule that denies counts only if it concerns all of a topic
            rule.effect != ALLOW or dialect.access(rule, Topic(prefix, prefix=True), stream)
            for prefix in owns.topic_prefixes
            for stream in ("", *owns.streams)
        )
    )


def _access(broker: MessageBroker, rules: Iterable[Rule], topic: Topic, stream: str) -> _Access:
    dialect = DIALECTS[broker.spec.type]
    allowed: dict[str, frozenset[Action]] = defaultdict(frozenset)
    denied: dict[str, frozenset[Action]] = defaultdict(frozenset)
    for rule in rules:
        side = allowed if rule.effect == ALLOW else denied
        side[rule.principal] |= dialect.access(rule, topic, stream)
    for_all = denied.get(EVERYBODY, frozenset())
    left = {name: actions - denied[name] - for_all for name, actions in allowed.items()}
    return {name: actions for name, actions in left.items() if actions}


def is_administrator(principal: str, broker: MessageBroker) -> bool:
    """Return whether the broker's owner lists a principal, or the one that has signed it."""
    signer = DIALECTS[broker.spec.type].signer_of(principal)
    return not {principal, signer}.isdisjoint(broker.spec.administrators)


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
