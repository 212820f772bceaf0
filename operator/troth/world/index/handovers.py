"""Trust domains that rotate a root or a key, and so wait for observations."""

from troth.resources.trust_domain.status import RotationPhase
from troth.trust.declarations.registry import Registry
from troth.world.index.authorities import Authorities
from troth.world.index.token_keys import TokenKeys
from troth.world.keys import Keys, domain_key, view_key


def rotating(registry: Registry, authorities: Authorities, tokens: TokenKeys) -> Keys:
    """Return the trust domains whose next phase may depend on the latest observation.

    The first token key waits for bundles, too, and with it the issuer's view.
    """
    first = {
        name
        for name, domain in registry.domains.items()
        if domain.spec.tokens is not None and (made := tokens.of(domain)) and not made.view
    }
    return {*map(domain_key, first), *map(view_key, first)} | {
        domain_key(name)
        for name, domain in registry.domains.items()
        if domain.status.rotation.phase is not RotationPhase.IDLE
        or domain.status.token_rotation.phase is not RotationPhase.IDLE
        or ((known := authorities.of(domain)) and (known.prepared or known.retiring))
        or ((keys := tokens.of(domain)) and (keys.prepared or keys.retiring))
    }
