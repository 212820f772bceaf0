"""The brokers whose pods an identity may reach: those at which it has a grant."""

from collections.abc import Iterator
from dataclasses import dataclass

from troth.planning.grants.dialects import is_enforced
from troth.planning.grants.rules import granted, retainable, retains
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.trust.declarations.grant_entries import entries_of
from troth.trust.topics.candidate import principal_of
from troth.trust.topics.evaluation import undecided
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class Reach:
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


def reach_of(identity: Ref, world: World) -> Reach:
    """Return the brokers whose pods an identity may reach."""
    messaging = world.brokers.messaging
    live: set[Ref] = set()
    staying = set(_outliving(identity, world))
    unread: set[Ref] = set()
    for each in world.grants.for_identity(identity):
        policy = messaging.policies.get(each.policy)
        broker = messaging.brokers.get(policy.broker) if policy is not None else None
        if broker is not None and granted(broker, each):
            opens = each.state is GrantState.LIVE and is_enforced(broker)
            (live if opens else staying).add(broker.ref)
        elif policy is not None and broker is None and each.state is GrantState.SUSPENDED:
            unread.add(policy.broker)
    if undecided(world.registry, messaging, (identity,)):
        staying.update(messaging.brokers)
        unread.update(messaging.invalid_brokers)
    return Reach(
        tuple(_inside(live, world)), tuple(_inside(staying - live, world)), frozenset(unread)
    )


def _inside(brokers: set[Ref], world: World) -> Iterator[MessageBroker]:
    """Yield the brokers that declare a workload. Those outside the cluster declare none."""
    for ref in sorted(brokers):
        broker = world.brokers.messaging.brokers[ref]
        if broker.spec.workload is not None:
            yield broker


def _outliving(identity: Ref, world: World) -> Iterator[Ref]:
    """Yield the brokers at which an identity has a grant whose policy is deleted or terminating."""
    for ref, broker in world.brokers.messaging.brokers.items():
        ledger, principal = world.brokers.ledger(ref), principal_of(broker, identity)
        retained = ledger.retained if ledger is not None else ()
        kept = [rule for rule in retained if rule.principal == principal]
        if retainable(broker, kept, world.registry) or any(
            retains(broker, policy)
            and any(asked.identity == identity for asked in entries_of(policy))
            for policy in world.brokers.leaving_at(ref)
        ):
            yield ref
