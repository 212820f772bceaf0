"""Rotation of an identity's credential at a broker.

The state of a rotation follows from the Secret and from the broker's ledger. This module supplies
the evidence for `troth.planning.rotation.handover`, which defines the order of the steps. A broker
keeps two credentials of a principal, one in each slot. Troth creates the next one for the other
slot, after the credential there is revoked. Otherwise the two could not be distinguished.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from troth.planning.moment import Moment
from troth.planning.rotation.handover import Blocker, Handover, hand_over
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.planning.steps.broker_credentials import ChangeCredential, CredentialChange
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialPhase, CredentialRotation
from troth.world.facts.broker import CredentialSecret, Ledger, SlotCredential

Rotations = tuple[CredentialRotation, ...]


@dataclass(frozen=True, slots=True)
class BrokerCredential:
    """Identity's credential at a broker, as evidence for a rotation.

    `ledger` is None if it is unknown which credentials the broker has. `propagation` is the
    propagation delay of the Secret, and `step` returns the step of a change.
    """

    broker: Ref
    principal: str
    secret: CredentialSecret
    current: SlotCredential
    ledger: Ledger | None
    rotations: Rotations
    propagation: timedelta
    step: Callable[[CredentialChange], ChangeCredential]

    def at_broker(self, held: SlotCredential) -> bool:
        """Return whether the broker has a credential, according to its ledger."""
        if self.ledger is None:
            return False
        return self.ledger.credentials.get((self.principal, held.slot)) == held.fingerprint

    @property
    def free(self) -> bool:
        """Whether the broker is known to have nothing in the slot of the next credential."""
        place = self.principal, self.current.slot.other
        return self.ledger is not None and place not in self.ledger.credentials

    # Evidence

    @property
    def compromised(self) -> bool:
        """Always False: a broker credential cannot be marked as compromised.

        To replace it at once, delete its Secret.
        """
        return False

    @property
    def old_compromised(self) -> bool:
        """Always False, as for `compromised`."""
        return False

    @property
    def settle(self) -> timedelta:
        """Always zero: a broker uses a credential as soon as it is configured.

        `overlap` covers the propagation delay of the Secret.
        """
        return timedelta(0)

    @property
    def overlap(self) -> timedelta:
        """Time for which the old credential stays valid, at least the propagation delay."""
        return max(self.propagation, overlap_of(self.rotations))

    @property
    def prepared_since(self) -> float | None:
        """Time since which the next credential is known, None if there is none."""
        return self.secret.next_since if self.secret.next else None

    @property
    def replaced_since(self) -> float | None:
        """Time since which the current credential is in use beside the previous one."""
        return self.secret.retiring_since if self.secret.retiring else None

    def unpublished(self) -> Iterator[Blocker]:
        """Yield the broker until it has the next credential."""
        if self.secret.next is not None and not self.at_broker(self.secret.next):
            message = f"the next credential is not configured at MessageBroker {self.broker} yet"
            yield Blocker(message)

    def published_since(self) -> Iterator[float]:
        """Yield nothing: see `settle`."""
        yield from ()

    def still_used(self) -> Iterator[Blocker]:
        """Yield the broker while it is not known to have the current credential."""
        if not self.at_broker(self.current):
            yield Blocker(
                f"the current credential is not configured at MessageBroker {self.broker}"
            )

    def disused_since(self) -> Iterator[float]:
        """Yield nothing: Troth cannot observe which credential a client has read."""
        yield from ()

    # Steps

    def prepare(self) -> ChangeCredential | None:
        """Return the step that adds the next credential, None until its slot is free."""
        return self.step(CredentialChange.PREPARE) if self.free else None

    def activate(self) -> ChangeCredential:
        """Return the step that puts the next credential into the files that clients read."""
        return self.step(CredentialChange.ACTIVATE)

    def retire(self) -> ChangeCredential:
        """Return the step that removes the old credential from the Secret.

        The broker's plan then revokes it, because no Secret has it.
        """
        return self.step(CredentialChange.RETIRE)


def plan_handover(credential: BrokerCredential, moment: Moment) -> Handover:
    """Return the state of a credential's rotation, and its next step."""
    due = due_at(credential.rotations, credential.current.made_at, moment.now)
    return hand_over(credential, wanted=due is not None and due <= moment.now, moment=moment)


def phase_of(secret: CredentialSecret, principal: str, ledger: Ledger | None) -> CredentialPhase:
    """Return the phase of a credential's rotation, from the Secret and the ledger."""
    if secret.next is not None:
        return CredentialPhase.PREPARED
    if secret.retiring is not None:
        return CredentialPhase.OVERLAPPING
    place = secret.current and (principal, secret.current.slot.other)
    if ledger is not None and place in ledger.credentials:
        return CredentialPhase.RETIRING
    return CredentialPhase.IDLE
