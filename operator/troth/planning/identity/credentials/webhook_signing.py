"""The key with which a webhook gateway signs deliveries, and its rotation.

The gateway reads the key from a Secret in its namespace. The identity Secret of every target holds
the public key before the key signs, and for as long as a token that it signed is valid.
`troth.planning.rotation.handover` defines the order of the steps; this module has the evidence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.documents.webhook_endpoint import GATEWAY_LABEL
from troth.pki.tokens.signing import LEEWAY
from troth.pki.tokens.webhook import LIFETIME
from troth.planning import verdicts
from troth.planning.identity.facts import View
from troth.planning.identity.secret.webhook_trust import is_for_webhooks
from troth.planning.owned_objects import metadata_of, rechecks, secret_ref, taken
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.rotation.handover import Blocker, Handover, hand_over
from troth.planning.rotation.schedule import due_at
from troth.planning.steps.authorities import DropSlots
from troth.planning.steps.objects import removal
from troth.planning.steps.signing_keys import ActivateTokenKey, CreateTokenKey, PrepareTokenKey
from troth.resources.conditions import Verdict
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.resources.trust_domain.status import RotationPhase
from troth.world.facts.objects import Manifest, SigningSecret, TokenKey
from troth.world.index.webhook_signing import TYPE
from troth.world.observation.signing_keys import GATEWAYS

CONDITION = "WebhooksSigned"
KEY_LIFETIME = timedelta(days=30)
CREATING = verdicts.false(
    CONDITION, "CreatingSigningKey", "a key to sign deliveries is being created"
)
"""Reasons that pass without manual action."""


@dataclass(frozen=True, slots=True)
class SigningRotation:
    """State of a usable key's rotation: when it was created, and when it must be replaced."""

    handover: Handover
    made_at: datetime | None
    due: datetime


@fails_closed(unplanned(CONDITION))
def plan_webhook_signing(view: View) -> Part:
    """Return the condition of a gateway's key and its next step.

    An identity that is no gateway gets at most the removal of an old key.
    """
    owned, known = view.signing, view.signing.fact
    if view.identity.spec.serves_webhooks is None:
        return Part(steps=removal("Secret", known, view.identity))
    conflict = verdicts.faulty(CONDITION, taken(owned, view.identity, view.moment.now))
    if conflict is not None:
        return Part((conflict,), dues=rechecks(owned))
    failed = verdicts.faulty(CONDITION, owned.write_fault)
    if known is None:
        create = CreateTokenKey(_secret(view, owned.ref), GATEWAYS)
        return Part((failed or CREATING,), (create,))
    rotation = signing_rotation(view)
    if rotation is None:
        assert known.fault is not None
        return Part((verdicts.false(CONDITION, known.fault.reason, known.fault.message),))
    step, wait = rotation.handover.step, rotation.handover.wait
    return Part(
        (failed or _verdict(rotation.handover),),
        (step,) if step is not None else (),
        (rotation.due, *((view.moment.now + wait,) if wait is not None else ())),
    )


def signing_rotation(view: View) -> SigningRotation | None:
    """Return the state of a gateway's key, None if the identity has no key that it may use."""
    known = view.signing.fact
    if view.identity.spec.serves_webhooks is None or known is None or known.active is None:
        return None
    if taken(view.signing, view.identity, view.moment.now) is not None:
        return None
    key = _Key(view, known, known.active)
    return SigningRotation(_next_step(key), known.active.made_at, key.due)


def _next_step(key: "_Key") -> Handover:
    if key.known.spoilt:
        return Handover(RotationPhase.PREPARING, key.drop(key.known.spoilt))
    return hand_over(key, wanted=key.due <= key.view.moment.now, moment=key.view.moment)


def _verdict(handover: Handover) -> Verdict:
    if handover.blockers:
        return verdicts.true(CONDITION, "RotationWaits", handover.blockers[0])
    return verdicts.true(CONDITION, "Active", "the gateway signs deliveries with its own key")


def _secret(view: View, ref: Ref) -> Manifest:
    """Return the manifest of the Secret without its keys."""
    metadata = metadata_of(ref, view.identity)
    labels = {**metadata["labels"], GATEWAY_LABEL: view.identity.ref.name}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": {**metadata, "labels": labels},
    }


@dataclass(frozen=True, slots=True)
class _Key:
    """A gateway's signing key as a credential that `hand_over` rotates."""

    view: View
    known: SigningSecret
    active: TokenKey

    @property
    def due(self) -> datetime:
        """When the key must be replaced: now, if its age is unknown."""
        made = self.active.made_at
        if made is None:
            return self.view.moment.now
        aged = made + KEY_LIFETIME
        return min(aged, due_at(self.view.rotations, made, self.view.moment.now) or aged)

    # The evidence

    @property
    def settle(self) -> timedelta:
        """Longest propagation delay of the gateway and its targets."""
        namespaces = {self.view.identity.ref.namespace, *(each.namespace for each in self._targets)}
        return max(
            (
                claim.spec.bundle.propagation
                for namespace in namespaces
                for claim in self.view.registry.governance(namespace).claims
            ),
            default=timedelta(0),
        )

    @property
    def overlap(self) -> timedelta:
        """How long the old key stays published: until its last token has expired.

        The gateway may sign with it for a propagation delay after the new key was activated.
        """
        return LIFETIME + LEEWAY + self.settle

    @property
    def prepared_since(self) -> float | None:
        """Since when the next key exists (uptime), None if there is none."""
        return self.known.prepared_since if self.known.prepared else None

    @property
    def replaced_since(self) -> float | None:
        """Since when the active key signs (uptime), None if no earlier key is still published."""
        return self.known.active_since if self.known.retiring else None

    @property
    def compromised(self) -> bool:
        """Whether the key is compromised. Always false: nothing can declare that yet."""
        return False

    @property
    def old_compromised(self) -> bool:
        """See `compromised`."""
        return False

    def unpublished(self) -> Iterator[Blocker]:
        """Yield the targets whose Secrets do not have the next key yet."""
        for target in self._targets:
            if self._knows_next_since(target) is None:
                yield Blocker(
                    f"Secret {secret_ref(target)} does not have the gateway's next key yet"
                )

    def published_since(self) -> Iterator[float]:
        """Yield since when (uptime) each target has the next key, if it has it."""
        for target in self._targets:
            since = self._knows_next_since(target)
            if since is not None:
                yield since

    def still_used(self) -> Iterator[Blocker]:
        """Yield nothing: `overlap` waits until the tokens of the old key have expired."""
        yield from ()

    def disused_since(self) -> Iterator[float]:
        """Yield nothing: see `still_used`."""
        yield from ()

    @property
    def _targets(self) -> list[Ref]:
        """The identities that verify the gateway's deliveries, sorted."""
        mine, in_force = self.view.identity.ref, (EdgeState.LIVE, EdgeState.SUSPENDED)
        return sorted(
            {
                edge.callee
                for edge in self.view.edges
                if edge.caller == mine
                and edge.state in in_force
                and edge.callee.namespace not in self.view.ending
                and is_for_webhooks(edge, self.view.registry)
            }
        )

    def _knows_next_since(self, target: Ref) -> float | None:
        """Return since when (uptime) a target has the next key, None if it does not."""
        assert self.known.prepared is not None
        secret = self.view.targets.get(target)
        return secret.webhook_keys_since.get(self.known.prepared.kid) if secret else None

    # The steps

    def prepare(self) -> PrepareTokenKey:
        """Return the step that creates the next key beside the active one."""
        known = self.known
        return PrepareTokenKey(known.ref, known.uid, known.resource_version, GATEWAYS)

    def activate(self) -> ActivateTokenKey:
        """Return the step that activates the next key and keeps the old key's public half."""
        known, retiring = self.known, self.active.jwk
        return ActivateTokenKey(known.ref, known.uid, known.resource_version, retiring, GATEWAYS)

    def retire(self) -> DropSlots:
        """Return the step that drops the old key."""
        return self.drop((GATEWAYS.retiring,))

    def drop(self, names: tuple[str, ...]) -> DropSlots:
        """Return the step that drops these slots of the Secret."""
        return DropSlots(self.known.ref, self.known.uid, self.known.resource_version, names)
