"""What is known of brokers: what one look at each showed, and what Troth made there.

No password is kept here, and no key: a credential is known by its fingerprint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from troth.resources.references import Ref
from troth.trust.grants import Observed, Place, Rule, Slot
from troth.world.facts.objects import Fact, Fault

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class AdminMade:
    """The last admin credential that Troth made for a broker, noted before the broker is told.

    It is of the user that administered before, in that user's other slot. `replaces`: the one in
    the slot before is not revoked yet.
    """

    place: Place
    fingerprint: str
    made_at: datetime
    replaces: bool = True

    @property
    def before(self) -> Place:
        """Where the one is, or was, that it replaces."""
        user, slot = self.place
        return user, slot.other


@dataclass(frozen=True, slots=True)
class AdminShown:
    """The credential that the admin Secret had when the broker was last seen with it.

    `place` is None for one that Troth cannot replace. `written_at` is when the Secret's data was
    last written, and `since` since when, in seconds of this process's uptime, it is known to
    administer. Of a person's password not even the fingerprint is written anywhere.
    """

    place: Place | None
    fingerprint: str = field(repr=False)
    written_at: datetime
    since: float = 0.0

    def is_made(self, made: AdminMade) -> bool:
        """Say whether it is the one that Troth made."""
        return (self.place, self.fingerprint) == (made.place, made.fingerprint)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What Troth made at a broker, as it is written before the broker is.

    `retained` are those of the rules that stay though their policy is gone (`onDelete: Retain`).
    `credentials` has the fingerprint of each credential that the broker was told, empty of one that
    is being told. `admin` is the credential with which Troth administers the broker, if it made it.
    `left` are rules that were there, of principals by names that only Troth gives, when the ledger
    was begun: nobody knows whose they are, and they are left alone.
    """

    rules: frozenset[Rule] = frozenset()
    retained: frozenset[Rule] = frozenset()
    credentials: Mapping[Place, str] = field(default_factory=dict)
    admin: AdminMade | None = None
    left: frozenset[Rule] = frozenset()

    @property
    def principals(self) -> frozenset[str]:
        """Everybody who has a rule or a credential."""
        having = {principal for principal, _ in self.credentials}
        return frozenset(having | {rule.principal for rule in self.rules})

    def turned(self, after: "Ledger") -> frozenset[str]:
        """Return the principals of whom a later ledger says something else that an identity waits
        for: which credentials they have, and which of their rules are retained.
        """
        places = dict(self.credentials.items() ^ after.credentials.items())
        # one that is being told where none was is nothing to go by yet
        waiting = {
            place[0] for place in places if place in self.credentials or after.credentials[place]
        }
        return frozenset(waiting | {rule.principal for rule in self.retained ^ after.retained})


@dataclass(frozen=True, slots=True)
class KeptLedger(Fact):
    """The ConfigMap that a ledger is kept in; `fault` says why it cannot be read."""

    ledger: Ledger
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """One credential of a Secret: its slot at the broker, its fingerprint, when it was made."""

    slot: Slot
    fingerprint: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class CredentialSecret(Fact):
    """The Secret with an identity's credential at a broker.

    `next` is the credential to come and `retiring` the one before, while a handover is under way.
    `intact` is whether it is as Troth left it, and `public` what it says beside the credential.
    `retiring_since` is since when, in seconds of this process's uptime, the present one is known to
    be in use beside the one before; `next_since` since when the one to come is known.
    """

    broker: Ref | None
    principal: str
    current: Held | None
    next: Held | None
    retiring: Held | None
    intact: bool
    public: Mapping[str, str] = field(repr=False)
    next_since: float = 0.0
    retiring_since: float = 0.0

    @property
    def held(self) -> tuple[Held, ...]:
        """Every credential that must be good at the broker."""
        return tuple(each for each in (self.current, self.next, self.retiring) if each)


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of a broker: what the last look showed, and how the last try went.

    `observed` is None until it has been seen once. `at` is when it was last seen, and `tried_at`
    when anything was last tried, in seconds of this process's uptime; `attempts` counts the tries
    that failed since one went well. `suspect`: what is known may not hold any more, so that it is
    looked at before anything is changed. `fault` says why the last try failed, and `failures` which
    changes the broker did not carry out. `authorities` are the PEM roots its servers' certificates
    chain to, empty for the system's. `admin` is what it was seen with, and `admin_fault` why that
    could not be replaced when it was last tried, at `admin_tried_at`.
    """

    busy: bool = False
    observed: Observed | None = None
    at: float = NEVER
    tried_at: float = NEVER
    attempts: int = 0
    suspect: bool = False
    fault: Fault | None = None
    failures: Mapping[Rule | Place, str] = field(default_factory=dict)
    authorities: str = ""
    admin: AdminShown | None = None
    admin_fault: Fault | None = None
    admin_tried_at: float = NEVER

    def anew(self) -> "Look":
        """Return the same, to be looked at again at once."""
        return replace(self, at=NEVER, tried_at=NEVER, attempts=0)

    def tried(self, now: float, fault: Fault | None = None) -> "Look":
        """Return what is known after a try that failed; without a fault because the world has
        moved on meanwhile, or because the broker did not carry out all.
        """
        return replace(self, tried_at=now, attempts=self.attempts + 1, suspect=True, fault=fault)
