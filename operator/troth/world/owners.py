"""Owner of an object, by its labels or by its name."""

from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.messaging import Messaging
from troth.world.facts.objects import (
    BROKER_POLICY_SUFFIX,
    DENY_SUFFIX,
    ISOLATION_POLICY,
    OWNER_KIND,
    OWNER_NAME,
    POLICY_SUFFIX,
    SCHEMAS_SUFFIX,
    SECRET_SUFFIX,
    Fact,
)
from troth.world.keys import Keys, broker_key, domain_key, identity_key
from troth.world.state import WorldState


def named_after(ref: Ref, registry: Registry, messaging: Messaging) -> Keys:
    """Return the identity or broker whose owned object would have this name."""
    broker = Ref(ref.namespace, ref.name.removesuffix(BROKER_POLICY_SUFFIX))
    if broker != ref and broker in messaging.brokers:
        return {broker_key(broker)}
    return {
        identity_key(owner)
        for suffix in (SECRET_SUFFIX, POLICY_SUFFIX, DENY_SUFFIX, SCHEMAS_SUFFIX)
        if (owner := Ref(ref.namespace, ref.name.removesuffix(suffix))) != ref
        and owner in registry.claimants
    }


def wanting_credential(ref: Ref, registry: Registry, messaging: Messaging) -> Keys:
    """Return the identities whose credential Secret at some broker would have this name."""
    parts = ref.name.split("-")
    owners = (Ref(ref.namespace, "-".join(parts[:end])) for end in range(1, len(parts)))
    return {
        identity_key(owner)
        for owner in owners
        if owner in registry.identities and messaging.asking(owner)
    }


def owner_of(fact: Fact | None) -> Keys:
    """Return the resource that owns an object, by its labels."""
    if fact is None:
        return set()
    kind, name = fact.labels.get(OWNER_KIND), fact.labels.get(OWNER_NAME)
    match kind, name:
        case "TrustDomain", str():
            return {domain_key(name)}
        case "ServiceIdentity", str():
            return {identity_key(Ref(fact.ref.namespace, name))}
        case "MessageBroker", str():
            return {broker_key(Ref(fact.ref.namespace, name))}
        case _:
            return set()


def owners_in(namespace: str, world: WorldState) -> Keys:
    """Return the owners of the bundles and the isolation of a namespace, who may now remove them.

    They need not select it any more. While it is in conflict, they remove nothing there.
    """
    owners = owner_of(world.policies.get(Ref(namespace, ISOLATION_POLICY)))
    return owners.union(*(owner_of(world.bundles[each]) for each in world.bundles_in.of(namespace)))
