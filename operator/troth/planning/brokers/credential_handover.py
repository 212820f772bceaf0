"""The replacement of an identity's credential at a broker.

Where it stands is what the Secret holds, and what the broker's ledger says it was told. See
`troth.planning.rotation.handover` for the order of things; here is the evidence. A broker keeps two
credentials of a principal, each in its slot, so the next one is made for the slot that is free: not
before the one that was there is revoked, for else nobody could tell the two apart.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from troth.planning.moment import Moment
from troth.planning.rotation.handover import Handover, Laggard, hand_over
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.planning.steps.broker_credentials import Turn, TurnCredential
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialPhase, CredentialRotation
from troth.world.facts.broker import CredentialSecret, Held, Ledger

Rotations = tuple[CredentialRotation, ...]


@dataclass(frozen=True, slots=True)
class BrokerCredential:
    """An identity's credential at a broker, as one that can be handed over.

    `ledger` is None where it is not known what the broker was told. `propagation` is how long
    programs may take to see a write of the Secret, and `step` makes a turn of it.
    """

    broker: Ref
    principal: str
    secret: CredentialSecret
    current: Held
    ledger: Ledger | None
    rotations: Rotations
    propagation: timedelta
    step: Callable[[Turn], TurnCredential]

    def told(self, held: Held) -> bool:
        """Say whether the broker was told of a credential, as its ledger has it."""
        if self.ledger is None:
            return False
        return self.ledger.credentials.get((self.principal, held.slot)) == held.fingerprint

    @property
    def free(self) -> bool:
        """Whether the broker is known to have nothing in the slot of the next credential."""
        place = self.principal, self.current.slot.other
        return self.ledger is not None and place not in self.ledger.credentials

    # The evidence

    @property
    def compromised(self) -> bool:
        """Nobody says so of a broker's credential: whoever deletes its Secret has another one."""
        return False

    @property
    def old_compromised(self) -> bool:
        """As `compromised`."""
        return False

    @property
    def settle(self) -> timedelta:
        """A broker knows at once what it is told; the Secret's readers are waited for by
        `overlap`.
        """
        return timedelta(0)

    @property
    def overlap(self) -> timedelta:
        """How long the old credential stays good: until every program has read the new one."""
        return max(self.propagation, overlap_of(self.rotations))

    @property
    def prepared_since(self) -> float | None:
        """Since when the next credential is there."""
        return self.secret.next_since if self.secret.next else None

    @property
    def replaced_since(self) -> float | None:
        """Since when the present credential is in use beside the one before."""
        return self.secret.retiring_since if self.secret.retiring else None

    def unpublished(self) -> Iterator[Laggard]:
        """Yield the broker until it was told of the next credential."""
        if self.secret.next is not None and not self.told(self.secret.next):
            message = f"the next credential is not configured at MessageBroker {self.broker} yet"
            yield Laggard(message)

    def published_since(self) -> Iterator[float]:
        """Yield nothing: see `settle`."""
        yield from ()

    def still_used(self) -> Iterator[Laggard]:
        """Yield the broker while it is not known to take the present credential."""
        if not self.told(self.current):
            yield Laggard(
                f"the current credential is not configured at MessageBroker {self.broker}"
            )

    def disused_since(self) -> Iterator[float]:
        """Yield nothing: nobody can see which credential a program has read."""
        yield from ()

    # The steps

    def prepare(self) -> TurnCredential | None:
        """Make the next credential, once its slot is free."""
        return self.step(Turn.PREPARE) if self.free else None

    def activate(self) -> TurnCredential:
        """Put the next credential into the files that clients read."""
        return self.step(Turn.ACTIVATE)

    def retire(self) -> TurnCredential:
        """Take the old credential out of the Secret; the broker revokes what nobody has."""
        return self.step(Turn.RETIRE)


def plan_turn(credential: BrokerCredential, moment: Moment) -> Handover:
    """Return where the replacement of a credential stands, and its next step."""
    due = due_at(credential.rotations, credential.current.made_at, moment.now)
    return hand_over(credential, wanted=due is not None and due <= moment.now, moment=moment)


def phase_of(secret: CredentialSecret, principal: str, ledger: Ledger | None) -> CredentialPhase:
    """Return where the replacement of a credential stands, from what there is."""
    if secret.next is not None:
        return CredentialPhase.PREPARED
    if secret.retiring is not None:
        return CredentialPhase.OVERLAPPING
    place = secret.current and (principal, secret.current.slot.other)
    if ledger is not None and place in ledger.credentials:
        return CredentialPhase.RETIRING
    return CredentialPhase.IDLE
