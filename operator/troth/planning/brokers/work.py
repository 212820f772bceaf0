"""What is to be done at one broker: rules and credentials, and what the ledger says before and
after.

A principal's rules wait for its credential, and a credential goes once none of its rules is left.
At most so many credentials are told at once: the rest follows when these are done.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from troth.planning.brokers.changes import Brake, Changes, Wanted, broker_changes
from troth.planning.brokers.finalizer import is_held
from troth.planning.grants.rules import BrokerGrants
from troth.planning.owned_objects import is_child
from troth.planning.steps.brokers import ChangeBroker, Telling
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.trust.grants import Observed, Place
from troth.world.facts.broker import CredentialSecret, Ledger
from troth.world.index.brokers import identity_of
from troth.world.world import World

ALLOW_REMOVALS = "troth.dev/allow-removals"
"""The annotation by which a person lets as many removals pass as the number that it has."""
AT_ONCE = 250
"""Credentials told in one change: Kafka's are hashed first, some 5 ms each."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one look at a broker came to; `step` is what to do, None for nothing.

    `waiting` are the principals whose credential is not in a Secret yet, `unaccounted` those with
    Troth's prefix of which the ledger knows nothing.
    """

    changes: Changes
    step: ChangeBroker | None
    waiting: frozenset[str]
    unaccounted: frozenset[str]


def broker_work(
    broker: MessageBroker, grants: BrokerGrants, observed: Observed, world: World
) -> Work:
    """Return what is to be done at a broker that shows this, for it to have what is granted."""
    known = world.brokers.ledger(broker.ref)
    ledger = known if known is not None else Ledger()
    credentials = _Credentials(broker, grants, ledger, observed, world)
    telling = credentials.to_tell()
    ready = credentials.ready({each.principal for each in telling})
    held_up = frozenset(rule for rule in grants.wanted.rules if rule.principal not in ready)
    changes = broker_changes(
        Wanted(grants.wanted.rules - held_up, grants.wanted.suspended | held_up),
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
                for each in telling
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
            _told(before.credentials, telling, revocations),
            ledger.admin,
            changes.left,
        ),
        telling,
        tuple(sorted(changes.additions)),
        tuple(sorted(changes.removals)),
        revocations,
        repaired=bool(changes.missing or changes.intruding) or credentials.lost(telling),
        without_ledger=known is None and is_held(broker) and _has_been_here(broker, observed),
    )
    idle = not (telling or changes.additions or changes.removals or revocations)
    return Work(
        changes,
        None if idle and step.after == known else step,
        waiting=credentials.waiting,
        unaccounted=frozenset(rule.principal for rule in changes.orphaned)
        | credentials.unaccounted(ledger),
    )


def _has_been_here(broker: MessageBroker, observed: Observed) -> bool:
    """Say whether a broker has anything by a name that only Troth gives."""
    named = {rule.principal for rule in observed.rules}
    named |= {principal for principal, _ in observed.credentials}
    return any(each.startswith(broker.spec.owns.principal_prefix) for each in named)


def _brake(broker: MessageBroker) -> Brake:
    """Return how many removals pass; who deletes the broker has said that all may go."""
    if broker.metadata.deletion_timestamp is not None:
        return Brake(0, released=True)
    allowed = broker.metadata.annotations.get(ALLOW_REMOVALS, "")
    most = broker.spec.brake.max_removals
    digits = allowed.isascii() and allowed.isdigit() and len(allowed) < 10  # noqa: PLR2004
    return Brake(max(most, int(allowed)) if digits else most)


def _told(
    credentials: Mapping[Place, str],
    telling: tuple[Telling, ...],
    revocations: tuple[Place, ...],
) -> Mapping[Place, str]:
    """Return which credentials are good at the broker once all is done."""
    told = {(each.principal, each.slot): each.fingerprint for each in telling}
    gone = set(revocations)
    return {
        place: fingerprint
        for place, fingerprint in {**credentials, **told}.items()
        if place not in gone
    }


class _Credentials:
    """The credentials of a broker's principals: those in their Secrets, and those it was told."""

    def __init__(
        self,
        broker: MessageBroker,
        grants: BrokerGrants,
        ledger: Ledger,
        observed: Observed,
        world: World,
    ) -> None:
        self._broker = broker
        self._grants = grants
        self._ledger = ledger
        self._observed = observed.credentials
        self._world = world
        self._by_certificate = broker.spec.by_certificate
        # where nothing is changed no Secret is made either, and nothing waits for one
        self._awaited = not self._by_certificate and broker.spec.mode is BrokerMode.ENFORCE
        found = {} if self._by_certificate else {each: self._secret(each) for each in grants.live}
        self._secrets = {each: secret for each, secret in found.items() if secret is not None}

    def _secret(self, principal: str) -> CredentialSecret | None:
        """Return the Secret with a principal's credentials, if it is its identity's and whole.

        Whose principal it is follows from its name, and never from what a Secret says.
        """
        identity = identity_of(self._broker.spec.owns.principal_prefix, principal)
        owner = self._world.registry.identities.get(identity) if identity is not None else None
        if identity is None or owner is None:
            return None
        secret = self._world.brokers.secret(identity, self._broker.ref)
        if secret is None or not secret.intact or not is_child(secret, owner):
            return None
        of = (secret.broker, secret.principal)
        return secret if of == (self._broker.ref, principal) else None

    @property
    def waiting(self) -> frozenset[str]:
        """Those that have no credential to tell, and none that was told."""
        if not self._awaited:
            return frozenset()
        told = {principal for principal, _ in self._ledger.credentials}
        return self._grants.live - self._secrets.keys() - told

    def to_tell(self) -> tuple[Telling, ...]:
        """Return what the broker has to be told, or told again because it lost it."""
        wanting = [
            (principal, secret, each)
            for principal, secret in self._secrets.items()
            for each in secret.held
            if not self._has((principal, each.slot), each.fingerprint)
        ]
        wanting.sort(key=lambda found: found[0])
        return tuple(
            Telling(principal, each.slot, each.fingerprint, secret.ref)
            for principal, secret, each in wanting[:AT_ONCE]
        )

    def _has(self, place: Place, fingerprint: str) -> bool:
        return self._ledger.credentials.get(place) == fingerprint and place in self._observed

    def lost(self, telling: tuple[Telling, ...]) -> bool:
        """Say whether the broker had any of these and lost it."""
        return any(
            self._ledger.credentials.get((each.principal, each.slot)) == each.fingerprint
            for each in telling
        )

    def ready(self, told: set[str]) -> frozenset[str]:
        """Return the principals that have a credential at the broker once these are told."""
        if not self._awaited:
            return self._grants.live
        having = {
            place[0]
            for place, fingerprint in self._ledger.credentials.items()
            if fingerprint and place in self._observed
        }
        return frozenset(self._grants.live & (having | told))

    def to_revoke(self, braked: set[str]) -> Iterator[Place]:
        """Yield the credentials that nobody is to have any more.

        Not those of a principal of whom something stays, nor of one whose Secret is not there or
        not whole: it is about to have another.
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
        """Return who has a credential there by a name that only Troth gives, and not from Troth."""
        prefix = self._broker.spec.owns.principal_prefix
        known = ledger.principals | self._grants.live
        return frozenset(
            principal
            for principal, _ in self._observed
            if principal.startswith(prefix) and principal not in known
        )
