"""Credentials of an identity at brokers where it no longer has grants.

The name of a Secret alone decides which broker it is for, because anybody may have written its
content.
"""

from collections.abc import Collection, Iterator

from troth.planning.grants.rules import retainable, retains
from troth.planning.steps.objects import Remove
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import BrokerMode
from troth.resources.messaging.topic_policy import OnDelete
from troth.resources.references import Ref
from troth.trust.declarations.grant_entries import entries_of
from troth.trust.topics.candidate import principal_of
from troth.trust.topics.evaluation import undecided
from troth.world.index.brokers import credential_ref
from troth.world.world import World


def leftovers(wanted: Collection[Ref], identity: ServiceIdentity, world: World) -> Iterator[Remove]:
    """Yield the removals of an identity's credential Secrets, except those of `wanted`.

    A Secret stays while it is unknown what is granted, or while a grant outlives its policy.
    """
    ref = identity.ref
    if undecided(world.registry, world.brokers.messaging, (ref,)):
        return
    for secret in world.brokers.secrets_of(identity.metadata.uid):
        if secret.ref not in wanted and not _stays(secret.ref, ref, world):
            yield Remove("Secret", secret.ref, secret.uid)


def _stays(secret: Ref, identity: Ref, world: World) -> bool:
    """Return whether a broker that a Secret may be for needs it, or may need it."""
    brokers, messaging = world.brokers, world.brokers.messaging
    asking = (messaging.policies[policy] for policy in messaging.asking(identity))
    named = {policy.broker for policy in (*asking, *brokers.leaving_policies.values())}
    known = {*messaging.brokers, *messaging.invalid_brokers, *brokers.leaving_brokers, *named}
    return any(
        _needs(broker, identity, world)
        for broker in known
        if credential_ref(identity, broker) == secret
    )


def _needs(broker: Ref, identity: Ref, world: World) -> bool:
    """Return whether a grant outlives its policy at a broker, or may do so."""
    brokers = world.brokers
    declared, ledger = brokers.declared(broker), brokers.ledger(broker)
    if broker in brokers.messaging.invalid_brokers or _retains(broker, identity, world):
        return True
    if declared is None:
        return False
    if declared.spec.mode is not BrokerMode.ENFORCE or ledger is None:
        return True
    principal = principal_of(declared, identity)
    kept = [rule for rule in ledger.retained if rule.principal == principal]
    return bool(retainable(declared, kept, world))


def _retains(broker: Ref, identity: Ref, world: World) -> bool:
    """Return whether a policy that ends, alone or with its broker, leaves its grants in place."""
    brokers, messaging = world.brokers, world.brokers.messaging
    declared = brokers.declared(broker)
    going = list(brokers.leaving_at(broker))
    if broker not in messaging.brokers:
        going += [messaging.policies[policy] for policy in messaging.at(broker)]
    return any(
        (retains(declared, policy) if declared else policy.spec.on_delete is OnDelete.RETAIN)
        and any(asked.identity == identity for asked in entries_of(policy))
        for policy in going
    )
