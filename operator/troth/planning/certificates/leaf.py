"""Checks that decide whether a new leaf must be issued.

Each check is a small pure function of one frozen input. The first check that fails names the
reason.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.issuing import LeafProfile
from troth.pki.certificates.leaf import Leaf, renewal_due, renewal_spread
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.schema.scalars import format_duration
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import Fault, IdentitySecret

LEAST_OVERLAP = timedelta(seconds=100)
"""Minimum time between a leaf's renewal and expiry: a third of the shortest allowed lifetime."""


@dataclass(frozen=True, slots=True)
class LeafCandidate:
    """All inputs of the decision whether a new leaf is needed.

    `signed` is whether an authority of the trust domain signed the leaf, which its key identifier
    alone does not prove. `uid` is the identity's UID, and spreads the renewals of a fleet.
    `retiring` is the key identifier of a root that is being replaced. `in_turn` says whether it is
    this leaf's turn to be reissued from the new root. `rotations` are the CredentialRotations that
    apply to the identity.
    """

    secret: IdentitySecret | None
    authority: Authority
    signed: bool
    profile: LeafProfile
    algorithm: KeyAlgorithm
    keystore: bool
    uid: str
    now: datetime
    retiring: str = ""
    in_turn: bool = True
    rotations: tuple[CredentialRotation, ...] = ()


def lifetime_fault(lifetime: timedelta, domain: TrustDomain) -> Fault | None:
    """Return why a leaf with this lifetime cannot be issued in a trust domain, None if it can.

    A leaf is renewed when a third of its lifetime is left. If workloads read the next one later
    than that, they present an expired certificate.
    """
    propagation = domain.spec.bundle.propagation
    if lifetime >= 3 * propagation:
        return None
    message = (
        f"a certificate lifetime of {format_duration(lifetime)} is shorter than three times "
        f"bundle.propagation ({format_duration(propagation)}) of TrustDomain "
        f"{domain.metadata.name}, so workloads would present expired certificates; set a lifetime "
        f"of at least {format_duration(3 * propagation)}, or a shorter bundle.propagation"
    )
    return Fault("LifetimeTooShort", message)


def secret_present(candidate: LeafCandidate) -> Fault | None:
    """Check that the Secret exists."""
    return Fault("SecretMissing", "the Secret did not exist") if candidate.secret is None else None


def material_intact(candidate: LeafCandidate) -> Fault | None:
    """Check that the certificate and the key can be read and match."""
    return _secret(candidate).fault


def names_current(candidate: LeafCandidate) -> Fault | None:
    """Check that the leaf has the current SPIFFE ID and the DNS names of identity and Services."""
    leaf, profile = _leaf(candidate), candidate.profile
    if leaf.spiffe_id != profile.spiffe_id or leaf.dns_names != profile.dns_names:
        return Fault("NamesChanged", "the workload's SPIFFE ID or DNS names changed")
    return None


def subject_current(candidate: LeafCandidate) -> Fault | None:
    """Check that the leaf's subject is the identity's, or empty if it must have none."""
    if _leaf(candidate).subject != str(candidate.profile.subject or ""):
        return Fault("SubjectChanged", "the certificate's subject differs from the identity's name")
    return None


def algorithm_current(candidate: LeafCandidate) -> Fault | None:
    """Check that the key uses the declared algorithm."""
    if _leaf(candidate).algorithm is not candidate.algorithm:
        return Fault("AlgorithmChanged", "a different key algorithm is declared")
    return None


def authority_current(candidate: LeafCandidate) -> Fault | None:
    """Check that the active authority issued the leaf and that its chain is current.

    A leaf of a retiring root also passes until its turn comes.
    """
    leaf = _leaf(candidate)
    if leaf.authority_key_id == candidate.retiring and not candidate.in_turn:
        return None
    if not candidate.authority.issued(leaf):
        return Fault("AuthorityChanged", "a different authority or chain is active")
    return None


def signature_valid(candidate: LeafCandidate) -> Fault | None:
    """Check that the authority whose key the leaf names has signed it."""
    if candidate.signed:
        return None
    return Fault("SignatureInvalid", "no authority of the trust domain signed the certificate")


def lifetime_within_ceiling(candidate: LeafCandidate) -> Fault | None:
    """Check that the leaf's lifetime is at most the declared one."""
    leaf = _leaf(candidate)
    if leaf.not_after - leaf.issued_at > candidate.profile.lifetime:
        return Fault("LifetimeShortened", "a shorter lifetime is declared")
    return None


def not_due(candidate: LeafCandidate) -> Fault | None:
    """Check that the leaf is not due for renewal, or cannot outlast its authority anyway."""
    if _leaf(candidate).not_after >= candidate.authority.not_after:
        return None
    if candidate.now >= _renewal(_leaf(candidate), candidate.uid, candidate.rotations):
        return Fault("RenewalDue", "two thirds of the lifetime have passed")
    return None


def no_rotation_requested(candidate: LeafCandidate) -> Fault | None:
    """Check that no CredentialRotation requests a newer leaf."""
    asked = due_at(candidate.rotations, _leaf(candidate).issued_at, candidate.now)
    if asked is not None and asked <= candidate.now:
        return Fault("RotationDue", "a CredentialRotation requests a new certificate")
    return None


def keystore_current(candidate: LeafCandidate) -> Fault | None:
    """Check that a declared keystore holds this leaf, and its truststore the roots beside it."""
    if candidate.keystore and not _secret(candidate).keystore_intact:
        return Fault("KeystoreStale", "the keystores do not hold the leaf and roots of the Secret")
    return None


CHECKS: tuple[Callable[[LeafCandidate], Fault | None], ...] = (
    secret_present,
    material_intact,
    names_current,
    subject_current,
    algorithm_current,
    authority_current,
    signature_valid,
    lifetime_within_ceiling,
    not_due,
    no_rotation_requested,
    keystore_current,
)


def why_issue(candidate: LeafCandidate) -> Fault | None:
    """Return why a new leaf is needed, None if the current one passes all checks."""
    return next((fault for check in CHECKS if (fault := check(candidate))), None)


def leaf_due(
    leaf: Leaf, uid: str, rotations: tuple[CredentialRotation, ...], now: datetime
) -> datetime:
    """Return when a leaf must be replaced, because of its age or a CredentialRotation."""
    renewal = _renewal(leaf, uid, rotations)
    return min(renewal, due_at(rotations, leaf.issued_at, now) or renewal)


def longest_overlap(leaf: Leaf) -> timedelta:
    """Return the longest overlap of a leaf with its successor: half of its lifetime."""
    return (leaf.not_after - leaf.issued_at) / 2


def _renewal(leaf: Leaf, uid: str, rotations: tuple[CredentialRotation, ...]) -> datetime:
    """Return when a leaf is due for renewal, early enough for the requested overlap.

    A leaf whose `notBefore` was cut to its authority's is older than it says, so the overlap is
    counted back from its expiry.
    """
    overlap = max(min(overlap_of(rotations), longest_overlap(leaf)), LEAST_OVERLAP)
    return min(renewal_due(leaf, renewal_spread(uid)), leaf.not_after - overlap)


def _secret(candidate: LeafCandidate) -> IdentitySecret:
    assert candidate.secret is not None
    return candidate.secret


def _leaf(candidate: LeafCandidate) -> Leaf:
    leaf = _secret(candidate).leaf
    assert leaf is not None
    return leaf
