"""Grants of an identity, by broker."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from troth.planning.grants.dialects import unsupported
from troth.planning.grants.rules import granted
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.topics.evaluation import TopicGrant
from troth.world.facts.objects import Fault


@dataclass(frozen=True, slots=True)
class TopicUses:
    """Grants of one identity at one readable broker, without those that it cannot express.

    `live` are the live ones. `suspended` are those of which existing rules stay. `fault` is why
    Troth cannot grant anything at the broker. Then none is left out.
    """

    broker: MessageBroker
    live: tuple[TopicGrant, ...]
    suspended: tuple[TopicGrant, ...]
    fault: Fault | None = None


def topic_uses(grants: Iterable[TopicGrant], messaging: Messaging) -> tuple[TopicUses, ...]:
    """Return an identity's grants at each broker where it has any, sorted by broker."""
    at: dict[Ref, list[TopicGrant]] = defaultdict(list)
    for grant in grants:
        policy = messaging.policies.get(grant.policy)
        if policy is not None and policy.broker in messaging.brokers:
            at[policy.broker].append(grant)
    found = (_uses(messaging.brokers[ref], those) for ref, those in sorted(at.items()))
    return tuple(uses for uses in found if uses.live or uses.suspended)


def _uses(broker: MessageBroker, grants: list[TopicGrant]) -> TopicUses:
    fault = unsupported(broker)
    had = [each for each in grants if fault is not None or granted(broker, each)]
    live, suspended = (
        tuple(each for each in had if each.state is state)
        for state in (GrantState.LIVE, GrantState.SUSPENDED)
    )
    return TopicUses(broker, live, suspended, fault)
