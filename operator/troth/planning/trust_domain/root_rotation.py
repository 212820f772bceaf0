"""The replacement of a trust domain's root, or of the CA that is given to it.

Where it stands is what the authority's Secret holds: beside the active CA the next one, or the one
before. See `troth.planning.rotation.handover` for the order of things; here is the evidence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.documents.secret_keys import KEY, LEAF, ROOTS
from troth.pki.authorities import Authority
from troth.pki.certificates import BACKDATE, short
from troth.planning.certificates.anchors import bundle_text, roots_in, trusting
from troth.planning.identity.rollouts import restarted_since, still_on_old_leaf, waiting_for_root
from troth.planning.moment import Moment
from troth.planning.owned_objects import secret_ref
from troth.planning.rotation.handover import Handover, Laggard, hand_over
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.planning.steps.authorities import (
    ActivateRoot,
    CopyAuthority,
    DropSlots,
    PrepareRoot,
    RootStep,
)
from troth.planning.trust_domain.issuers import is_issuers, issuer_secret
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import RotationPhase
from troth.world.facts.objects import AuthoritySecret, IdentitySecret, KnownAuthority
from troth.world.keys import domain_key
from troth.world.observation.objects import (
    NEXT_KEY,
    NEXT_LEAF,
    NEXT_ROOTS,
    RETIRING,
    RETIRING_ROOTS,
)
from troth.world.world import World


@dataclass(frozen=True, slots=True)
class Reader:
    """Something that verifiers read their roots from, and since when (uptime) it holds them.

    `until` is when nobody can be using it any more, if that is known.
    """

    name: str
    roots: frozenset[str]
    since: float
    until: datetime | None = None


def made_at(authority: Authority) -> datetime:
    """Return when a root was made."""
    return authority.not_before + BACKDATE


def renewal_of(authority: Authority) -> datetime:
    """Return when a root is to be replaced: at two thirds of its lifetime."""
    return authority.not_before + (authority.not_after - authority.not_before) * 2 / 3


def due_of(domain: TrustDomain, active: Authority, world: World, now: datetime) -> datetime | None:
    """Return when a root of Troth's own is to be replaced; a given CA is by who gave it."""
    if domain.spec.authority.self_managed is None:
        return None
    asked = due_at(rotations_of(domain, world), made_at(active), now)
    return min(renewal_of(active), asked or renewal_of(active))


def rotations_of(domain: TrustDomain, world: World) -> tuple[CredentialRotation, ...]:
    """Return the rotations that count for a trust domain."""
    return world.rotations.of(domain_key(domain.metadata.name))


def is_compromised(fingerprint: str, domain: TrustDomain, world: World) -> bool:
    """Say whether somebody declared that others know a root, or a token key, of a trust domain."""
    return any(
        rotation.spec.compromised is not None and fingerprint.startswith(rotation.spec.compromised)
        for rotation in rotations_of(domain, world)
    )


def next_step(domain: TrustDomain, known: KnownAuthority, world: World, moment: Moment) -> Handover:
    """Return where the replacement of a CA stands and what to do about it."""
    if known.authority is None:
        return Handover(RotationPhase.IDLE)
    root = _Root(domain, known, known.authority, world, moment)
    if root.spoilt:
        return Handover(RotationPhase.PREPARING, root.discard())
    handover = hand_over(root, wanted=root.wanted, moment=moment)
    if handover.phase is RotationPhase.PREPARING and handover.step is None:
        return Handover(RotationPhase.PREPARING, blockers=tuple(root.obstacles()))
    if handover.phase is RotationPhase.IDLE:
        return _cut_off(root) or handover
    return handover


def _cut_off(root: "_Root") -> Handover | None:
    """Return whom the sudden end of a compromised root has cut off, until they are back."""
    stranded = [
        f"Secret {ref} has a certificate of a revoked root, which is rejected until it is reissued"
        for ref, leaf in root.leaves()
        if leaf.leaf is not None and leaf.leaf.authority_key_id != root.active.subject_key_id
    ]
    if not stranded:
        return None
    return Handover(RotationPhase.REISSUING, blockers=tuple(sorted(stranded)), wait=root.settle)


@dataclass(frozen=True, slots=True)
class _Root:
    """The CA of a trust domain, as a credential that can be handed over."""

    domain: TrustDomain
    known: KnownAuthority
    active: Authority
    world: World
    moment: Moment

    # What is wanted

    @property
    def wanted(self) -> bool:
        """Whether another CA should take over."""
        if self.domain.spec.authority.secret_ref is not None:
            return self._given is not None and self._given != self.active
        own = self.secret.roots is None  # else it was given, before the spec chose otherwise
        due = due_of(self.domain, self.active, self.world, self.moment.now)
        return not own or (due is not None and due <= self.moment.now)

    @property
    def compromised(self) -> bool:
        """Whether the key of the active CA is not Troth's alone."""
        return self._compromised(self.active)

    @property
    def old_compromised(self) -> bool:
        """Whether the key of the CA before is not Troth's alone."""
        return self.known.retiring is not None and self._compromised(self.known.retiring)

    @property
    def spoilt(self) -> bool:
        """Whether the CA to come is compromised, or not any more the one that is given."""
        prepared = self.known.prepared
        if prepared is None:
            return False
        given = self.domain.spec.authority.secret_ref is not None
        return self._compromised(prepared) or (given and self._given not in (None, prepared))

    def obstacles(self) -> Iterator[str]:
        """Yield why no other CA can be prepared."""
        reference = self.domain.spec.authority.secret_ref
        if reference is not None:
            yield (
                f"Secret {Ref(self.secret.ref.namespace, reference.name)} holds no CA other than "
                f"the compromised {short(self.active.fingerprint)}; put another CA there"
            )

    @property
    def _given(self) -> Authority | None:
        """The CA that is given, if it can serve."""
        given = self.world.authorities.given_to(self.domain)
        if given is None or given.authority is None or self._compromised(given.authority):
            return None
        return given.authority if given.authority.valid_at(self.moment.now) else None

    def _compromised(self, authority: Authority) -> bool:
        return is_compromised(authority.fingerprint, self.domain, self.world)

    # The evidence

    @property
    def secret(self) -> AuthoritySecret:
        """Where the CA is kept."""
        return self.known.secret

    @property
    def settle(self) -> timedelta:
        """How long readers may take to see a write."""
        return self.domain.spec.bundle.propagation

    @property
    def overlap(self) -> timedelta:
        """How long the old root stays trusted after the last leaf was reissued."""
        return overlap_of(rotations_of(self.domain, self.world))

    @property
    def prepared_since(self) -> float | None:
        """Since when the next CA is there."""
        return self.secret.prepared_since if self.known.prepared else None

    @property
    def replaced_since(self) -> float | None:
        """Since when the present CA signs while the one before is still trusted."""
        return self.secret.active_since if self.known.retiring else None

    @property
    def deadline(self) -> datetime:
        """Until when readers are waited for: from then on the old CA cuts every leaf short, and to
        wait for the last of them would leave all without a certificate.
        """
        return self.active.not_after - self.domain.spec.certificates.lifetime

    def unpublished(self) -> Iterator[Laggard]:
        """Yield the readers that do not hold the next root, and who may run without it; and, while
        it has only just begun, those whose clock is behind and to whom it is not valid yet.
        """
        prepared = self.known.prepared
        assert prepared is not None
        valid_to_all = prepared.not_before + BACKDATE
        if self.moment.now < valid_to_all:
            yield Laggard(
                f"the new CA {short(prepared.fingerprint)} has just become valid, and clocks "
                "may be behind",
                valid_to_all,
            )
        wanted = roots_in(bundle_text(prepared.anchors))
        for reader in readers_of(prepared, self.domain, self.world, self.moment):
            if not wanted <= reader.roots:
                sentence = f"{reader.name} does not have the new root yet"
                yield Laggard(sentence, min(self.deadline, reader.until or self.deadline))
        for sentence in waiting_for_root(prepared, self.domain, self.world, self.moment):
            yield Laggard(sentence, self.deadline)

    def published_since(self) -> Iterator[float]:
        """Yield since when the readers that hold the next root do; the others are either waited
        for, or not any more.
        """
        prepared = self.known.prepared
        assert prepared is not None
        wanted = roots_in(bundle_text(prepared.anchors))
        for reader in readers_of(prepared, self.domain, self.world, self.moment):
            if wanted <= reader.roots:
                yield reader.since
        domains = trusting(prepared, self.domain, self.world)
        yield from restarted_since(domains, self.world, self.moment)

    def leaves(self) -> Iterator[tuple[Ref, IdentitySecret]]:
        """Yield the Secrets that hold a leaf of this trust domain which may still be valid.

        Those in a namespace that has left the domain are nobody's peers any more; its issuer is
        called from everywhere.
        """
        prefix = f"spiffe://{self.domain.spec.domain}/"
        issuer = issuer_secret(self.domain, self.world)
        for ref, secret in _held_secrets(self.world):
            leaf = secret.leaf
            if leaf is None or self.moment.now >= self.moment.over_at(leaf.not_after):
                continue
            if leaf.spiffe_id.startswith(prefix):
                governance = self.world.registry.governance(ref.namespace)
                ours = governance.domain is self.domain or not governance.settled
                if secret is issuer or (ours and not is_issuers(secret)):
                    yield ref, secret

    def still_used(self) -> Iterator[Laggard]:
        """Yield the leaves of the old CA, and who may still run with one."""
        retiring = self.known.retiring
        assert retiring is not None
        for ref, secret in self.leaves():
            if secret.leaf and secret.leaf.authority_key_id == retiring.subject_key_id:
                sentence = f"Secret {ref} has a certificate of the old root"
                yield Laggard(sentence, self.moment.over_at(secret.leaf.not_after))
        over = self.moment.over_at(retiring.not_after)
        for sentence in still_on_old_leaf(self.domain, self.world, self.moment):
            yield Laggard(sentence, over)

    def disused_since(self) -> Iterator[float]:
        """Yield since when leaves of the new CA are in place."""
        for _, secret in self.leaves():
            if secret.leaf and secret.leaf.authority_key_id == self.active.subject_key_id:
                yield secret.leaf_since
        yield from restarted_since([self.domain], self.world, self.moment)

    # The steps

    def prepare(self) -> RootStep | None:
        """Make the next root beside the active one, or copy the CA that is given."""
        settings = self.domain.spec.authority.self_managed
        given = self.world.authorities.given_to(self.domain)
        if settings is not None:
            return PrepareRoot(
                ref=self.secret.ref,
                uid=self.secret.uid,
                resource_version=self.secret.resource_version,
                trust_domain=self.domain.spec.domain,
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
            trust_domain=self.domain.spec.domain,
            source=given.secret.ref,
            authority=given.authority.fingerprint,
        )

    def activate(self) -> RootStep:
        """Move the next CA to where the active one is, and that to where the retiring one is."""
        secret = self.secret
        outgoing = [(LEAF, RETIRING)]
        incoming = [(NEXT_LEAF, LEAF), (NEXT_KEY, KEY)]
        drops: list[str] = []
        if secret.roots is not None:
            outgoing.append((ROOTS, RETIRING_ROOTS))
            drops = [ROOTS]
        if secret.prepared_roots is not None:
            incoming.append((NEXT_ROOTS, ROOTS))
        kept = not self.compromised
        return ActivateRoot(
            secret.ref,
            secret.uid,
            secret.resource_version,
            moves=(*(outgoing if kept else ()), *incoming),
            drops=() if kept or secret.prepared_roots is not None else tuple(drops),
        )

    def retire(self) -> RootStep:
        """Drop the CA before."""
        return self._drop(RETIRING, *([RETIRING_ROOTS] if self.secret.retiring_roots else []))

    def discard(self) -> RootStep:
        """Drop the CA to come."""
        return self._drop(
            NEXT_LEAF, NEXT_KEY, *([NEXT_ROOTS] if self.secret.prepared_roots else [])
        )

    def _drop(self, *slots: str) -> DropSlots:
        secret = self.secret
        return DropSlots(secret.ref, secret.uid, secret.resource_version, slots)


def readers_of(
    root: Authority, domain: TrustDomain, world: World, moment: Moment
) -> Iterator[Reader]:
    """Yield everything that verifiers of a root's leaves read their roots from.

    The bundle of every namespace that its domain, or one that may trust it, governs, and the
    Secrets of the identities there. A bundle that is missing holds nothing. Namespaces that are
    being deleted do not count, nor do Secrets whose leaf has expired: nobody can be using them.
    Nor do those of identities that are being deleted: they have no peers any more.
    """
    governed: set[str] = set()
    for each in trusting(root, domain, world):
        for namespace in world.registry.governed_by(each.metadata.name):
            if namespace in world.terminating:
                continue
            governed.add(namespace)
            bundle = world.bundles.get(Ref(namespace, each.spec.bundle.config_map_name))
            text = bundle.content.get(ROOTS, "") if bundle else ""
            since = bundle.since if bundle else moment.uptime
            yield Reader(f"the bundle of namespace {namespace}", roots_in(text), since)
    issuer = issuer_secret(domain, world)  # its callers are of its own trust domain
    for ref, secret in _held_secrets(world):
        reads = secret is issuer or (ref.namespace in governed and not is_issuers(secret))
        if not reads or secret.leaf is None:
            continue
        until = moment.over_at(secret.leaf.not_after)
        if until > moment.now:
            roots = roots_in(secret.public.get(ROOTS, ""))
            yield Reader(f"Secret {ref}", roots, secret.roots_since, until)


def _held_secrets(world: World) -> Iterator[tuple[Ref, IdentitySecret]]:
    """Yield the Secrets of identities and issuers, without those of identities being deleted."""
    terminating = {secret_ref(ref) for ref in world.registry.terminating_identities}
    for ref, secret in world.secrets.items():
        if ref not in terminating:
            yield ref, secret


def reissue_wait(
    domain: TrustDomain, known: KnownAuthority, spread: float, moment: Moment
) -> timedelta:
    """Return how long a leaf of the retiring root still waits for its turn to be replaced.

    Turns are spread over `bundle.propagation` by the identity's UID, so that a fleet is not
    reissued in one moment.
    """
    elapsed = timedelta(seconds=moment.uptime - known.secret.active_since)
    return domain.spec.bundle.propagation * spread - elapsed
