"""Grants that outlive their policy, by the namespaces on which it depends whether they may stay."""

from troth.trust.declarations.topics.grant_entries import entries_of
from troth.world.index.broker_keys import identity_of
from troth.world.index.brokers import Brokers
from troth.world.keys import Keys, broker_key, identity_key, policy_key


def around_retained_in(namespace: str, brokers: Brokers) -> Keys:
    """Return the keys of grants of a namespace that outlive their policy, or are about to."""
    affected: Keys = set()
    for broker in (*brokers.messaging.brokers.values(), *brokers.leaving_brokers.values()):
        ledger, prefix = brokers.ledger(broker.ref), broker.spec.owns.principal_prefix
        for rule in ledger.retained if ledger is not None else ():
            identity = identity_of(prefix, rule.principal)
            if identity is not None and identity.namespace == namespace:
                affected |= {broker_key(broker.ref), identity_key(identity)}
    for policy in brokers.leaving_policies.values():
        named = {each.identity for each in entries_of(policy)}
        if namespace in {policy.ref.namespace, *(each.namespace for each in named)}:
            affected |= {policy_key(policy.ref), broker_key(policy.broker)}
            affected |= set(map(identity_key, named))
    return affected
