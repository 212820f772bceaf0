"""Handler of TrustDomains."""

from troth.resources.metadata import is_terminating
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.change import Change
from troth.world.handlers.confinement import note_confinement
from troth.world.invalidation import around_domain, claiming, same_spiffe_domain
from troth.world.keys import Keys, domain_key, identity_key, view_key
from troth.world.observation.resources import earlier_domain, parsed, readable_parts
from troth.world.owners import owners_in
from troth.world.state import WorldState


def take_domain(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a TrustDomain; return the affected keys.

    While its spec is unreadable, the last readable one stays in force, which its status has.
    """
    key, registry = domain_key(change.ref.name), world.registry
    before = registry.domains.get(change.ref.name)
    affected = around_domain(world.registry, before) if before else set()
    after, fault = parsed(change.manifest, TrustDomain)
    was_unread = key in world.unreadable and before is None
    world.note_unreadable(key, change.manifest, fault)
    if after is not None:
        registry.put_domain(after)
    elif change.manifest is None:
        registry.drop_domain(change.ref.name)
    else:
        after = earlier_domain(change.manifest)
        unread = readable_parts(change.manifest)
        registry.refuse_domain(change.ref.name, fault, earlier=after, unread=unread)
    if before is not None and after is not None and _declares_the_same(before, after):
        if bool(before.status.authorities) == bool(after.status.authorities):
            return {key}
        return {key} | same_spiffe_domain(registry, after)
    affected |= note_confinement(world)
    affected |= world.brokers.everything()
    if after is None or was_unread:  # it is unknown which namespaces it would govern
        affected |= {identity_key(identity) for identity in registry.claimants}
        affected |= {domain_key(name) for name in registry.domains}
    else:
        affected |= around_domain(world.registry, after)
    for each in filter(None, (before, after)):  # a domain does not isolate another one's resolver
        affected |= claiming(registry, each.spec.network.dns.namespace)
        for namespace in registry.claimed_by(each):
            affected |= owners_in(namespace, world)
    return affected | {key, view_key(change.ref.name)}


def _declares_the_same(before: TrustDomain, after: TrustDomain) -> bool:
    """Return whether two versions of a trust domain differ only in status and metadata."""
    return before.spec == after.spec and is_terminating(before) == is_terminating(after)
