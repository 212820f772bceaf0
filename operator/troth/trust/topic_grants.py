"""Every grant that anybody declares, with its state, and what the live ones come to at a broker."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.grants import Grant
from troth.trust.messaging import Asked, Messaging
from troth.trust.registry import Registry
from troth.trust.topic_question import Obstacle, Question
from troth.trust.topics import OF_ALL, obstacle_to


@dataclass(frozen=True, slots=True)
class TopicGrant:
    """What is asked for by a policy, or by an identity that names it, and its state.

    `grant` is what it comes to at the broker: to be made where it is live, to be left as it is
    where it is suspended. None where that cannot be told.
    """

    policy: Ref
    asked: Asked
    grant: Grant | None
    state: GrantState
    reason: str = ""
    message: str = ""


def grants_of(registry: Registry, messaging: Messaging, policy: Ref) -> tuple[TopicGrant, ...]:
    """Return every grant that touches a policy, whether it exists or not, sorted.

    A grant is listed when either side declares it, so that both can say which side is missing.
    """
    everything = sorted(_everything(messaging, policy))
    return tuple(judge(Question(registry, messaging, policy, each)) for each in everything)


def _everything(messaging: Messaging, policy: Ref) -> frozenset[Asked]:
    asked = messaging.asked(policy)
    alone = (_alone(messaging, policy, user, asked) for user in messaging.users(policy))
    return asked.union(*alone)


def _alone(
    messaging: Messaging, policy: Ref, identity: Ref, asked: frozenset[Asked]
) -> Iterator[Asked]:
    """Yield for what an identity names a policy that does not name it for that."""
    uses = messaging.uses(identity)
    for action, policies in ((Action.PUBLISH, uses.publishes), (Action.CONSUME, uses.consumes)):
        if policy in policies and not any(
            (each.identity, each.action, each.dead_letter) == (identity, action, False)
            for each in asked
        ):
            yield Asked(identity, action)


class Judged:
    """The grants of policies, each policy judged once until something about it changes.

    To judge them anew for every plan that they matter to took most of the time of all plans.
    Whoever changes what is declared has to `forget` the policies that it concerns.
    """

    def __init__(self, registry: Registry, messaging: Messaging) -> None:
        self._registry = registry
        self._messaging = messaging
        self._known: dict[Ref, tuple[TopicGrant, ...]] = {}

    def of(self, policy: Ref) -> tuple[TopicGrant, ...]:
        """Return every grant that touches a policy, as `grants_of` does."""
        known = self._known.get(policy)
        if known is None:
            known = self._known[policy] = grants_of(self._registry, self._messaging, policy)
        return known

    def publishing(self, policy: Ref) -> Iterator[TopicGrant]:
        """Yield every grant to publish to a policy's own topic, sorted."""
        for each in self.of(policy):
            if each.asked.action is Action.PUBLISH and not each.asked.dead_letter:
                yield each

    def for_identity(self, identity: Ref) -> tuple[TopicGrant, ...]:
        """Return every grant that touches an identity, by whatever policy, sorted."""
        uses = self._messaging.uses(identity)
        policies = uses.publishes | uses.consumes | self._messaging.asking(identity)
        return tuple(
            each
            for policy in sorted(policies)
            for each in self.of(policy)
            if each.asked.identity == identity
        )

    def at(self, broker: Ref) -> Iterator[TopicGrant]:
        """Yield every grant of every policy that names a broker, sorted."""
        for policy in sorted(self._messaging.at(broker)):
            yield from self.of(policy)

    def forget(self, policies: Iterable[Ref]) -> None:
        """Have policies judged anew."""
        for policy in policies:
            self._known.pop(policy, None)

    def clear(self) -> None:
        """Have all policies judged anew."""
        self._known.clear()


def obstacle_to_all(registry: Registry, messaging: Messaging, policy: Ref) -> Obstacle | None:
    """Return what keeps every grant of a policy from being live, whomever it is for.

    It is asked for somebody of the policy's own namespace, of whom nothing else matters.
    """
    anybody = Question(registry, messaging, policy, Asked(policy, Action.PUBLISH))
    return next(filter(None, (check(anybody) for check in OF_ALL)), None)


def undecided(registry: Registry, messaging: Messaging) -> frozenset[Ref]:
    """Return the identities of which nothing may be removed at any broker.

    They may have grants by a policy that cannot be read, so that it is not known at which broker.
    An identity that cannot be read either may name any policy.
    """
    if not messaging.invalid_policies:
        return frozenset()
    users = (messaging.users(policy) for policy in messaging.invalid_policies)
    return frozenset().union(registry.invalid_identities, *users)


def judge(question: Question) -> TopicGrant:
    """Return the grant with its state."""
    policy, asked, grant = question.policy, question.asked, question.grant
    obstacle = obstacle_to(question)
    if obstacle is None:
        return TopicGrant(policy, asked, grant, GrantState.LIVE)
    return TopicGrant(policy, asked, grant, obstacle.state, obstacle.reason, obstacle.message)


def in_state(grants: Iterable[TopicGrant], state: GrantState) -> frozenset[Grant]:
    """Return what the grants of a state come to at the broker, each once."""
    return frozenset(
        each.grant for each in grants if each.state is state and each.grant is not None
    )
