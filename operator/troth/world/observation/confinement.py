"""Which trust domains have a root that is not confined to them: judged here, read by edges."""

from troth.world.invalidation import around_domain
from troth.world.keys import Keys, domain_key
from troth.world.state import WorldState


def note_confinement(world: WorldState) -> Keys:
    """Tell the registry which roots are not confined; return whom a change of that concerns."""
    registry = world.registry
    unconfined = frozenset(
        name for name, domain in registry.domains.items() if world.authorities.is_unconfined(domain)
    )
    changed = registry.unconfined_domains ^ unconfined
    registry.note_unconfined(unconfined)
    affected: Keys = set()
    for name in changed & registry.domains.keys():
        affected |= around_domain(registry, registry.domains[name]) | {domain_key(name)}
    return affected
