"""Is the leaf good? Small checks over one frozen input; the first that fails is the reason."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.documents.secret_keys import ROOTS
from troth.pki.authorities import Authority
from troth.pki.certificates import Leaf, renewal_due, renewal_spread
from troth.pki.issuing import LeafProfile
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.rotation.spec import CredentialRotation
from troth.world.facts.objects import Fault, IdentitySecret

LEAST_OVERLAP = timedelta(seconds=100)
"""How long before its end a leaf is renewed at least: a third of the shortest lifetime there is."""


@dataclass(frozen=True, slots=True)
class LeafCandidate:
    """Everything that decides whether a new leaf is needed.

    `roots` is the bundle that a truststore must hold; `uid` is the identity's, and spreads the
    renewals of a fleet. `retiring` is the key identifier of a root that is being replaced, and
    `in_turn` whether it is this leaf's turn to be reissued from the new one. `rotations` are the
    declared ones that count for the identity.
    """

    secret: IdentitySecret | None
    authority: Authority
    profile: LeafProfile
    algorithm: KeyAlgorithm
    keystore: bool
    roots: str
    uid: str
    now: datetime
    retiring: str = ""
    in_turn: bool = True
    rotations: tuple[CredentialRotation, ...] = ()


def secret_present(candidate: LeafCandidate) -> Fault | None:
    """The Secret is there."""
    return Fault("SecretMissing", "the Secret did not exist") if candidate.secret is None else None


def material_intact(candidate: LeafCandidate) -> Fault | None:
    """Certificate and key can be read and belong together."""
    return _secret(candidate).fault


def names_current(candidate: LeafCandidate) -> Fault | None:
    """The leaf says what the identity and its Services are called now."""
    leaf, profile = _leaf(candidate), candidate.profile
    if leaf.spiffe_id != profile.spiffe_id or leaf.dns_names != profile.dns_names:
        return Fault("NamesChanged", "the workload's SPIFFE ID or DNS names changed")
    return None


def subject_current(candidate: LeafCandidate) -> Fault | None:
    """The leaf's subject is the identity's, or empty where it is to have none."""
    if _leaf(candidate).subject != str(candidate.profile.subject or ""):
        return Fault("SubjectChanged", "the certificate's subject differs from the identity's name")
    return None


def algorithm_current(candidate: LeafCandidate) -> Fault | None:
    """The key is of the declared algorithm."""
    if _leaf(candidate).algorithm is not candidate.algorithm:
        return Fault("AlgorithmChanged", "a different key algorithm is declared")
    return None


def authority_current(candidate: LeafCandidate) -> Fault | None:
    """The active authority signed the leaf, and the chain beside it is the present one.

    A leaf of a retiring root is as good until its turn comes.
    """
    leaf = _leaf(candidate)
    if leaf.authority_key_id == candidate.retiring and not candidate.in_turn:
        return None
    if not candidate.authority.issued(leaf):
        return Fault("AuthorityChanged", "a different authority or chain is active")
    return None


def lifetime_within_ceiling(candidate: LeafCandidate) -> Fault | None:
    """The leaf lives no longer than is declared now."""
    leaf = _leaf(candidate)
    if leaf.not_after - leaf.issued_at > candidate.profile.lifetime:
        return Fault("LifetimeShortened", "a shorter lifetime is declared")
    return None


def not_due(candidate: LeafCandidate) -> Fault | None:
    """The leaf is in the first two thirds of its life, or its authority has no more to give."""
    if _leaf(candidate).not_after >= candidate.authority.not_after:
        return None
    if candidate.now >= _renewal(_leaf(candidate), candidate.uid, candidate.rotations):
        return Fault("RenewalDue", "two thirds of the lifetime have passed")
    return None


def not_asked_for(candidate: LeafCandidate) -> Fault | None:
    """No CredentialRotation asks for a newer one than this."""
    asked = due_at(candidate.rotations, _leaf(candidate).issued_at, candidate.now)
    if asked is not None and asked <= candidate.now:
        return Fault("RotationDue", "a CredentialRotation requests a new certificate")
    return None


def keystore_current(candidate: LeafCandidate) -> Fault | None:
    """The keystore, where one is declared, holds this leaf, and its truststore these roots."""
    secret = _secret(candidate)
    if candidate.keystore and not (
        secret.keystore_intact and secret.public.get(ROOTS) == candidate.roots
    ):
        return Fault("KeystoreStale", "the keystore does not hold the current leaf and roots")
    return None


CHECKS: tuple[Callable[[LeafCandidate], Fault | None], ...] = (
    secret_present,
    material_intact,
    names_current,
    subject_current,
    algorithm_current,
    authority_current,
    lifetime_within_ceiling,
    not_due,
    not_asked_for,
    keystore_current,
)


def why_issue(candidate: LeafCandidate) -> Fault | None:
    """Return why a new leaf is needed, or None while the present one is good."""
    return next((fault for check in CHECKS if (fault := check(candidate))), None)


def leaf_due(
    leaf: Leaf, uid: str, rotations: tuple[CredentialRotation, ...], now: datetime
) -> datetime:
    """Return when a leaf is to be replaced, by its own age or because somebody asks for it."""
    renewal = _renewal(leaf, uid, rotations)
    return min(renewal, due_at(rotations, leaf.issued_at, now) or renewal)


def longest_overlap(leaf: Leaf) -> timedelta:
    """Return how long a leaf can overlap with its successor: for half of its lifetime."""
    return (leaf.not_after - leaf.issued_at) / 2


def _renewal(leaf: Leaf, uid: str, rotations: tuple[CredentialRotation, ...]) -> datetime:
    """Return when a leaf is due by its age, so early that it overlaps as long as is asked for.

    One that was cut to its authority's beginning is older than it says, and goes by its end.
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
