"""Which identities a round proves, and in which order."""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.trust_domain.proving import Proving
from troth.trust.declarations.registry import Registry

_NEVER = datetime.min.replace(tzinfo=UTC)


def in_order(registry: Registry, seed: str) -> list[Ref]:
    """Return the governed identities, those with the oldest proofs first.

    The seed orders those with proofs of the same time, so that none is always the first.
    """

    def rank(ref: Ref) -> tuple[datetime, str]:
        shuffled = sha256(f"{seed}\n{ref}".encode()).hexdigest()
        return proven_at(registry.identities[ref]), shuffled

    governed = (
        ref for ref in registry.identities if registry.governance(ref.namespace).domain is not None
    )
    return sorted(governed, key=rank)


def proven_at(identity: ServiceIdentity) -> datetime:
    """Return the time of the oldest proof of an identity; without one, a time long ago."""
    return min((each.proven_at for each in identity.status.proofs), default=_NEVER)


def due(registry: Registry, now: datetime) -> Iterator[tuple[Ref, Proving]]:
    """Yield the identities whose trust domain asks for newer proofs, and its settings."""
    for ref in registry.identities:
        domain = registry.governance(ref.namespace).domain
        settings = domain.spec.proving if domain else None
        if settings is None:
            continue
        proofs = proven_at(registry.identities[ref])
        if proofs == _NEVER or proofs + settings.every <= now:
            yield ref, settings
