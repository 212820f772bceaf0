"""What is known of brokers: what one look at each showed, and what Troth made there.

No password is kept here, and no key: a credential is known by its fingerprint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from troth.resources.references import Ref
from troth.trust.grants import Rule, Slot
from troth.world.facts import Fact, Fault

NEVER = float("-inf")
Place = tuple[str, Slot]
"""Where a credential is at a broker: its principal, and in which of the two slots."""


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a broker has: which slots of which principals hold a credential, and every rule."""

    credentials: frozenset[Place] = frozenset()
    rules: frozenset[Rule] = frozenset()


@dataclass(frozen=True, slots=True)
class Ledger:
    """What Troth made at a broker, as it is written before the broker is.

    `retained` are those of the rules that stay though their policy is gone (`onDelete: Retain`).
    `credentials` has the fingerprint of each credential that the broker was told, empty of one that
    is being told.
    """

    rules: frozenset[Rule] = frozenset()
    retained: frozenset[Rule] = frozenset()
    credentials: Mapping[Place, str] = field(default_factory=dict)

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
    chain to, empty for the system's.
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

    def anew(self) -> "Look":
        """Return the same, to be looked at again at once."""
        return replace(self, at=NEVER, tried_at=NEVER, attempts=0)

    def tried(self, now: float, fault: Fault | None = None) -> "Look":
        """Return what is known after a try that failed; without a fault because the world has
        moved on meanwhile, or because the broker did not carry out all.
        """
        return replace(self, tried_at=now, attempts=self.attempts + 1, suspect=True, fault=fault)
