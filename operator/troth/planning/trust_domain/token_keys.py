"""The replacement of the key that signs a trust domain's tokens.

Where it stands is what the issuer's Secret holds: beside the active key the next one, or the public
half of the one before. See `troth.planning.rotation.handover` for the order of things; here is
the evidence. A key is published in every bundle before it signs, and as long as a token that it
signed is good.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.pki.tokens import LEEWAY, MAX_LIFETIME
from troth.planning.certificates.anchors import federated
from troth.planning.certificates.spiffe_bundles import key_ids_in
from troth.planning.moment import Moment
from troth.planning.owned_objects import is_child
from troth.planning.rotation.handover import Handover, Laggard, hand_over
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.planning.steps.authorities import DropSlots
from troth.planning.steps.signing_keys import ActivateTokenKey, PrepareTokenKey
from troth.planning.trust_domain.root_rotation import is_compromised, rotations_of
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import RotationPhase
from troth.world.facts.objects import Content, TokenKey, TokensSecret
from troth.world.observation.objects import BUNDLE_MAP
from troth.world.observation.signing_keys import ISSUERS
from troth.world.world import World

PREPARED = (ISSUERS.prepared, ISSUERS.prepared_made)


def key_due(domain: TrustDomain, key: TokenKey, world: World, now: datetime) -> datetime:
    """Return when a key that signs tokens is to be replaced; one of unknown age is so now."""
    assert domain.spec.tokens is not None
    if key.made_at is None:
        return now
    aged = key.made_at + domain.spec.tokens.key_lifetime
    return min(aged, due_at(rotations_of(domain, world), key.made_at, now) or aged)


def plan_key_rotation(domain: TrustDomain, world: World, moment: Moment) -> Handover:
    """Return where the replacement of the key that signs tokens stands, and its next step."""
    known = world.tokens.of(domain)
    if domain.spec.tokens is None or known is None or not is_child(known, domain):
        return Handover(RotationPhase.IDLE)
    if known.active is None:
        return Handover(RotationPhase.IDLE)
    key = _Key(domain, known, known.active, world)
    if key.spoilt:
        return Handover(RotationPhase.PREPARING, key.drop(key.spoilt))
    due = key_due(domain, known.active, world, moment.now)
    return hand_over(key, wanted=due <= moment.now, moment=moment)


@dataclass(frozen=True, slots=True)
class _Key:
    """The key that signs a trust domain's tokens, as a credential that can be handed over."""

    domain: TrustDomain
    known: TokensSecret
    active: TokenKey
    world: World

    @property
    def compromised(self) -> bool:
        """Whether the key that signs is not Troth's alone."""
        return self._compromised(self.active)

    @property
    def old_compromised(self) -> bool:
        """Whether the key before is not Troth's alone."""
        return self.known.retiring is not None and self._compromised(self.known.retiring)

    @property
    def spoilt(self) -> tuple[str, ...]:
        """What of the Secret is of no use: what cannot be read, and a compromised key to come."""
        prepared = self.known.prepared
        if prepared is not None and self._compromised(prepared):
            return PREPARED
        return self.known.spoilt

    def _compromised(self, key: TokenKey) -> bool:
        return is_compromised(key.fingerprint, self.domain, self.world)

    # The evidence

    @property
    def settle(self) -> timedelta:
        """How long readers may take to see a write, those of federated domains included."""
        return max(each.spec.bundle.propagation for each in self._verifying())

    @property
    def overlap(self) -> timedelta:
        """How long the old key stays published: as long as the last token that it signed is good,
        which an issuer may have signed with it for a while after the new one was put to use.
        """
        last = MAX_LIFETIME + LEEWAY + self.settle
        return max(last, overlap_of(rotations_of(self.domain, self.world)))

    @property
    def prepared_since(self) -> float | None:
        """Since when the next key is there."""
        return self.known.prepared_since if self.known.prepared else None

    @property
    def replaced_since(self) -> float | None:
        """Since when the present key signs while the one before is still published."""
        return self.known.active_since if self.known.retiring else None

    def unpublished(self) -> Iterator[Laggard]:
        """Yield the namespaces whose bundle does not have the next key."""
        for namespace, bundle in self._bundles():
            if not self._has_next(bundle):
                yield Laggard(
                    f"the bundle of namespace {namespace} does not have the next token key yet"
                )

    def published_since(self) -> Iterator[float]:
        """Yield since when the bundles that have the next key do."""
        for _, bundle in self._bundles():
            if bundle is not None and self._has_next(bundle):
                yield bundle.since

    def still_used(self) -> Iterator[Laggard]:
        """Yield nobody: tokens end by themselves, which `overlap` waits for."""
        yield from ()

    def disused_since(self) -> Iterator[float]:
        """Yield nothing: see `still_used`."""
        yield from ()

    def _verifying(self) -> Iterator[TrustDomain]:
        """Yield the trust domains whose workloads verify tokens of this one."""
        yield self.domain
        yield from federated(self.domain, self.world)

    def _bundles(self) -> Iterator[tuple[str, Content | None]]:
        """Yield the bundle of every namespace that verifies tokens of this domain; None where it is
        missing. Namespaces that are being deleted do not count.
        """
        for each in self._verifying():
            for namespace in self.world.registry.governed_by(each.metadata.name):
                if namespace not in self.world.terminating:
                    name = each.spec.bundle.config_map_name
                    yield namespace, self.world.bundles.get(Ref(namespace, name))

    def _has_next(self, bundle: Content | None) -> bool:
        assert self.known.prepared is not None
        text = bundle.content.get(BUNDLE_MAP, "") if bundle else ""
        return self.known.prepared.kid in key_ids_in(text, self.domain.spec.domain)

    # The steps

    def prepare(self) -> PrepareTokenKey:
        """Make the next key beside the active one."""
        return PrepareTokenKey(self.known.ref, self.known.uid, self.known.resource_version)

    def activate(self) -> ActivateTokenKey:
        """Move the next key to where the active one is, and keep of that the public half."""
        return ActivateTokenKey(
            self.known.ref,
            self.known.uid,
            self.known.resource_version,
            retiring=None if self.compromised else self.active.jwk,
        )

    def retire(self) -> DropSlots:
        """Drop the key before."""
        return self.drop((ISSUERS.retiring,))

    def drop(self, names: tuple[str, ...]) -> DropSlots:
        """Drop what is of no use."""
        return DropSlots(self.known.ref, self.known.uid, self.known.resource_version, names)
