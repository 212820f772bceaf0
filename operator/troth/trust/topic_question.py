"""Input and result of the checks that decide whether a grant at a broker is live."""

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
    """Reason why a grant is not live."""

    state: GrantState
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Question:
    """Grant to check, with everything that decides about it."""

    registry: Registry
    messaging: Messaging
    policy: Ref
    asked: Asked

    @property
    def identity(self) -> Ref:
        """Identity of the grant."""
        return self.asked.identity

    @property
    def declared(self) -> TopicPolicy | None:
        """The policy, None if it does not exist or is unreadable."""
        return self.messaging.policies.get(self.policy)

    @property
    def broker(self) -> MessageBroker | None:
        """The policy's broker, None if one of the two does not exist or is unreadable."""
        policy = self.declared
        return None if policy is None else self.messaging.brokers.get(policy.broker)

    @property
    def topic(self) -> Topic | None:
        """Topic of the grant, None if the policy does not exist or is unreadable."""
        policy = self.declared
        return None if policy is None else _topic(policy, self.asked)

    @property
    def grant(self) -> Grant | None:
        """Grant at the broker, None if it cannot be determined."""
        policy, broker = self.declared, self.broker
        if policy is None or broker is None:
            return None
        return grant_of(policy, broker, self.asked)

    @property
    def consents(self) -> str:
        """List in which the identity names the policy."""
        consumes = self.asked.dead_letter or self.asked.action is Action.CONSUME
        return "consumes" if consumes else "publishes"


def grant_of(policy: TopicPolicy, broker: MessageBroker, asked: Asked) -> Grant | None:
    """Return the grant at a broker for an entry of a policy, None if it has no topic."""
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

    Names of namespaces have no dots, so the first dot after the broker's prefix ends the namespace
    and the identity can be read back: namespace `a` with name `b.c` has no other spelling.
    """
    return f"{broker.spec.owns.principal_prefix}{identity.namespace}.{identity.name}"
