"""Declared grants and their states, without contacting a broker."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from troth.planning.grants.dialects import rules_of
from troth.planning.grants.status import broker_is_enforced, broker_is_served
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import GrantEntry
from troth.trust.grants import Topic
from troth.trust.topics.candidate import GrantCandidate, GrantObstacle
from troth.trust.topics.evaluation import TopicGrant
from troth.world.world import World

GIVEN = frozenset({GrantState.LIVE, GrantState.IN_SYNC})
"""The states of a grant that its broker has or will get."""


@dataclass(frozen=True, slots=True)
class Granted:
    """One grant that a policy or an identity declares.

    `topic` and `broker` are None if no policy names them.
    """

    entry: GrantEntry
    topic: Topic | None
    broker: Ref | None
    policy: Ref
    state: GrantState
    reason: str = ""
    message: str = ""

    @property
    def identity(self) -> Ref:
        """Identity that has the grant."""
        return self.entry.identity

    @property
    def action(self) -> Action:
        """Action that the identity may take."""
        return self.entry.action

    @property
    def group(self) -> str:
        """Group with which the identity consumes, "" if there is none."""
        return self.entry.group

    @property
    def named(self) -> str:
        """The topic for display: a prefix ends with `*`, which no topic name contains."""
        if self.topic is None:
            return ""
        return f"{self.topic.name}*" if self.topic.prefix else self.topic.name

    def __str__(self) -> str:
        topic = f"{self.named} at {self.broker}"
        if self.action is Action.PUBLISH:
            return f"{self.identity} → {topic}"
        by = f", group {self.group}" if self.group else ""
        return f"{topic} → {self.identity}{by}"

    def is_about(self, topic: str) -> bool:
        """Return whether the grant covers a topic of this name."""
        if self.topic is None:
            return False
        return topic.startswith(self.topic.name) if self.topic.prefix else topic == self.topic.name

    def document(self) -> dict[str, Any]:
        """Return the grant as JSON; empty members are omitted."""
        topic = self.topic
        said = {
            "identity": str(self.identity),
            "action": self.action.value,
            "topic": topic.name if topic and not topic.prefix else "",
            "prefix": topic.name if topic and topic.prefix else "",
            "group": self.group,
            "broker": str(self.broker or ""),
            "policy": str(self.policy),
            "state": self.state.value,
            "reason": self.reason,
            "message": self.message,
        }
        return {name: text for name, text in said.items() if text}


def everything_granted(world: World) -> Iterator[Granted]:
    """Yield every declared grant, sorted by policy."""
    messaging = world.brokers.messaging
    uses = (messaging.uses(identity) for identity in world.registry.identities)
    named = (each.policies for each in uses)
    policies = {*messaging.policies, *messaging.invalid_policies}.union(*named)
    for policy in sorted(policies):
        for grant in world.grants.of(policy):
            yield _granted(grant, world)


def _granted(grant: TopicGrant, world: World) -> Granted:
    messaging, asked = world.brokers.messaging, grant.entry
    policy = messaging.policies.get(grant.policy)
    stands = GrantObstacle(grant.state, grant.reason, grant.message)
    if grant.state is GrantState.LIVE:
        assert policy is not None
        broker = messaging.brokers[policy.broker]
        stands = _obstacle(broker, grant) or _reported(policy, asked) or stands
    if grant.state is GrantState.INACTIVE and policy is not None:
        # the reviews for which it may be needed are not read here
        stands = _reported(policy, asked) or stands
    return Granted(
        entry=asked,
        topic=GrantCandidate(world.registry, messaging, grant.policy, asked).topic,
        broker=policy.broker if policy is not None else None,
        policy=grant.policy,
        state=stands.state,
        reason=stands.reason,
        message=stands.message,
    )


def _obstacle(broker: MessageBroker, grant: TopicGrant) -> GrantObstacle | None:
    """Return why a broker does not get a grant that both sides declare, None if it does."""
    served = broker_is_served(broker)
    if served is not None:
        return served
    assert grant.grant is not None
    found = rules_of(broker.spec.type, grant.grant)
    if isinstance(found, str):
        return GrantObstacle(GrantState.REFUSED, "NotAtThisBroker", found)
    return broker_is_enforced(broker)


def _reported(policy: TopicPolicy, asked: GrantEntry) -> GrantObstacle | None:
    """Return a live grant's state in the policy's status, None if that status is outdated."""
    if policy.status.observed_generation != policy.metadata.generation:
        return None
    place = str(asked.identity), asked.action, asked.topic or None, asked.group or None
    for entry in policy.status.grants:
        found = entry.identity, entry.action, entry.topic, entry.group
        if found == place and entry.state in GIVEN:
            return GrantObstacle(entry.state, entry.reason or "", entry.message or "")
    return None
