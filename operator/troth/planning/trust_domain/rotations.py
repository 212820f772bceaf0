"""CredentialRotations of a trust domain, and the roots and keys that they declare compromised."""

from troth.resources.rotation.spec import CredentialRotation
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.keys import domain_key
from troth.world.world import World


def rotations_of(domain: TrustDomain, world: World) -> tuple[CredentialRotation, ...]:
    """Return the CredentialRotations that apply to a trust domain."""
    return world.rotations.of(domain_key(domain.metadata.name))


def is_compromised(fingerprint: str, domain: TrustDomain, world: World) -> bool:
    """Return whether a rotation declares this root or token key of a trust domain compromised."""
    return any(
        rotation.spec.compromised is not None and fingerprint.startswith(rotation.spec.compromised)
        for rotation in rotations_of(domain, world)
    )
