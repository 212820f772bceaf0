"""Rotation of a trust domain's root, or of the CA that is given to it.

The authority's Secret holds the state: beside the active CA the next one, or the previous one.
`troth.planning.rotation.handover` defines the phases; this module gathers the evidence for them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.documents.secret_keys import KEY, LEAF, ROOTS
from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.leaf import BACKDATE, short
from troth.planning.certificates.anchors import bundle_text, roots_in
from troth.planning.certificates.rollouts import (
    restarted_since,
    still_on_old_leaf,
    waiting_for_root,
)
from troth.planning.moment import Moment
from troth.planning.rotation.handover import Blocker, Handover, hand_over
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.planning.steps.authorities import (
    ActivateRoot,
    CopyAuthority,
    DropSlots,
    PrepareRoot,
    RootStep,
)
from troth.planning.trust_domain.facts import RotationView
from troth.planning.trust_domain.retired import retire_root
from troth.planning.trust_domain.rotations import Rotations, is_root_compromised
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import RotationPhase
from troth.world.facts.objects import AuthoritySecret, KnownAuthority
from troth.world.observation.objects import (
    NEXT_KEY,
    NEXT_LEAF,
    NEXT_PLAIN,
    NEXT_ROOTS,
    PLAIN,
    RETIRING,
    RETIRING_PLAIN,
    RETIRING_ROOTS,
)

_ROOT_NAMES = NEXT_ROOTS, ROOTS, RETIRING_ROOTS
_PLAIN_NAMES = NEXT_PLAIN, PLAIN, RETIRING_PLAIN
"""Names that a rotation moves with the certificate: those of the next, active and previous CA."""


def made_at(authority: Authority) -> datetime:
    """Return when a root was issued."""
    return authority.not_before + BACKDATE


def renewal_of(authority: Authority) -> datetime:
    """Return when a root is due for rotation by age: at two thirds of its lifetime."""
    return authority.not_before + (authority.not_after - authority.not_before) * 2 / 3


def due_of(
    domain: TrustDomain, active: Authority, rotations: Rotations, now: datetime
) -> datetime | None:
    """Return when a self-managed root is due for rotation, None for a given CA.

    The owner of a given CA replaces it.
    """
    if domain.spec.authority.self_managed is None:
        return None
    asked = due_at(rotations, made_at(active), now)
    return min(renewal_of(active), asked or renewal_of(active))


def next_step(view: RotationView, known: KnownAuthority, *, obstacle: str | None) -> Handover:
    """Return the state of a CA's rotation, and its next step.

    `obstacle` is why no rotation begins, None if one may. One that has begun ends, and a
    compromised CA is replaced nevertheless: until it expires its key could issue any identity.
    """
    if known.authority is None:
        return Handover(RotationPhase.IDLE)
    root = _Root(view, known, known.authority)
    if root.spoilt:
        return Handover(RotationPhase.PREPARING, root.discard())
    handover = hand_over(root, wanted=root.wanted and obstacle is None, moment=view.moment)
    if handover.phase is RotationPhase.PREPARING and handover.step is None:
        return Handover(RotationPhase.PREPARING, blockers=tuple(root.obstacles()))
    if handover.phase is RotationPhase.IDLE:
        return _cut_off(root) or _blocked(root, obstacle) or handover
    return handover


def _blocked(root: "_Root", obstacle: str | None) -> Handover | None:
    """Return a handover that an obstacle keeps from beginning, None if there is none."""
    if obstacle is None or not root.wanted:
        return None
    return Handover(RotationPhase.PREPARING, blockers=(obstacle,))


def _cut_off(root: "_Root") -> Handover | None:
    """Return a handover that waits for leaves of a revoked root, None if there are none."""
    stranded = [
        f"Secret {each.secret.ref} has a certificate of a revoked root, which is rejected until it "
        "is reissued"
        for each in root.view.root.leaves
        if (leaf := each.secret.leaf) is not None
        and leaf.authority_key_id != root.active.subject_key_id
    ]
    if not stranded:
        return None
    return Handover(RotationPhase.REISSUING, blockers=tuple(sorted(stranded)), wait=root.settle)


@dataclass(frozen=True, slots=True)
class _Root:
    """CA of a trust domain, as a `Credential` of a handover."""

    view: RotationView
    known: KnownAuthority
    active: Authority

    # Reasons for a rotation

    @property
    def wanted(self) -> bool:
        """Whether another CA should take over."""
        if self.view.domain.spec.authority.secret_ref is not None:
            return self._given is not None and self._given != self.active
        own = self.secret.roots is None  # else it was given, and the spec has changed since
        due = due_of(self.view.domain, self.active, self.view.rotations, self._now)
        return not own or (due is not None and due <= self._now)

    @property
    def compromised(self) -> bool:
        """Whether the key of the active CA is compromised."""
        return self._compromised(self.active)

    @property
    def old_compromised(self) -> bool:
        """Whether the key of the previous CA is compromised."""
        return self.known.retiring is not None and self._compromised(self.known.retiring)

    @property
    def spoilt(self) -> bool:
        """Whether the next CA is compromised, or is no longer the given CA."""
        prepared = self.known.prepared
        if prepared is None:
            return False
        given = self.view.domain.spec.authority.secret_ref is not None
        return self._compromised(prepared) or (given and self._given not in (None, prepared))

    def obstacles(self) -> Iterator[str]:
        """Yield why no next CA can be prepared."""
        reference = self.view.domain.spec.authority.secret_ref
        if reference is not None:
            yield (
                f"Secret {Ref(self.secret.ref.namespace, reference.name)} holds no CA other than "
                f"the compromised {short(self.active.fingerprint)}; put another CA there"
            )

    @property
    def _given(self) -> Authority | None:
        """The given CA, if it is valid and not compromised."""
        given = self.view.given
        if given is None or given.authority is None or self._compromised(given.authority):
            return None
        return given.authority if given.authority.valid_at(self._now) else None

    def _compromised(self, authority: Authority) -> bool:
        return is_root_compromised(authority, self.view.rotations)

    @property
    def _now(self) -> datetime:
        return self.view.moment.now

    # The evidence

    @property
    def secret(self) -> AuthoritySecret:
        """Secret that holds the CA."""
        return self.known.secret

    @property
    def settle(self) -> timedelta:
        """Propagation delay: the time until readers have seen a write."""
        return self.view.domain.spec.bundle.propagation

    @property
    def overlap(self) -> timedelta:
        """How long the old root stays trusted after the last leaf was reissued, at least."""
        return overlap_of(self.view.rotations)

    @property
    def prepared_since(self) -> float | None:
        """When the next CA was first observed (uptime), None without one."""
        return self.secret.prepared_since if self.known.prepared else None

    @property
    def replaced_since(self) -> float | None:
        """When the active CA was first observed (uptime), None if no old one is trusted."""
        return self.secret.active_since if self.known.retiring else None

    @property
    def deadline(self) -> datetime:
        """Time until which Troth waits for readers.

        From then on the old CA shortens the lifetime of every leaf. Waiting longer for the last
        reader would leave all workloads without a valid certificate.
        """
        return self.active.not_after - self.view.domain.spec.certificates.lifetime

    def unpublished(self) -> Iterator[Blocker]:
        """Yield the readers without the next root, and the workloads that may run without it.

        While the next root has only just become valid, clocks that are behind count as well.
        """
        prepared = self.known.prepared
        assert prepared is not None
        valid_to_all = prepared.not_before + BACKDATE
        if self._now < valid_to_all:
            yield Blocker(
                f"the new CA {short(prepared.fingerprint)} has just become valid, and clocks "
                "may be behind",
                valid_to_all,
            )
        wanted = roots_in(bundle_text(prepared.anchors))
        for reader in self.view.root.readers:
            if not wanted <= reader.roots:
                sentence = f"{reader.name} does not have the new root yet"
                yield Blocker(sentence, min(self.deadline, reader.until or self.deadline))
        for namespace in self.view.root.unlisted:
            sentence = f"namespace {namespace} cannot be read, and its bundle may lack the new root"
            yield Blocker(sentence, self.deadline)
        for sentence in waiting_for_root(prepared, self.view.root.restarting):
            yield Blocker(sentence, self.deadline)

    def published_since(self) -> Iterator[float]:
        """Yield since when (uptime) each reader that holds the next root holds it.

        `unpublished` yields the others, each until its time limit. Nothing that is observed after
        `deadline` prolongs the wait.
        """
        end = self.view.moment.uptime_at(self.deadline)
        prepared = self.known.prepared
        assert prepared is not None
        wanted = roots_in(bundle_text(prepared.anchors))
        for reader in self.view.root.readers:
            if wanted <= reader.roots:
                yield min(reader.since, end)
        for since in restarted_since(self.view.root.restarting):
            yield min(since, end)

    def still_used(self) -> Iterator[Blocker]:
        """Yield the leaves of the old CA, and the workloads that may still use one."""
        retiring = self.known.retiring
        assert retiring is not None
        for each in self.view.root.leaves:
            if each.secret.leaf and each.of_retiring:
                sentence = f"Secret {each.secret.ref} has a certificate of the old root"
                end = min(each.secret.leaf.not_after, retiring.not_after)
                yield Blocker(sentence, self.view.moment.over_at(end))
        over = self.view.moment.over_at(retiring.not_after)
        for namespace in self.view.root.unlisted:
            sentence = f"namespace {namespace} cannot be read, and may use the old root"
            yield Blocker(sentence, over)
        for sentence in still_on_old_leaf(self.view.root.restarting):
            yield Blocker(sentence, over)

    def disused_since(self) -> Iterator[float]:
        """Yield since when (uptime) each leaf of the new CA is in place.

        Nothing uses the old CA after its end, so nothing that is observed later prolongs the wait.
        """
        retiring = self.known.retiring
        assert retiring is not None
        moment = self.view.moment
        end = moment.uptime_at(moment.over_at(retiring.not_after))
        for each in self.view.root.leaves:
            if each.of_active:
                yield min(each.secret.leaf_since, end)
        for since in restarted_since(self.view.root.restarting):
            yield min(since, end)

    # The steps

    def prepare(self) -> RootStep | None:
        """Return the step that creates or copies the next CA beside the active one.

        Return None if the given CA is missing, compromised, not valid or already active.
        """
        settings = self.view.domain.spec.authority.self_managed
        given = self.view.given
        if settings is not None:
            return PrepareRoot(
                ref=self.secret.ref,
                uid=self.secret.uid,
                resource_version=self.secret.resource_version,
                trust_domain=self.view.domain.spec.domain,
                algorithm=settings.key_algorithm,
                lifetime=settings.lifetime,
                confined=settings.confined,
            )
        if given is None or self._given in (None, self.active):
            return None
        assert given.authority is not None
        return CopyAuthority(
            ref=self.secret.ref,
            uid=self.secret.uid,
            resource_version=self.secret.resource_version,
            trust_domain=self.view.domain.spec.domain,
            source=given.secret.ref,
            authority=given.authority.fingerprint,
        )

    def activate(self) -> RootStep:
        """Return the step that makes the next CA active and the active one retiring.

        A compromised CA is dropped instead.
        """
        secret, kept = self.secret, not self.compromised
        outgoing = [(LEAF, RETIRING)]
        incoming = [(NEXT_LEAF, LEAF), (NEXT_KEY, KEY)]
        drops: list[str] = []
        for has, will_have, names in (
            (secret.roots is not None, secret.prepared_roots is not None, _ROOT_NAMES),
            (bool(secret.plain), bool(secret.prepared_plain), _PLAIN_NAMES),
        ):
            following, active, retiring = names
            outgoing += [(active, retiring)] if has else []
            incoming += [(following, active)] if will_have else []
            drops += [active] if has and not will_have and not kept else []
        return ActivateRoot(
            secret.ref,
            secret.uid,
            secret.resource_version,
            moves=(*(outgoing if kept else ()), *incoming),
            drops=tuple(drops),
        )

    def retire(self) -> RootStep:
        """Return the step that drops the retiring CA, and records it unless it is compromised."""
        roots = (RETIRING_ROOTS,) if self.secret.retiring_roots else ()
        plain = (RETIRING_PLAIN,) if self.secret.retiring_plain else ()
        slots = (RETIRING, *roots, *plain)
        return retire_root(self.known, slots, self.view.rotations, self.view.moment)

    def discard(self) -> RootStep:
        """Return the step that drops the next CA."""
        roots = (NEXT_ROOTS,) if self.secret.prepared_roots else ()
        plain = (NEXT_PLAIN,) if self.secret.prepared_plain else ()
        return self._drop(NEXT_LEAF, NEXT_KEY, *roots, *plain)

    def _drop(self, *slots: str) -> DropSlots:
        secret = self.secret
        return DropSlots(secret.ref, secret.uid, secret.resource_version, slots)


def reissue_wait(
    domain: TrustDomain, known: KnownAuthority, spread: float, moment: Moment
) -> timedelta:
    """Return how long a leaf of the retiring root waits until it is reissued.

    `spread`, between 0 and 1, comes from the identity's UID. It spreads the reissues over
    `bundle.propagation`, so that a fleet is not reissued all at once.
    """
    elapsed = timedelta(seconds=moment.uptime - known.secret.active_since)
    return domain.spec.bundle.propagation * spread - elapsed
