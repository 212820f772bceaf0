"""Handler of namespaces."""

from troth.trust.selectors import matches
from troth.world.change import Change
from troth.world.index.retained import around_retained_in
from troth.world.invalidation import around_claims, around_namespaces
from troth.world.keys import Keys, domain_key
from troth.world.owners import owners_in
from troth.world.state import WorldState


def take_namespace(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a namespace; return the affected keys."""
    name, registry = change.ref.name, world.registry
    before = registry.namespaces.get(name)
    was_terminating = name in world.terminating
    world.terminating.discard(name)
    if change.manifest is None:
        registry.drop_namespace(name)
        after = None
    else:
        after = change.manifest["metadata"].get("labels") or {}
        if before is None:
            # manifests in files have no version, and no namespace is listed by itself there
            version = int(change.manifest["metadata"].get("resourceVersion", 0))
            registry.unlisted.note_created(name, version)
        registry.put_namespace(name, after)
        if change.manifest["metadata"].get("deletionTimestamp"):
            world.terminating.add(name)
    if before == after and was_terminating == (name in world.terminating):
        return set()
    claiming = {
        domain_key(domain.metadata.name)
        for domain in registry.domains.values()
        for labels in (before, after)
        if labels is not None and matches(domain.spec.namespace_selector, labels)
    }
    affected = around_namespaces(world.registry, {name}) | claiming | owners_in(name, world)
    if before is None or after is None:  # a short DNS name may now be that of a Service here
        affected |= around_claims(registry, registry.claims.meaning(name))
    affected |= world.webhooks.around_namespace(name) | world.rotating(name)
    affected |= around_retained_in(name, world.brokers)
    return affected | world.brokers.around_namespaces({name}, registry.identities_in(name))
