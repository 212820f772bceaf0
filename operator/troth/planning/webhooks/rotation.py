"""The replacement of the secret that Troth makes for the sender of a webhook.

Whichever key of its Secret a delivery is signed with, it is taken: so the next one counts from when
it is there, and nobody has to read it first but the sender, to whom a person or a program gives it.
That the sender signs with it shows in what the gateway reports, and then the one before is dropped.
See `troth.planning.rotation.handover` for the order of things; here is the evidence.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.planning.rotation.handover import Handover, Laggard, hand_over
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.planning.steps.webhooks import TurnWebhookKeys
from troth.planning.webhooks.keys import next_id, turn, usable
from troth.planning.webhooks.view import WebhookView
from troth.resources.rotation.spec import CredentialPhase
from troth.resources.trust_domain.status import RotationPhase
from troth.resources.webhooks.schemes import ISSUED_BY_SENDER
from troth.world.facts.objects import Fault
from troth.world.facts.webhook import KeysSecret, KnownKey


@dataclass(frozen=True, slots=True)
class SecretRotation:
    """Where the replacement of an endpoint's secret stands, or why it cannot be replaced.

    `current` is the newest key that Troth has made, and `retiring` those it has made before.
    """

    phase: CredentialPhase = CredentialPhase.IDLE
    current: KnownKey | None = None
    retiring: tuple[KnownKey, ...] = ()
    until: datetime | None = None
    due: datetime | None = None
    blockers: tuple[str, ...] = ()
    wait: timedelta | None = None
    step: TurnWebhookKeys | None = None
    fault: Fault | None = None


def plan_secret(view: WebhookView) -> SecretRotation:
    """Return where the replacement of the secret stands, and its next step."""
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
    assert step is None or isinstance(step, TurnWebhookKeys)
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
    """Return what a person is told: from when the next key is there, both are good."""
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
    """The secret of an endpoint, as a credential that can be handed over."""

    view: WebhookView
    known: KeysSecret
    current: KnownKey
    retiring: tuple[KnownKey, ...]

    @property
    def made_at(self) -> datetime:
        """When the newest key was made."""
        assert self.current.made_at is not None
        return self.current.made_at

    # The evidence

    @property
    def compromised(self) -> bool:
        """Nobody says so of it: whoever deletes its Secret has another one."""
        return False

    @property
    def old_compromised(self) -> bool:
        """As `compromised`."""
        return False

    @property
    def settle(self) -> timedelta:
        """Nobody reads it but the gateway, which tells when it has."""
        return timedelta(0)

    @property
    def overlap(self) -> timedelta:
        """How long the keys before stay good."""
        return overlap_of(self.view.rotations)

    @property
    def prepared_since(self) -> float | None:
        """Never: the next key counts as soon as it is there."""
        return None

    @property
    def replaced_since(self) -> float | None:
        """Since when the newest key is there beside others."""
        return self.known.since if self.retiring else None

    def unpublished(self) -> Iterator[Laggard]:
        """Yield nobody: see `prepared_since`."""
        yield from ()

    def published_since(self) -> Iterator[float]:
        """Yield nothing: see `prepared_since`."""
        yield from ()

    def still_used(self) -> Iterator[Laggard]:
        """Yield the sender until it has signed with the newest key."""
        key, compiled = self.current, self.view.compiled
        lately = self.view.verified.get(key.id)
        if lately is not None and lately >= self.made_at:
            return
        if compiled is None or compiled.keys.get(key.id) != key.fingerprint:
            yield Laggard(
                f"the gateway does not use {key.id} yet; give it to the sender when "
                f"WebhookEndpoint {self.view.endpoint.ref} has GatewayConfigured"
            )
            return
        yield Laggard(
            f"no delivery has been verified with {key.id} yet; give the sender what Secret "
            f"{self.known.ref} has under {key.id}"
        )

    def disused_since(self) -> Iterator[float]:
        """Yield nothing: a sender may deliver again what it signed before."""
        yield from ()

    # The steps

    def prepare(self) -> TurnWebhookKeys:
        """Add the next key."""
        return turn(self.view, adds=next_id(self.known.keys))

    def activate(self) -> TurnWebhookKeys:
        """Add the next key: there is no other way to put one to use."""
        return self.prepare()

    def retire(self) -> TurnWebhookKeys:
        """Drop the keys before."""
        return turn(self.view, drops=tuple(key.id for key in self.retiring))
