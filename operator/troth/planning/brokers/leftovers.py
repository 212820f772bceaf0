"""The credentials of an identity at brokers where nothing is granted to it any more.

For which broker a Secret is follows from its name alone: what it says of itself may be anybody's.
"""

from collections.abc import Collection, Iterator

from troth.planning.steps.objects import Remove
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import BrokerMode
from troth.resources.messaging.topic_policy import OnDelete
from troth.resources.references import Ref
from troth.trust.grant_candidate import principal_of
from troth.trust.messaging import entries_of
from troth.trust.topic_grants import undecided
from troth.world.index.brokers import credential_ref
from troth.world.world import World


def leftovers(wanted: Collection[Ref], identity: ServiceIdentity, world: World) -> Iterator[Remove]:
    """Yield the removal of an identity's Secrets with credentials, but for those that are wanted.

    One stays while it cannot be told what is granted, or while something outlives its policy.
    """
    ref = identity.ref
    if ref in undecided(world.registry, world.brokers.messaging):
        return
    for secret in world.brokers.secrets_of(identity.metadata.uid):
        if secret.ref not in wanted and not _stays(secret.ref, ref, world):
            yield Remove("Secret", secret.ref, secret.uid)


def _stays(secret: Ref, identity: Ref, world: World) -> bool:
    """Say whether some broker, of those it may be for, still needs a Secret or may do so."""
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
    """Say whether something outlives its policy at a broker, or may do so as far as is known."""
    brokers = world.brokers
    declared, ledger = brokers.declared(broker), brokers.ledger(broker)
    if broker in brokers.messaging.invalid_brokers or _retains(broker, identity, world):
        return True
    if declared is None:
        return False
    if declared.spec.mode is not BrokerMode.ENFORCE or ledger is None:
        return True
    principal = principal_of(declared, identity)
    return any(rule.principal == principal for rule in ledger.retained)


def _retains(broker: Ref, identity: Ref, world: World) -> bool:
    """Say whether a policy that goes, by itself or with its broker, leaves its grants in place."""
    brokers, messaging = world.brokers, world.brokers.messaging
    going = list(brokers.leaving_at(broker))
    if broker not in messaging.brokers:
        going += [messaging.policies[policy] for policy in messaging.at(broker)]
    return any(
        policy.spec.on_delete is OnDelete.RETAIN
        and any(asked.identity == identity for asked in entries_of(policy))
        for policy in going
    )
