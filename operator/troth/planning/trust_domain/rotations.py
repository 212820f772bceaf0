"""CredentialRotations of a trust domain, and the roots and keys that they declare compromised."""

from troth.pki.certificates.authorities import Authority
from troth.planning.certificates.anchors import bundle_text, fingerprints_in
from troth.resources.rotation.spec import CredentialRotation
from troth.world.facts.objects import RetiredRoot

Rotations = tuple[CredentialRotation, ...]


def is_compromised(fingerprint: str, rotations: Rotations) -> bool:
    """Return whether a rotation declares this root or token key compromised."""
    return any(
        rotation.spec.compromised is not None and fingerprint.startswith(rotation.spec.compromised)
        for rotation in rotations
    )


def is_root_compromised(root: Authority | RetiredRoot, rotations: Rotations) -> bool:
    """Return whether a rotation declares this CA compromised.

    The status shows the fingerprint of the certificate that signs. A user may instead have read
    that of the plain certificate, which the domain trusts.
    """
    if not any(each.spec.compromised for each in rotations):
        return False
    known = {root.fingerprint}
    if isinstance(root, RetiredRoot) or not root.certificates:  # not of a given intermediate
        known |= fingerprints_in(bundle_text(root.anchors))
    return any(is_compromised(each, rotations) for each in known)
