"""What the foreign rules of a broker allow on topics. Troth never changes them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from troth.brokers.registry import DIALECTS
from troth.resources.messaging.message_broker import MessageBroker
from troth.trust.grants import Action, Observed, Rule, Topic

EVERYBODY = "*"
"""Principal of Kafka that stands for every principal."""
ALLOW = "ALLOW"

_Access = Mapping[str, frozenset[Action]]


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
