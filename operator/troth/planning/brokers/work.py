"""Changes that are due at one broker: rules, credentials, and the ledger before and after.

The rules of a principal wait for its credential. Troth revokes a credential once none of its
principal's rules stays. One change configures a limited number of credentials, and the next change
the rest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from troth.planning.brokers.growth import Growth, growing, less_growing
from troth.planning.grants.changes import Brake, Changes, Wanted, broker_changes
from troth.planning.grants.finalizer import is_held
from troth.planning.grants.rules import BrokerGrants
from troth.planning.owned_objects import is_child
from troth.planning.steps.brokers import ChangeBroker, CredentialUpload
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Observed, Place
from troth.world.facts.broker import CredentialSecret, Ledger, SlotCredential

ALLOW_REMOVALS = "troth.dev/allow-removals"
"""Annotation with which a person allows as many removals as its number says."""
AT_ONCE = 250
"""Maximum number of credentials in one change: hashing one of Kafka takes about 5 ms."""


@dataclass(frozen=True, slots=True)
class WorkFacts:
    """What is granted at a broker, and what it has.

    `ledger` is what Troth created there, None if that is unknown. `secrets` are those with the
    credentials of live principals, each its identity's and intact. There are none for a broker that
    authenticates clients by certificate.
    """

    broker: MessageBroker
    grants: BrokerGrants
    observed: Observed
    ledger: Ledger | None
    secrets: Mapping[str, CredentialSecret]


@dataclass(frozen=True, slots=True)
class Work:
    """Result of an observation of a broker.

    `step` is the change that is due, None if there is none. `waiting` are the principals whose
    credential is not in a Secret yet. `unaccounted` are those with Troth's prefix that the ledger
    does not have. `growth` is what may be added to the ledger. `unrotated` are the principals whose
    next credential has to wait for room in the ledger.
    """

    changes: Changes
    step: ChangeBroker | None
    waiting: frozenset[str]
    unaccounted: frozenset[str]
    growth: Growth
    unrotated: frozenset[str]


def is_credential(
    secret: CredentialSecret, owner: ServiceIdentity, broker: Ref, principal: str
) -> bool:
    """Return whether a Secret has the credential of its owner's principal, and is intact."""
    whose = secret.broker, secret.principal
    return secret.intact and is_child(secret, owner) and whose == (broker, principal)


def broker_work(known: WorkFacts) -> Work:
    """Return the changes that bring a broker from its observed state to what is granted.

    A change that would make the ledger too large is reduced: Troth revokes, restores what the
    ledger already has, and adds what still has room. Otherwise the API server would refuse the
    ledger, and Troth could not revoke either.
    """
    everything = growing(known.broker.spec.owns.principal_prefix)
    work = _work(known, everything)
    if work.step is None or everything.fits(work.step.before, known.ledger):
        return work
    for growth in less_growing(everything, work.step.before):
        work = _work(known, growth)
        if work.step is None or growth.fits(work.step.before, known.ledger):
            break
    return work


def _work(state: WorkFacts, growth: Growth) -> Work:
    broker, grants, observed, known = state.broker, state.grants, state.observed, state.ledger
    ledger = known if known is not None else Ledger()
    credentials = _Credentials(state, ledger)
    uploads = credentials.uploads(growth)
    ready = credentials.ready({each.principal for each in uploads})
    held_up = frozenset(rule for rule in grants.wanted.rules if rule.principal not in ready)
    wanted = grants.wanted.rules - held_up
    unrecorded = growth.unrecorded(wanted, ledger)
    changes = broker_changes(
        Wanted(
            wanted - unrecorded,
            grants.wanted.suspended | held_up | unrecorded,
            grants.wanted.temporary,
        ),
        observed.rules,
        None if known is None else known.rules,
        principal_prefix=broker.spec.owns.principal_prefix,
        principals=ledger.principals,
        left=ledger.left,
        brake=_brake(broker),
    )
    braked = {rule.principal for rule in changes.braked}
    revocations = tuple(credentials.to_revoke(braked))
    before = Ledger(
        changes.ledger,
        grants.retained,
        {
            **ledger.credentials,
            **{
                (each.principal, each.slot): ""
                for each in uploads
                if ledger.credentials.get((each.principal, each.slot)) != each.fingerprint
            },
        },
        ledger.admin,
        changes.left,
    )
    step = ChangeBroker(
        broker.ref,
        before,
        Ledger(
            changes.ledger_after,
            grants.retained & changes.ledger_after,
            _valid_after(before.credentials, uploads, revocations),
            ledger.admin,
            changes.left,
        ),
        uploads,
        tuple(sorted(changes.additions)),
        tuple(sorted(changes.removals)),
        revocations,
        repaired=bool(changes.missing or changes.intruding) or credentials.lost(uploads),
        without_ledger=known is None and is_held(broker) and _has_been_here(broker, observed),
    )
    idle = not (uploads or changes.additions or changes.removals or revocations)
    return Work(
        changes,
        None if idle and step.after == known else step,
        waiting=credentials.waiting,
        unaccounted=frozenset(rule.principal for rule in changes.orphaned)
        | credentials.unaccounted(ledger),
        growth=growth,
        unrotated=credentials.unrotated(growth),
    )


def _has_been_here(broker: MessageBroker, observed: Observed) -> bool:
    """Return whether a broker has anything of a principal name that only Troth uses."""
    named = {rule.principal for rule in observed.rules}
    named |= {principal for principal, _ in observed.credentials}
    return any(each.startswith(broker.spec.owns.principal_prefix) for each in named)


def _brake(broker: MessageBroker) -> Brake:
    """Return the limit of removals.

    The deletion of a MessageBroker releases it, because it allows the removal of everything.
    """
    if broker.metadata.deletion_timestamp is not None:
        return Brake(0, released=True)
    allowed = broker.metadata.annotations.get(ALLOW_REMOVALS, "")
    most = broker.spec.brake.max_removals
    digits = allowed.isascii() and allowed.isdigit() and len(allowed) < 10  # noqa: PLR2004
    return Brake(max(most, int(allowed)) if digits else most)


def _valid_after(
    credentials: Mapping[Place, str],
    uploads: tuple[CredentialUpload, ...],
    revocations: tuple[Place, ...],
) -> Mapping[Place, str]:
    """Return the credentials that are valid at the broker after the change."""
    told = {(each.principal, each.slot): each.fingerprint for each in uploads}
    gone = set(revocations)
    return {
        place: fingerprint
        for place, fingerprint in {**credentials, **told}.items()
        if place not in gone
    }


class _Credentials:
    """Credentials of a broker's principals: those in Secrets, and those at the broker."""

    def __init__(self, known: WorkFacts, ledger: Ledger) -> None:
        broker = known.broker
        self._broker = broker
        self._grants = known.grants
        self._ledger = ledger
        self._observed = known.observed.credentials
        self._secrets = known.secrets
        self._by_certificate = broker.spec.by_certificate
        # without Enforce, Troth creates no Secret, so nothing waits for one
        self._awaited = not self._by_certificate and broker.spec.mode is BrokerMode.ENFORCE

    @property
    def waiting(self) -> frozenset[str]:
        """Principals that have a credential neither in a Secret nor at the broker."""
        if not self._awaited:
            return frozenset()
        told = {principal for principal, _ in self._ledger.credentials}
        return self._grants.live - self._secrets.keys() - told

    def uploads(self, growth: Growth) -> tuple[CredentialUpload, ...]:
        """Return the credentials to configure at the broker, also those that it lost."""
        recorded = self._ledger.principals
        missing = [
            (principal, held)
            for principal, held in self._missing()
            if (principal, held.slot) in self._ledger.credentials
            or growth.has_room(principal, recorded=principal in recorded)
        ]
        missing.sort(key=lambda found: found[0])
        return tuple(
            CredentialUpload(principal, held.slot, held.fingerprint, self._secrets[principal].ref)
            for principal, held in missing[:AT_ONCE]
        )

    def unrotated(self, growth: Growth) -> frozenset[str]:
        """Return the principals of the ledger that get no next credential."""
        recorded = self._ledger.principals
        return frozenset(
            principal
            for principal, held in self._missing()
            if principal in recorded
            and (principal, held.slot) not in self._ledger.credentials
            and not growth.has_room(principal, recorded=True)
        )

    def _missing(self) -> Iterator[tuple[str, SlotCredential]]:
        """Yield the credentials that the broker does not have."""
        for principal, secret in self._secrets.items():
            for each in secret.held:
                if not self._has((principal, each.slot), each.fingerprint):
                    yield principal, each

    def _has(self, place: Place, fingerprint: str) -> bool:
        return self._ledger.credentials.get(place) == fingerprint and place in self._observed

    def lost(self, uploads: tuple[CredentialUpload, ...]) -> bool:
        """Return whether the broker had any of these credentials and lost it."""
        return any(
            self._ledger.credentials.get((each.principal, each.slot)) == each.fingerprint
            for each in uploads
        )

    def ready(self, told: set[str]) -> frozenset[str]:
        """Return the principals that have a credential at the broker after this change."""
        if not self._awaited:
            return self._grants.live
        having = {
            place[0]
            for place, fingerprint in self._ledger.credentials.items()
            if fingerprint and place in self._observed
        }
        return frozenset(self._grants.live & (having | told))

    def to_revoke(self, braked: set[str]) -> Iterator[Place]:
        """Yield the credentials to revoke.

        A credential stays if any rule of its principal stays. It also stays if the principal's
        Secret is missing or not intact, because Troth is about to create another one.
        """
        for place in sorted(self._ledger.credentials):
            principal, slot = place
            if principal in self._grants.staying or principal in braked:
                continue
            if self._by_certificate or principal not in self._grants.live:
                yield place
            elif principal in self._secrets:
                held = {each.slot for each in self._secrets[principal].held}
                if slot not in held:
                    yield place

    def unaccounted(self, ledger: Ledger) -> frozenset[str]:
        """Return the principals with Troth's prefix whose credential is not from Troth."""
        prefix = self._broker.spec.owns.principal_prefix
        known = ledger.principals | self._grants.live
        return frozenset(
            principal
            for principal, _ in self._observed
            if principal.startswith(prefix) and principal not in known
        )
