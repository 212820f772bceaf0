"""Member `observed` of the status of a `MessageBroker`: what the broker shows of its security.

It changes only with its content, at most once a minute, because clients come and go. While the
broker is away it keeps its time, and `Reachable` says that it may be outdated.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta

from troth.brokers.exposure import hidden, merged, shown_principal
from troth.brokers.registry import DIALECTS
from troth.planning.grants.foreign_access import foreign_access, is_administrator
from troth.planning.parts import Part, fails_closed, unplanned
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.observed_broker import (
    MOST_RIGHTS,
    MOST_TOPICS,
    Aspect,
    ForeignRight,
    ObservedBroker,
)
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.trust.declarations.topics.messaging import topic_of
from troth.trust.grants import Action, Rule, Topic
from troth.world.facts.broker import BrokerObservation

AT_MOST_EVERY = timedelta(seconds=60)
"""Minimum time between two contents of the status."""


def is_shown(broker: MessageBroker, look: BrokerObservation) -> bool:
    """Return whether an observation shows the security of a broker."""
    supported = broker.spec.type in DIALECTS  # its type may have changed since it was observed
    return supported and not look.busy and look.observed is not None and look.exposed is not None


@fails_closed(unplanned())
def plan_exposure(
    broker: MessageBroker,
    look: BrokerObservation,
    rights: tuple[ForeignRight, ...],
    now: datetime,
) -> Part:
    """Return the part on a broker's security; `rights` are the foreign ones.

    A content that is held back is due later.
    """
    if not is_shown(broker, look):
        return Part()
    before, found = broker.status.observed, _observed(broker, look, rights)
    if before is None:
        return Part(status={"observed": found})
    if found.model_copy(update={"observed_at": before.observed_at}) == before:
        return Part()
    again = before.observed_at + AT_MOST_EVERY
    if before.observed_at <= now < again:
        return Part(dues=(again,))
    return Part(status={"observed": found})


def _observed(
    broker: MessageBroker, look: BrokerObservation, rights: tuple[ForeignRight, ...]
) -> ObservedBroker:
    assert look.exposed is not None
    exposure = look.exposed.exposure
    super_users = tuple(each for each in exposure.super_users if not is_administrator(each, broker))
    too_many = ["the status has not room for all rights"] if len(rights) > MOST_RIGHTS else []
    return ObservedBroker(
        listeners=exposure.listeners,
        super_users=super_users,
        clients=exposure.clients,
        hidden=merged(*exposure.hidden, *hidden(Aspect.RIGHTS, *too_many)),
        observed_at=look.exposed.at,
        rights=rights[:MOST_RIGHTS],
    )


def foreign_rights(
    broker: MessageBroker,
    look: BrokerObservation,
    rules: Iterable[Rule],
    policies: Collection[TopicPolicy],
) -> Iterator[ForeignRight]:
    """Yield the rights of foreign principals, wildcards first.

    `rules` are the foreign rules that concern any owned topic. `policies` are those of the broker.
    Super users and Troth's own principals are left out: `superUsers` and `InSync` are about them.
    """
    assert look.observed is not None
    assert look.exposed is not None
    foreign = [
        rule
        for rule in rules
        if rule.principal not in look.exposed.exposure.super_users
        and not rule.principal.startswith(broker.spec.owns.principal_prefix)
    ]
    if not foreign:
        return
    actions: dict[str, set[Action]] = defaultdict(set)
    topics: dict[str, set[str]] = defaultdict(set)
    for policy in policies:
        topic, stream = topic_of(policy), policy.spec.topic.stream or ""
        reached = foreign_access(broker, foreign, look.observed, topic, stream)
        for principal, may in reached.items():
            actions[principal] |= may
            topics[principal].add(topic.name)
    wildcards = set(_wildcards(broker, foreign))
    for prefix in broker.spec.owns.topic_prefixes if wildcards - actions.keys() else ():
        # they reach every topic that a policy may name later
        reached = foreign_access(broker, foreign, look.observed, Topic(prefix, prefix=True), "")
        for principal in wildcards & reached.keys():
            actions[principal] |= reached[principal]
    for principal in sorted(actions, key=lambda each: (each not in wildcards, each)):
        reached_topics = sorted(topics[principal])
        yield ForeignRight(
            principal=shown_principal(principal),
            actions=tuple(each for each in Action if each in actions[principal]),
            topics=tuple(reached_topics[:MOST_TOPICS]),
            more_topics=len(reached_topics) > MOST_TOPICS or None,
            wildcard=principal in wildcards or None,
        )


def _wildcards(broker: MessageBroker, rules: list[Rule]) -> Iterator[str]:
    dialect = DIALECTS[broker.spec.type]
    return (
        each.principal for each in rules if each.effect == "ALLOW" and dialect.is_wildcard(each)
    )
