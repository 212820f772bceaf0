"""Root rotation: the next step, decided from evidence in the world and never from hope.

A new root is made beside the active one (Preparing), goes into every bundle (Distributing), begins
to sign (Activating), every leaf of the old one is replaced (Reissuing), and the old one is dropped
(Retiring). Where it stands is what the authority's Secret holds; nothing else remembers it, so a
crash at any point is no loss.

The API server cannot show what a pod has on its disk. So a step that others rely on waits
`bundle.propagation` after the last write it relies on, counted from when this process saw that
write on its monotonic clock: a wall clock that jumps shortens no wait, and a restart only prolongs
it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.pki.authorities import Authority
from troth.pki.bundles import parse_bundle
from troth.pki.errors import PKIError
from troth.planning.anchors import federated
from troth.planning.plan import ActivateRoot, PrepareRoot, RetireRoot, RootStep
from troth.resources.references import Ref
from troth.resources.trust_domain import RotationPhase, TrustDomain
from troth.world.facts import KnownAuthority
from troth.world.observe import ROOTS
from troth.world.world import World

BLOCKERS = 16
"""How many blockers a status names."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """Where a rotation stands: its phase, the step to take, what blocks it, how long to wait."""

    phase: RotationPhase
    step: RootStep | None = None
    blockers: tuple[str, ...] = ()
    wait: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """Something that verifiers read their roots from, and since when (uptime) it holds them."""

    name: str
    roots: frozenset[str]
    since: float


def renewal_of(authority: Authority) -> datetime:
    """Return when a root is to be replaced: at two thirds of its lifetime."""
    return authority.not_before + (authority.not_after - authority.not_before) * 2 / 3


def next_step(domain: TrustDomain, known: KnownAuthority, world: World, now: datetime) -> Rotation:
    """Return where the rotation of a self-managed root stands and what to do about it."""
    if known.retiring is not None:
        return _towards_retirement(domain, known, known.retiring, world, now)
    if known.prepared is not None:
        return _towards_activation(domain, known, known.prepared, world, now)
    if known.authority is not None and now >= renewal_of(known.authority):
        return Rotation(RotationPhase.PREPARING, _prepare(domain, known))
    return Rotation(RotationPhase.IDLE)


def _prepare(domain: TrustDomain, known: KnownAuthority) -> RootStep:
    settings, secret = domain.spec.authority.self_managed, known.secret
    assert settings is not None
    return PrepareRoot(
        ref=secret.ref,
        uid=secret.uid,
        resource_version=secret.resource_version,
        trust_domain=domain.spec.domain,
        algorithm=settings.key_algorithm,
        lifetime=settings.lifetime,
        confined=settings.confined,
    )


def _towards_activation(
    domain: TrustDomain,
    known: KnownAuthority,
    prepared: Authority,
    world: World,
    now: datetime,
) -> Rotation:
    """Every reader must hold the new root, for long enough, before it signs anything."""
    readers = list(readers_of(domain, world, now))
    missing = [reader.name for reader in readers if prepared.fingerprint not in reader.roots]
    if missing:
        blockers = tuple(f"{name} does not hold the new root yet" for name in sorted(missing))
        return Rotation(RotationPhase.DISTRIBUTING, blockers=blockers)
    wait = _left(domain, world, (reader.since for reader in readers))
    if wait > timedelta(0):
        return Rotation(RotationPhase.DISTRIBUTING, wait=wait)
    secret = known.secret
    step = ActivateRoot(secret.ref, secret.uid, secret.resource_version)
    return Rotation(RotationPhase.ACTIVATING, step)


def _towards_retirement(
    domain: TrustDomain,
    known: KnownAuthority,
    retiring: Authority,
    world: World,
    now: datetime,
) -> Rotation:
    """No leaf that is alive may chain to the old root, and none may have done so until lately."""
    dependent = sorted(
        f"{ref} holds a certificate of the old root until {leaf.not_after:%Y-%m-%d %H:%M} UTC"
        for ref, secret in world.secrets.items()
        if (leaf := secret.leaf) is not None
        and leaf.authority_key_id == retiring.subject_key_id
        and leaf.not_after > now
    )
    if dependent:
        return Rotation(RotationPhase.REISSUING, blockers=tuple(dependent))
    replaced = (
        secret.leaf_since
        for secret in world.secrets.values()
        if secret.leaf is not None
        and known.authority is not None
        and secret.leaf.authority_key_id == known.authority.subject_key_id
    )
    wait = _left(domain, world, (known.secret.active_since, *replaced))
    if wait > timedelta(0):
        return Rotation(RotationPhase.RETIRING, wait=wait)
    secret = known.secret
    step = RetireRoot(secret.ref, secret.uid, secret.resource_version)
    return Rotation(RotationPhase.RETIRING, step)


def _left(domain: TrustDomain, world: World, seen: Iterable[float]) -> timedelta:
    """Return how long to wait until the last of these sightings is old enough."""
    elapsed = timedelta(seconds=world.uptime - max(seen, default=0.0))
    return domain.spec.bundle.propagation - elapsed


def readers_of(domain: TrustDomain, world: World, now: datetime) -> Iterator[Reader]:
    """Yield everything that verifiers of the domain's leaves read their roots from.

    The bundle of every namespace that the domain, or one it federates with, governs, and the
    Secrets of the identities there. A bundle that is missing holds nothing. Namespaces that are
    being deleted do not count, nor do Secrets whose leaf has expired: nobody can be using them.
    """
    governed: set[str] = set()
    for each in (domain, *federated(domain, world)):
        for namespace in world.registry.governed_by(each.metadata.name):
            if namespace in world.terminating:
                continue
            governed.add(namespace)
            bundle = world.bundles.get(Ref(namespace, each.spec.bundle.config_map_name))
            text = bundle.content.get(ROOTS, "") if bundle else ""
            since = bundle.since if bundle else world.uptime
            yield Reader(f"the bundle of namespace {namespace}", _fingerprints(text), since)
    for ref, secret in world.secrets.items():
        if ref.namespace in governed and secret.leaf and secret.leaf.not_after > now:
            roots = _fingerprints(secret.public.get(ROOTS, ""))
            yield Reader(f"Secret {ref}", roots, secret.roots_since)


def _fingerprints(bundle: str) -> frozenset[str]:
    try:
        return frozenset(parse_bundle(bundle))
    except PKIError:
        return frozenset()


def reissue_wait(
    domain: TrustDomain, known: KnownAuthority, spread: float, world: World
) -> timedelta:
    """Return how long a leaf of the retiring root still waits for its turn to be replaced.

    Turns are spread over `bundle.propagation` by the identity's UID, so that a fleet is not
    reissued in one moment.
    """
    elapsed = timedelta(seconds=world.uptime - known.secret.active_since)
    return domain.spec.bundle.propagation * spread - elapsed
