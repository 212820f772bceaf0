"""All inputs of the plan of one broker, gathered once, and what its parts share."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from troth.planning.brokers.admin_rotation import AdminFacts, AdminState, plan_admin
from troth.planning.brokers.exposure import foreign_rights, is_shown
from troth.planning.brokers.leftovers import FormerBroker, Leftover
from troth.planning.brokers.unlisted_deletion import UnlistedView
from troth.planning.brokers.work import Work, WorkFacts, broker_work, is_credential
from troth.planning.grants.dialects import unsupported
from troth.planning.grants.rules import BrokerGrants
from troth.planning.grants.view import foreign_rules, grants_at, outliving_at
from troth.planning.moment import Moment
from troth.planning.network.broker_policy import BrokerClients
from troth.planning.owned_objects import broker_policy_ref
from troth.planning.steps.brokers import ChangeBroker
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.resources.messaging.observed_broker import ForeignRight
from troth.resources.references import Ref
from troth.trust.grants import Observed
from troth.trust.topics.evaluation import undecided
from troth.world.facts.broker import BrokerObservation, CredentialSecret, Ledger, StoredLedger
from troth.world.facts.objects import Fault, Unreadable
from troth.world.index.broker_keys import identity_of
from troth.world.keys import BROKER_METADATA, Key, broker_key
from troth.world.reader import Reader

FIRST_RETRY = 1.0
"""Seconds until the first retry after a failure. Each retry doubles the delay, up to the interval
of the drift check."""
MOST_DOUBLINGS = 12


@dataclass(frozen=True, slots=True)
class BrokerView:
    """All inputs of the plan of one broker, gathered once.

    `fault` is why the state of the broker is unknown or nothing can be changed there. `work` are
    the changes that are due, None while that is unknown. `clients` decide about its NetworkPolicy.
    They are None while an observation or a change of the broker is in progress, when nothing is
    planned, and for a broker that is being deleted together with its namespace. `admin` decides
    about the rotation of the admin credential, None if none is declared or under way. `rights` are
    those of foreign principals. `removal_fault` is why the ledger cannot be deleted.
    """

    broker: MessageBroker
    look: BrokerObservation
    kept: StoredLedger | None
    fault: Fault | None
    work: Work | None
    clients: BrokerClients | None
    admin: AdminFacts | None
    rights: tuple[ForeignRight, ...]
    removal_fault: Fault | None
    moment: Moment

    @property
    def leaving(self) -> bool:
        """Whether the broker is being deleted."""
        return self.broker.metadata.deletion_timestamp is not None

    @property
    def enforcing(self) -> bool:
        """Whether Troth may change the broker."""
        return self.broker.spec.mode is BrokerMode.ENFORCE

    @property
    def change(self) -> ChangeBroker | None:
        """Change that is due now, None if there is none."""
        return self.work.step if self.work is not None and self.enforcing else None

    @property
    def next_look(self) -> float:
        """Time of the next observation, in seconds of this process's uptime."""
        look, every = self.look, self.broker.spec.drift_check.total_seconds()
        if look.suspect:
            doubled = FIRST_RETRY * float(1 << min(max(look.attempts - 1, 0), MOST_DOUBLINGS))
            return look.tried_at + min(doubled, every)
        return look.at + every


@dataclass(frozen=True, slots=True)
class MessageBrokerView:
    """What is known of the MessageBroker of a key.

    `readable` are the inputs of its plan, None if it does not exist or cannot be read.
    `removal_fault` is why the ledger cannot be deleted.
    """

    key: Key
    unreadable: Unreadable | None
    kept: StoredLedger | None
    removal_fault: Fault | None
    readable: BrokerView | None
    moment: Moment


def gather(key: Key, reader: Reader, moment: Moment) -> MessageBrokerView:
    """Return what is known of the broker of a key."""
    unreadable, kept = reader.unreadable(key), reader.kept_ledger(key.ref)
    broker = reader.declared_broker(key.ref) if unreadable is None else None
    readable = gather_readable(broker, reader, moment) if broker is not None else None
    return MessageBrokerView(key, unreadable, kept, _removal_fault(kept, reader), readable, moment)


def gather_readable(broker: MessageBroker, reader: Reader, moment: Moment) -> BrokerView:
    """Return all inputs of the plan of a broker, which may be in deletion."""
    look, kept = reader.observation(broker.ref), reader.kept_ledger(broker.ref)
    fault = unsupported(broker) or look.fault or (kept.fault if kept is not None else None)
    admin = _admin(broker, reader)
    rights = _rights(broker, look, reader) if is_shown(broker, look) else ()
    leaving = broker.metadata.deletion_timestamp is not None
    unremoved = _removal_fault(kept, reader) if leaving else None
    if look.busy:
        return BrokerView(broker, look, kept, fault, None, None, admin, rights, unremoved, moment)
    ledger = reader.ledger(broker.ref) or Ledger()
    grants = (outliving_at if leaving else grants_at)(broker, ledger, reader)
    seen = look.observed if fault is None else None
    work = work_at(broker, grants, seen, reader) if seen is not None else None
    closing = leaving and reader.is_terminating(broker.ref.namespace)
    clients = None if closing else broker_clients(broker, grants, reader)
    return BrokerView(broker, look, kept, fault, work, clients, admin, rights, unremoved, moment)


def _removal_fault(kept: StoredLedger | None, reader: Reader) -> Fault | None:
    return reader.write_fault("ConfigMap", kept.ref) if kept is not None else None


def admin_state(broker: MessageBroker, reader: Reader, moment: Moment) -> AdminState:
    """Return the state of the rotation of a broker's admin credential."""
    return plan_admin(_admin_facts(broker, reader), moment)


def _admin_facts(broker: MessageBroker, reader: Reader) -> AdminFacts:
    return AdminFacts(
        broker,
        reader.observation(broker.ref),
        reader.kept_ledger(broker.ref),
        reader.rotations(broker_key(broker.ref)),
        tuple(reader.messaging.beside(broker)),
    )


def work_at(
    broker: MessageBroker, grants: BrokerGrants, observed: Observed, reader: Reader
) -> Work:
    """Return the changes that bring a broker from its observed state to what is granted."""
    ledger = reader.ledger(broker.ref)
    secrets = _secrets(broker, grants.live, reader)
    return broker_work(WorkFacts(broker, grants, observed, ledger, secrets))


def broker_clients(broker: MessageBroker, grants: BrokerGrants, reader: Reader) -> BrokerClients:
    """Return what decides about the NetworkPolicy of a broker with these grants."""
    ref = broker_policy_ref(broker.ref)
    return BrokerClients(
        broker,
        grants,
        reader.owned("NetworkPolicy", ref, reader.network_policy(ref)),
        reader.own_namespace,
        reader.registry,
        reader.messaging,
    )


def gather_unlisted(key: Key, reader: Reader, moment: Moment) -> UnlistedView:
    """Return what is known of a deleted resource of which only the metadata is known."""
    namespace, registry = key.ref.namespace, reader.registry
    is_listed = namespace in registry.watched and namespace not in registry.unlisted
    kept = reader.kept_ledger(key.ref) if key.kind == BROKER_METADATA else None
    return UnlistedView(key, reader.deletion(key), is_listed, kept, moment.now)


def gather_leftovers(
    identity: ServiceIdentity, wanted: Collection[Ref], reader: Reader
) -> Iterator[Leftover]:
    """Yield an identity's credential Secrets except those of `wanted`.

    There are none while it is unknown what is granted to the identity.
    """
    ref = identity.ref
    if undecided(reader.registry, reader.messaging, (ref,)):
        return
    for secret in reader.credentials_of(identity.metadata.uid):
        if secret.ref not in wanted:
            brokers = reader.brokers_of_secret(secret.ref, ref)
            yield Leftover(secret, tuple(_former(each, reader) for each in brokers))


def _former(broker: Ref, reader: Reader) -> FormerBroker:
    messaging, going = reader.messaging, list(reader.leaving_at(broker))
    if broker not in messaging.brokers:
        going += [messaging.policies[policy] for policy in messaging.at(broker)]
    return FormerBroker(
        reader.declared_broker(broker),
        broker in messaging.invalid_brokers,
        reader.ledger(broker),
        tuple(going),
    )


def _admin(broker: MessageBroker, reader: Reader) -> AdminFacts | None:
    ledger = reader.ledger(broker.ref)
    under_way = ledger is not None and ledger.admin is not None
    asked = under_way or reader.rotations(broker_key(broker.ref))
    return _admin_facts(broker, reader) if asked else None


def _rights(
    broker: MessageBroker, look: BrokerObservation, reader: Reader
) -> tuple[ForeignRight, ...]:
    """Return the rights of foreign principals, computed again only if an input changed."""
    messaging = reader.messaging
    at = sorted(messaging.at(broker.ref))
    policies = [messaging.policies[ref] for ref in at if ref in messaging.policies]

    def rights() -> tuple[ForeignRight, ...]:
        rules = foreign_rules(broker, look.foreign, reader)
        return tuple(foreign_rights(broker, look, rules, policies))

    return reader.memo.of(
        "rights", broker.ref, (look.foreign, look.exposed, broker, *policies), rights
    )


def _secrets(
    broker: MessageBroker, principals: frozenset[str], reader: Reader
) -> Mapping[str, CredentialSecret]:
    """Return the Secrets with the credentials of principals.

    The identity follows from the principal's name, never from the content of a Secret.
    """
    found: dict[str, CredentialSecret] = {}
    prefix, identities = broker.spec.owns.principal_prefix, reader.registry.identities
    for principal in () if broker.spec.by_certificate else principals:
        identity = identity_of(prefix, principal)
        owner = identities.get(identity) if identity is not None else None
        if identity is None or owner is None:
            continue
        secret = reader.credential(identity, broker.ref)
        if secret is not None and is_credential(secret, owner, broker.ref, principal):
            found[principal] = secret
    return found
