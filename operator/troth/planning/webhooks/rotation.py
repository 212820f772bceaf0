"""Rotation of the secret that Troth creates for the sender of a webhook.

The gateway accepts a delivery that is signed with any key of the Secret. So the next key is valid
as soon as it exists. Only the sender has to get it, from a person or a program. The gateway reports
when the sender signs with it, and then Troth drops the previous key. This module supplies the
evidence for `troth.planning.rotation.handover`, which defines the order of the steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.planning.rotation.handover import Blocker, Handover, hand_over
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.planning.steps.webhooks import ChangeWebhookKeys
from troth.planning.webhooks.keys import change_keys, next_id, usable
from troth.planning.webhooks.view import WebhookView
from troth.resources.rotation.spec import CredentialPhase
from troth.resources.trust_domain.status import RotationPhase
from troth.resources.webhooks.schemes import ISSUED_BY_SENDER
from troth.world.facts.objects import Fault
from troth.world.facts.webhook import KeysSecret, KnownKey


@dataclass(frozen=True, slots=True)
class SecretRotation:
    """State of the rotation of an endpoint's secret, or why it cannot be rotated.

    `current` is the newest key that Troth created, and `retiring` are those that it created before.
    """

    phase: CredentialPhase = CredentialPhase.IDLE
    current: KnownKey | None = None
    retiring: tuple[KnownKey, ...] = ()
    until: datetime | None = None
    due: datetime | None = None
    blockers: tuple[str, ...] = ()
    wait: timedelta | None = None
    step: ChangeWebhookKeys | None = None
    fault: Fault | None = None


def plan_secret(view: WebhookView) -> SecretRotation:
    """Return the state of the secret's rotation, and its next step."""
    if not view.generates:
        return SecretRotation(fault=_not_ours(view))
    known, made = view.keys, [key for key in usable(view) if key.made_at is not None]
    if known is None or not made:
        message = f"WebhookEndpoint {view.endpoint.ref} has no secret yet; see its status"
        return SecretRotation(fault=Fault("AwaitingCredential", message))
    *before, current = sorted(made, key=_age)
    secret = WebhookSecret(view, known, current, tuple(before))
    due = due_at(view.rotations, secret.made_at, view.moment.now)
    handover = hand_over(
        secret, wanted=due is not None and due <= view.moment.now, moment=view.moment
    )
    step = handover.step
    assert step is None or isinstance(step, ChangeWebhookKeys)
    return SecretRotation(
        phase=_phase(handover),
        current=current,
        retiring=secret.retiring,
        until=secret.made_at + secret.overlap if secret.retiring else None,
        due=due,
        blockers=handover.blockers,
        wait=handover.wait,
        step=step,
    )


def _age(key: KnownKey) -> tuple[datetime, int, str]:
    assert key.made_at is not None
    return key.made_at, len(key.id), key.id


def _phase(handover: Handover) -> CredentialPhase:
    """Return the phase for the status: both keys are valid as soon as the next one exists."""
    match handover.phase:
        case RotationPhase.IDLE | RotationPhase.PREPARING:
            return CredentialPhase.IDLE
        case RotationPhase.RETIRING if handover.step is not None:
            return CredentialPhase.RETIRING
        case _:
            return CredentialPhase.OVERLAPPING


def _not_ours(view: WebhookView) -> Fault:
    if view.needs_no_key:
        message = "AWS signs for SNS with its own key; delete this CredentialRotation"
        return Fault("NothingToRotate", message)
    secret, issued = view.endpoint.given_secret, view.scheme in ISSUED_BY_SENDER
    whose = "the sender issues this secret" if issued else f"you manage Secret {secret}"
    message = (
        f"{whose}; add the next one to Secret {secret} under a name of its own, and remove the "
        "old one once status.keys shows that the next has verified a delivery"
    )
    return Fault("ProviderIssued" if issued else "GivenSecret", message)


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """Secret of an endpoint, as evidence for a rotation."""

    view: WebhookView
    known: KeysSecret
    current: KnownKey
    retiring: tuple[KnownKey, ...]

    @property
    def made_at(self) -> datetime:
        """Time at which the newest key was created."""
        assert self.current.made_at is not None
        return self.current.made_at

    # Evidence

    @property
    def compromised(self) -> bool:
        """Always False: the secret cannot be marked as compromised.

        To replace it at once, delete its Kubernetes Secret.
        """
        return False

    @property
    def old_compromised(self) -> bool:
        """Always False, as for `compromised`."""
        return False

    @property
    def settle(self) -> timedelta:
        """Always zero: only the gateway reads the secret, and it reports when it has done so."""
        return timedelta(0)

    @property
    def overlap(self) -> timedelta:
        """Time for which the previous keys stay valid."""
        return overlap_of(self.view.rotations)

    @property
    def prepared_since(self) -> float | None:
        """Always None: the next key is in use as soon as it exists."""
        return None

    @property
    def replaced_since(self) -> float | None:
        """Time since which the newest key is known beside others, None if it is alone."""
        return self.known.since if self.retiring else None

    def unpublished(self) -> Iterator[Blocker]:
        """Yield nothing: see `prepared_since`."""
        yield from ()

    def published_since(self) -> Iterator[float]:
        """Yield nothing: see `prepared_since`."""
        yield from ()

    def still_used(self) -> Iterator[Blocker]:
        """Yield the sender until it has signed with the newest key."""
        key, compiled = self.current, self.view.compiled
        lately = self.view.verified.get(key.id)
        if lately is not None and lately >= self.made_at:
            return
        if compiled is None or compiled.keys.get(key.id) != key.fingerprint:
            yield Blocker(
                f"the gateway does not use {key.id} yet; give it to the sender when "
                f"WebhookEndpoint {self.view.endpoint.ref} has GatewayConfigured"
            )
            return
        yield Blocker(
            f"no delivery has been verified with {key.id} yet; give the sender what Secret "
            f"{self.known.ref} has under {key.id}"
        )

    def disused_since(self) -> Iterator[float]:
        """Yield nothing: a sender may send an earlier signed delivery again."""
        yield from ()

    # Steps

    def prepare(self) -> ChangeWebhookKeys:
        """Return the step that adds the next key."""
        return change_keys(self.view, adds=next_id(self.known.keys))

    def activate(self) -> ChangeWebhookKeys:
        """Return the step that adds the next key, which also puts it to use."""
        return self.prepare()

    def retire(self) -> ChangeWebhookKeys:
        """Return the step that drops the previous keys."""
        return change_keys(self.view, drops=tuple(key.id for key in self.retiring))
