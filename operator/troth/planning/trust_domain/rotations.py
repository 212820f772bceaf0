"""CredentialRotations of a trust domain, and the roots and keys that they declare compromised."""

from troth.pki.certificates.authorities import Authority
from troth.planning.certificates.anchors import bundle_text, fingerprints_in
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import RetiredRoot
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


def is_root_compromised(root: Authority | RetiredRoot, domain: TrustDomain, world: World) -> bool:
    """Return whether a rotation declares this CA of a trust domain compromised.

    The status shows the fingerprint of the certificate that signs. A user may instead have read
    that of the plain certificate, which the domain trusts.
    """
    if not any(each.spec.compromised for each in rotations_of(domain, world)):
        return False
    known = {root.fingerprint}
    if isinstance(root, RetiredRoot) or not root.certificates:  # not of a given intermediate
        known |= fingerprints_in(bundle_text(root.anchors))
    return any(is_compromised(each, domain, world) for each in known)
