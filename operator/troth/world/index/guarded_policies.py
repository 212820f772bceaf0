"""Policies whose messages the edges must check, and what their statuses need of their brokers."""

from troth.resources.references import Ref
from troth.trust.topics.candidate import principal_of
from troth.trust.topics.guarded import needs_guard
from troth.world.facts.clients import SeenClients
from troth.world.index.broker_state import BrokerState
from troth.world.keys import Keys, policy_key


def guarded_at(brokers: BrokerState, broker: Ref) -> list[Ref]:
    """Return the policies of a broker whose messages the edges must check."""
    policies = brokers.messaging.policies
    at = brokers.messaging.at(broker)
    return [ref for ref in at if ref in policies and needs_guard(policies[ref])]


def groups_at(brokers: BrokerState, broker: Ref) -> frozenset[str]:
    """Return the groups that the policies of a broker name."""
    declared = brokers.messaging
    return frozenset(
        each.group for ref in declared.at(broker) for each in declared.entries(ref) if each.group
    )


def guarded_groups(brokers: BrokerState, broker: Ref) -> frozenset[str] | None:
    """Return the consumer groups of these policies, None if there is no such policy."""
    guarded = guarded_at(brokers, broker)
    entries = (each for ref in guarded for each in brokers.messaging.entries(ref))
    groups = frozenset(each.group for each in entries if each.group)
    return groups if guarded else None


def concerned_by_clients(
    brokers: BrokerState, broker: Ref, before: SeenClients | None, after: SeenClients | None
) -> Keys:
    """Return the policies whose status depends on a difference of a broker's clients."""
    declared = brokers.declared(broker)
    known, now = before or SeenClients(), after or SeenClients()
    changed = known.seen.keys() ^ now.seen.keys()
    hidden = known.hidden.items() ^ now.hidden.items()
    if (before is None) != (after is None) or known.fault != now.fault:
        return set(map(policy_key, guarded_at(brokers, broker)))
    if declared is None or not (changed or hidden):
        return set()
    groups = {each.group for each in changed if each.group} | {group for group, _ in hidden}
    principals = {each.principal for each in changed if each.principal}
    return {
        policy_key(ref)
        for ref in guarded_at(brokers, broker)
        if any(
            each.group in groups or principal_of(declared, each.identity) in principals
            for each in brokers.messaging.entries(ref)
        )
    }
