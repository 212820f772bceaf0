"""Input and result of the checks that decide whether a grant at a broker is live."""

from collections.abc import Callable
from dataclasses import dataclass

from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.grant_entries import GrantEntry, Purpose
from troth.trust.declarations.topics.messaging import Messaging, Uses, stream_for, topic_for
from troth.trust.grants import Grant, Topic
from troth.trust.selectors import matches


@dataclass(frozen=True, slots=True)
class GrantObstacle:
    """Reason why a grant is not live."""

    state: GrantState
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class GrantCandidate:
    """Grant to check, with everything that decides about it."""

    registry: Registry
    messaging: Messaging
    policy: Ref
    entry: GrantEntry

    @property
    def identity(self) -> Ref:
        """Identity of the grant."""
        return self.entry.identity

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
        return None if policy is None else topic_for(policy, self.entry)

    @property
    def stream(self) -> str:
        """Stream of the topic, "" if there is none or the grant needs none."""
        policy = self.declared
        return "" if policy is None else stream_for(policy, self.entry)

    @property
    def grant(self) -> Grant | None:
        """Grant at the broker, None if it cannot be determined."""
        policy, broker = self.declared, self.broker
        if policy is None or broker is None:
            return None
        return grant_of(policy, broker, self.entry)

    @property
    def consents(self) -> str:
        """List in which the identity names the policy."""
        return consent_to(self.entry)


Check = Callable[[GrantCandidate], GrantObstacle | None]


def consent_to(entry: GrantEntry) -> str:
    """Return the list in which an identity must name the policy of a grant."""
    if entry.purpose.is_of_reviewer:
        return "reviews"
    publishes = entry.purpose is Purpose.MESSAGES and entry.action is Action.PUBLISH
    return "publishes" if publishes else "consumes"


def consented(uses: Uses, entry: GrantEntry) -> frozenset[Ref]:
    """Return the policies to whose grants of this purpose an identity consents."""
    by_list = {"publishes": uses.publishes, "consumes": uses.consumes, "reviews": uses.reviews}
    return by_list[consent_to(entry)]


def grant_of(policy: TopicPolicy, broker: MessageBroker, entry: GrantEntry) -> Grant | None:
    """Return the grant at a broker for an entry of a policy, None if it has no topic."""
    topic = topic_for(policy, entry)
    if topic is None:
        return None
    principal = principal_of(broker, entry.identity)
    return Grant(principal, entry.action, topic, entry.group, stream_for(policy, entry))


def principal_of(broker: MessageBroker, identity: Ref) -> str:
    """Return an identity's principal at a broker, which no other identity has there.

    Names of namespaces have no dots, so the first dot after the broker's prefix ends the namespace
    and the identity can be read back: namespace `a` with name `b.c` has no other spelling.
    """
    return f"{broker.spec.owns.principal_prefix}{identity.namespace}.{identity.name}"


def both_sides(candidate: GrantCandidate) -> tuple[TopicPolicy, MessageBroker]:
    """Return the policy and the broker of a candidate, both of which are known to exist."""
    policy, broker = candidate.declared, candidate.broker
    assert policy is not None
    assert broker is not None
    return policy, broker


def admits(broker: MessageBroker, namespace: str, registry: Registry) -> bool:
    """Return whether a broker admits the policies and identities of a namespace."""
    labels = registry.namespaces.get(namespace)
    return labels is not None and matches(broker.spec.allowed_namespaces, labels)
