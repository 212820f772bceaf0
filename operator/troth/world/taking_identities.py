"""Taking in ServiceIdentities, and whom a change of one concerns."""

from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.service_identity import ServiceIdentity
from troth.world.affected import around_identity, concerns_named_peers_alone, given_anew, named_anew
from troth.world.facts import Manifest, Unreadable
from troth.world.keys import Keys, identity_key
from troth.world.known import Known
from troth.world.parsing import parsed, says_terminating
from troth.world.webhooks import gateways_of


def take_identity(world: Known, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in a ServiceIdentity as it is now; return whom that concerns."""
    key, registry = identity_key(ref), world.registry
    before, declared = registry.claimants.get(ref), registry.declared(ref)
    after, fault = parsed(manifest, ServiceIdentity)
    world.unreadable.pop(key, None)
    terminating = says_terminating(manifest)
    if after is not None and before is not None and is_terminating(before) == terminating:
        if before.spec == after.spec:
            registry.refresh_identity(after)
            return {key}
        if not terminating and concerns_named_peers_alone(before.spec, after.spec):
            registry.put_identity(after)
            anew = named_anew(declared, registry.declared(ref))
            return {key} | anew | given_anew(before, after) | gateways_of(registry, ref)
    affected = around_identity(world.registry, before) if before else set()
    affected |= world.brokers.take_identity(
        ref,
        None if terminating else after,
        readable=after is not None or manifest is None or terminating,
    )
    if terminating or any(each and _is_waited_for(each) for each in (before, after)):
        affected |= world.rotating()
    if after is not None:
        registry.put_identity(after)
        affected |= around_identity(world.registry, after)
    elif manifest is None or terminating:  # what is being deleted has no edge, whatever it says
        registry.drop_identity(ref)
    else:
        registry.refuse_identity(ref, fault)
    if manifest is not None and after is None:
        world.unreadable[key] = Unreadable(manifest, fault)
    affected |= {identity_key(other) for other in registry.naming(ref)}
    colliding = (each.ref for each in affected if each.kind == "ServiceIdentity")
    unread = (each for each in registry.invalid_identities if each.namespace == ref.namespace)
    return affected | {key} | world.brokers.around_identities({*colliding, *unread})


def _is_waited_for(identity: ServiceIdentity) -> bool:
    """Say whether it may concern a rotation that an identity comes or goes."""
    return identity.spec.on_rotation is not None or is_terminating(identity)
