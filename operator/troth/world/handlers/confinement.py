"""Trust domains whose root is not confined; determined here and used by the checks of edges."""

from troth.world.invalidation import around_domain
from troth.world.keys import Keys, domain_key
from troth.world.state import WorldState


def note_confinement(world: WorldState) -> Keys:
    """Update the registry's set of unconfined domains; return the affected keys."""
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
