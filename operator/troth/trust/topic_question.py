"""What is asked about one grant at a broker, and everything that decides about it."""

from dataclasses import dataclass

from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.grants import Grant, Topic
from troth.trust.messaging import Asked, Messaging, topic_of
from troth.trust.registry import Registry


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a grant is not live."""

    state: GrantState
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Question:
    """Everything that decides about one grant."""

    registry: Registry
    messaging: Messaging
    policy: Ref
    asked: Asked

    @property
    def identity(self) -> Ref:
        """The identity that it would be for."""
        return self.asked.identity

    @property
    def declared(self) -> TopicPolicy | None:
        """The policy, if it is there and readable."""
        return self.messaging.policies.get(self.policy)

    @property
    def broker(self) -> MessageBroker | None:
        """The policy's broker, if both are there and readable."""
        policy = self.declared
        return None if policy is None else self.messaging.brokers.get(policy.broker)

    @property
    def topic(self) -> Topic | None:
        """The topic that it is about, if the policy is there and readable."""
        policy = self.declared
        return None if policy is None else _topic(policy, self.asked)

    @property
    def grant(self) -> Grant | None:
        """What it comes to at the broker, as far as that can be told."""
        policy, broker = self.declared, self.broker
        if policy is None or broker is None:
            return None
        return grant_of(policy, broker, self.asked)

    @property
    def consents(self) -> str:
        """The list in which the identity names the policy."""
        consumes = self.asked.dead_letter or self.asked.action is Action.CONSUME
        return "consumes" if consumes else "publishes"


def grant_of(policy: TopicPolicy, broker: MessageBroker, asked: Asked) -> Grant | None:
    """Return what one entry of a policy comes to at a broker, None where it is about no topic."""
    topic = _topic(policy, asked)
    if topic is None:
        return None
    stream = "" if asked.dead_letter else policy.spec.topic.stream or ""
    return Grant(principal_of(broker, asked.identity), asked.action, topic, asked.group, stream)


def _topic(policy: TopicPolicy, asked: Asked) -> Topic | None:
    if not asked.dead_letter:
        return topic_of(policy)
    dead_letter = policy.spec.dead_letter
    return None if dead_letter is None else Topic(dead_letter.topic)


def principal_of(broker: MessageBroker, identity: Ref) -> str:
    """Return an identity's principal at a broker, which no other identity has there.

    A namespace's name has no dot, so the first dot after the broker's prefix ends it, and the
    identity can be read back: `a` and `b.c` are another principal than `a.b` and `c` could be.
    """
    return f"{broker.spec.owns.principal_prefix}{identity.namespace}.{identity.name}"
