"""The brokers whose pods an identity may reach: those at which it has a grant."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from troth.planning.grants.dialects import is_enforced
from troth.planning.grants.rules import granted, retainable, retains
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.grant_entries import entries_of
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.grants import Rule
from troth.trust.topics.candidate import principal_of
from troth.trust.topics.evaluation import TopicGrant, undecided


@dataclass(frozen=True, slots=True)
class ReachableBrokers:
    """The brokers in the cluster at which an identity has grants, sorted.

    The network is open to the brokers in `live`. To those in `staying`, open ports stay open and no
    new one opens: a grant is suspended or outlives its policy, or Troth does not enforce the
    broker. `unread` are the brokers that cannot be read and may belong to `staying`.
    """

    live: tuple[MessageBroker, ...]
    staying: tuple[MessageBroker, ...]
    unread: frozenset[Ref]

    @property
    def unsettled(self) -> bool:
        """Whether any port stays open only because it is open now."""
        return bool(self.staying or self.unread)


@dataclass(frozen=True, slots=True)
class OutlivedPolicies:
    """Grants at a readable broker whose policies are deleted or are being deleted.

    `retained` are the rules of deleted policies, and `leaving` the policies that are being deleted.
    """

    broker: MessageBroker
    retained: frozenset[Rule]
    leaving: tuple[TopicPolicy, ...]


def reach_of(
    identity: Ref,
    grants: Iterable[TopicGrant],
    outlived: Iterable[OutlivedPolicies],
    registry: Registry,
    messaging: Messaging,
) -> ReachableBrokers:
    """Return the brokers whose pods an identity with these grants may reach."""
    live: set[Ref] = set()
    staying = {each.broker.ref for each in outlived if _outlives(identity, each, registry)}
    unread: set[Ref] = set()
    for each in grants:
        policy = messaging.policies.get(each.policy)
        broker = messaging.brokers.get(policy.broker) if policy is not None else None
        if broker is not None and granted(broker, each):
            opens = each.state is GrantState.LIVE and is_enforced(broker)
            (live if opens else staying).add(broker.ref)
        elif policy is not None and broker is None and each.state is GrantState.SUSPENDED:
            unread.add(policy.broker)
    if undecided(registry, messaging, (identity,)):
        staying.update(messaging.brokers)
        unread.update(messaging.invalid_brokers)
    return ReachableBrokers(
        tuple(_inside(live, messaging)),
        tuple(_inside(staying - live, messaging)),
        frozenset(unread),
    )


def _inside(brokers: set[Ref], messaging: Messaging) -> Iterator[MessageBroker]:
    """Yield the brokers that declare a workload. Those outside the cluster declare none."""
    for ref in sorted(brokers):
        broker = messaging.brokers[ref]
        if broker.spec.workload is not None:
            yield broker


def _outlives(identity: Ref, found: OutlivedPolicies, registry: Registry) -> bool:
    """Return whether an identity has a grant whose policy is deleted or is being deleted."""
    broker = found.broker
    principal = principal_of(broker, identity)
    kept = [rule for rule in found.retained if rule.principal == principal]
    return bool(retainable(broker, kept, registry)) or any(
        retains(broker, policy) and any(asked.identity == identity for asked in entries_of(policy))
        for policy in found.leaving
    )
