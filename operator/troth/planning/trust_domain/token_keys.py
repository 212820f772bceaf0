"""Rotation of the key that signs a trust domain's tokens.

The issuer's Secret holds the state: beside the active key the next one, or the public half of the
previous one. `troth.planning.rotation.handover` defines the phases; this module gathers the
evidence for them. Every bundle publishes a key before it signs, and as long as a token that it
signed is valid.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.pki.tokens.signing import LEEWAY, MAX_LIFETIME
from troth.planning.certificates.anchors import federated
from troth.planning.moment import Moment
from troth.planning.rotation.handover import Blocker, Handover, hand_over
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.planning.steps.authorities import DropSlots, UpdateRetired
from troth.planning.steps.signing_keys import ActivateTokenKey, PrepareTokenKey
from troth.planning.trust_domain.facts import Bundles, RotationView
from troth.planning.trust_domain.retired import retire_key
from troth.planning.trust_domain.rotations import Rotations, is_compromised
from troth.planning.trust_domain.spiffe_bundles import key_ids_in
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import RotationPhase
from troth.trust.declarations.registry import Registry
from troth.world.facts.objects import Content, TokenKey, TokensSecret
from troth.world.observation.objects import BUNDLE_MAP
from troth.world.observation.signing_keys import ISSUERS

PREPARED = (ISSUERS.prepared, ISSUERS.prepared_made)


def key_due(domain: TrustDomain, key: TokenKey, rotations: Rotations, now: datetime) -> datetime:
    """Return when a token signing key is due for rotation: now, if its age is unknown."""
    assert domain.spec.tokens is not None
    if key.made_at is None:
        return now
    aged = key.made_at + domain.spec.tokens.key_lifetime
    return min(aged, due_at(rotations, key.made_at, now) or aged)


def plan_key_rotation(view: RotationView) -> Handover:
    """Return the state of the token signing key's rotation, and its next step."""
    known, moment = view.own_tokens, view.moment
    if known is None or known.active is None:
        return Handover(RotationPhase.IDLE)
    key = _Key(view, known, known.active)
    if key.spoilt:
        return Handover(RotationPhase.PREPARING, key.drop(key.spoilt))
    due = key_due(view.domain, known.active, view.rotations, moment.now)
    return hand_over(key, wanted=due <= moment.now, moment=moment)


def first_key_wait(
    known: TokensSecret, bundles: Bundles, settle: timedelta, moment: Moment
) -> timedelta:
    """Return how long the issuer waits until it may sign with a key that replaces no other.

    It waits until workloads have read the key, as in a rotation. No workload can have read a
    bundle that was created after the key without it, so those of a new domain cause no wait. A
    missing bundle, or one that changes again and again, prolongs the wait once.
    """
    if known.active is None:
        return timedelta(0)
    since = [
        known.active_since if bundle is None else bundle.since
        for _, bundle in bundles
        if not _was_created_with(known.active, bundle)
    ]
    if not since:
        return timedelta(0)
    last = min(max(since), known.active_since + settle.total_seconds())
    return settle - timedelta(seconds=moment.uptime - last)


def settle_of(domain: TrustDomain, registry: Registry) -> timedelta:
    """Return the propagation delay: the longest of a domain's and the federated domains'."""
    verifying = (domain, *federated(domain, registry))
    return max(each.spec.bundle.propagation for each in verifying)


def _was_created_with(key: TokenKey, bundle: Content | None) -> bool:
    if bundle is None or key.made_at is None:
        return False
    # only an object that no API server has stored, as in `troth plan -f`, has no time of creation
    return bundle.created is None or bundle.created >= key.made_at


@dataclass(frozen=True, slots=True)
class _Key:
    """Token signing key of a trust domain, as a `Credential` of a handover."""

    view: RotationView
    known: TokensSecret
    active: TokenKey

    @property
    def compromised(self) -> bool:
        """Whether the active key is compromised."""
        return self._compromised(self.active)

    @property
    def old_compromised(self) -> bool:
        """Whether the previous key is compromised."""
        return self.known.retiring is not None and self._compromised(self.known.retiring)

    @property
    def spoilt(self) -> tuple[str, ...]:
        """Keys of the Secret's data that are unreadable, or that hold a compromised next key."""
        prepared = self.known.prepared
        if prepared is not None and self._compromised(prepared):
            return PREPARED
        return self.known.spoilt

    def _compromised(self, key: TokenKey) -> bool:
        return is_compromised(key.fingerprint, self.view.rotations)

    # The evidence

    @property
    def settle(self) -> timedelta:
        """Propagation delay: the longest of this domain's and the federated domains'."""
        return settle_of(self.view.domain, self.view.registry)

    @property
    def overlap(self) -> timedelta:
        """How long the old key stays published, at least: while a token that it signed is valid.

        An issuer may sign with the old key until it has seen the new one, within `settle`.
        """
        last = MAX_LIFETIME + LEEWAY + self.settle
        return max(last, overlap_of(self.view.rotations))

    @property
    def prepared_since(self) -> float | None:
        """When the next key was first observed (uptime), None without one."""
        return self.known.prepared_since if self.known.prepared else None

    @property
    def replaced_since(self) -> float | None:
        """When the active key was first observed (uptime), None if no old one is published."""
        return self.known.active_since if self.known.retiring else None

    @property
    def deadline(self) -> datetime | None:
        """Time until which Troth waits for bundles, None if the age of the next key is unknown.

        Without it, anyone who can keep Troth from writing one bundle could keep a key for ever.
        """
        assert self.known.prepared is not None
        assert self.view.domain.spec.tokens is not None
        made = self.known.prepared.made_at
        return made + self.view.domain.spec.tokens.key_lifetime if made is not None else None

    def unpublished(self) -> Iterator[Blocker]:
        """Yield the namespaces whose bundle lacks the next key."""
        for namespace, bundle in self.view.token_key.bundles:
            if not self._has_next(bundle):
                yield Blocker(
                    f"the bundle of namespace {namespace} does not have the next token key yet",
                    self.deadline,
                )
        for namespace in self.view.token_key.unlisted:
            yield Blocker(
                f"namespace {namespace} cannot be read, and its bundle may lack the next token key",
                self.deadline,
            )

    def published_since(self) -> Iterator[float]:
        """Yield since when (uptime) each bundle that has the next key has it.

        Nothing that is observed after `deadline` prolongs the wait.
        """
        moment = self.view.moment
        end = moment.uptime_at(self.deadline) if self.deadline else moment.uptime
        for _, bundle in self.view.token_key.bundles:
            if bundle is not None and self._has_next(bundle):
                yield min(bundle.since, end)

    def still_used(self) -> Iterator[Blocker]:
        """Yield nothing: tokens expire by themselves, and `overlap` covers their lifetime."""
        yield from ()

    def disused_since(self) -> Iterator[float]:
        """Yield nothing: see `still_used`."""
        yield from ()

    def _has_next(self, bundle: Content | None) -> bool:
        assert self.known.prepared is not None
        text = bundle.data.get(BUNDLE_MAP, "") if bundle else ""
        return self.known.prepared.kid in key_ids_in(text, self.view.domain.spec.domain)

    # The steps

    def prepare(self) -> PrepareTokenKey:
        """Return the step that creates the next key beside the active one."""
        return PrepareTokenKey(self.known.ref, self.known.uid, self.known.resource_version)

    def activate(self) -> ActivateTokenKey:
        """Return the step that makes the next key active.

        It keeps the public half of the old key, unless the old key is compromised.
        """
        return ActivateTokenKey(
            self.known.ref,
            self.known.uid,
            self.known.resource_version,
            retiring=None if self.compromised else self.active.jwk,
        )

    def retire(self) -> UpdateRetired:
        """Return the step that drops the retiring key, and records it unless it is compromised."""
        return retire_key(self.known, self.view.rotations, self.view.moment)

    def drop(self, names: tuple[str, ...]) -> DropSlots:
        """Return the step that drops these keys of the Secret's data."""
        return DropSlots(self.known.ref, self.known.uid, self.known.resource_version, names)
