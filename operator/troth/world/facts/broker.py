"""Facts of brokers: the last observation of each, and what Troth created there.

No password and no key is kept here. Credentials are identified by their fingerprints.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from troth.resources.messaging.observed_broker import Exposure
from troth.resources.references import Ref
from troth.trust.grants import Observed, Place, Rule, Slot
from troth.world.facts.clients import SeenClients
from troth.world.facts.objects import Fact, Fault

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class IssuedAdmin:
    """The last admin credential that Troth created for a broker, recorded before the broker has it.

    It belongs to the same user as the previous one, in that user's other slot. `replaces` is
    whether the credential in the previous slot is not revoked yet.
    """

    place: Place
    fingerprint: str
    made_at: datetime
    replaces: bool = True

    @property
    def before(self) -> Place:
        """Place of the credential that it replaces or has replaced."""
        user, slot = self.place
        return user, slot.other


@dataclass(frozen=True, slots=True)
class AdminInUse:
    """Credential of the admin Secret when the broker was last observed with it.

    `place` is None if Troth cannot replace it. `written_at` is the last write of the Secret's data.
    `since` is the time at which it was first known to administer, in seconds of this process's
    uptime. Of a person's password not even the fingerprint is written anywhere.
    """

    place: Place | None
    fingerprint: str = field(repr=False)
    written_at: datetime
    since: float = 0.0

    def is_made(self, made: IssuedAdmin) -> bool:
        """Return whether it is the credential that Troth created."""
        return (self.place, self.fingerprint) == (made.place, made.fingerprint)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What Troth created at a broker, written before each change of the broker.

    `retained` are the rules that stay although their policy was deleted (`onDelete: Retain`).
    `credentials` are the fingerprints of the credentials at the broker, empty while one is being
    created. `admin` is the credential with which Troth administers the broker, if Troth created it.
    `left` are rules that existed when the ledger was created, of principals with names that only
    Troth uses. Their origin is unknown, so Troth does not change them.
    """

    rules: frozenset[Rule] = frozenset()
    retained: frozenset[Rule] = frozenset()
    credentials: Mapping[Place, str] = field(default_factory=dict)
    admin: IssuedAdmin | None = None
    left: frozenset[Rule] = frozenset()

    @property
    def principals(self) -> frozenset[str]:
        """All principals with a rule or a credential."""
        having = {principal for principal, _ in self.credentials}
        return frozenset(having | {rule.principal for rule in self.rules})

    def changed_principals(self, after: "Ledger") -> frozenset[str]:
        """Return the principals that differ in a later ledger, in a way that identities wait for.

        These are differences in their credentials, and in which of their rules are retained.
        """
        places = dict(self.credentials.items() ^ after.credentials.items())
        # an identity cannot rely on a credential that is still being created
        waiting = {
            place[0] for place in places if place in self.credentials or after.credentials[place]
        }
        return frozenset(waiting | {rule.principal for rule in self.retained ^ after.retained})


@dataclass(frozen=True, slots=True)
class StoredLedger(Fact):
    """ConfigMap that holds a ledger, of `size` packed bytes; `fault` says why it is unreadable.

    `leaving` is whether it is being deleted, and a finalizer holds it.
    """

    ledger: Ledger
    fault: Fault | None = None
    size: int = 0
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class SlotCredential:
    """Credential in a Secret: its slot at the broker, its fingerprint, and its time of creation."""

    slot: Slot
    fingerprint: str
    made_at: datetime


@dataclass(frozen=True, slots=True)
class CredentialSecret(Fact):
    """Secret with an identity's credential at a broker.

    During a rotation, `next` is the next credential and `retiring` the previous one. `intact` is
    whether the Secret is as Troth wrote it. `public` is its content besides the credential.
    `retiring_since` is the time since which the current credential is known to be in use beside the
    previous one, `next_since` the time since which the next one is known, both in seconds of this
    process's uptime.
    """

    broker: Ref | None
    principal: str
    current: SlotCredential | None
    next: SlotCredential | None
    retiring: SlotCredential | None
    intact: bool
    public: Mapping[str, str] = field(repr=False)
    next_since: float = 0.0
    retiring_since: float = 0.0

    @property
    def held(self) -> tuple[SlotCredential, ...]:
        """All credentials that must be valid at the broker."""
        return tuple(each for each in (self.current, self.next, self.retiring) if each)


@dataclass(frozen=True, slots=True)
class Exposed:
    """What a broker showed of its security at a time."""

    exposure: Exposure
    at: datetime


@dataclass(frozen=True, slots=True)
class BrokerObservation:
    """Observation of a broker, and the result of the last attempt to change it.

    `observed` is None before the first observation. `foreign` are its rules and openings that the
    ledger did not have then. `at` is the time of the last observation and
    `tried_at` that of the last attempt, in seconds of this process's uptime. `attempts` is the
    number of failures since the last success. `suspect` is whether the observation may be outdated,
    so that the broker must be observed before it is changed. `fault` is the reason of the last
    failure, and `failures` are the changes that the broker rejected. `authorities` are the PEM
    roots of the servers' certificates, empty for the roots of the system. `admin` is the credential
    of the observation. `admin_fault` is why it could not be replaced at `admin_tried_at`.
    `clients` are the connected clients, None if they have not been observed. `exposed` is what the
    broker showed of its security, None before that.
    """

    busy: bool = False
    observed: Observed | None = None
    foreign: frozenset[Rule] = frozenset()
    at: float = NEVER
    tried_at: float = NEVER
    attempts: int = 0
    suspect: bool = False
    fault: Fault | None = None
    failures: Mapping[Rule | Place, str] = field(default_factory=dict)
    authorities: str = ""
    admin: AdminInUse | None = None
    admin_fault: Fault | None = None
    admin_tried_at: float = NEVER
    clients: SeenClients | None = None
    exposed: Exposed | None = None

    def to_observe_again(self) -> "BrokerObservation":
        """Return the same, to be observed again at once."""
        return replace(self, at=NEVER, tried_at=NEVER, attempts=0)

    def tried(self, now: float, fault: Fault | None = None) -> "BrokerObservation":
        """Return the state after a failed attempt.

        There is no fault if the world has changed meanwhile, or if the broker rejected only a part.
        """
        return replace(self, tried_at=now, attempts=self.attempts + 1, suspect=True, fault=fault)
