"""What the plans of policies and brokers ask the world about grants."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from troth.planning.grants.changes import NOTHING, Rules
from troth.planning.grants.dialects import unsupported
from troth.planning.grants.finalizer import is_held
from troth.planning.grants.foreign_access import reaching_rules
from troth.planning.grants.message_schemas import Texts
from troth.planning.grants.rules import (
    BrokerGrants,
    Share,
    broker_grants,
    grants_that_outlive,
    lasting_rules,
    retainable,
    share_of,
)
from troth.planning.moment import Moment
from troth.planning.owned_objects import is_child
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.trust.declarations.topics.grant_entries import GrantEntry, entries_of
from troth.trust.grants import Rule
from troth.trust.topics.candidate import GrantObstacle
from troth.trust.topics.evaluation import TopicGrant, obstacle_to_all, undecided
from troth.world.facts.broker import BrokerObservation, CredentialSecret, Ledger, StoredLedger
from troth.world.facts.objects import Fault, Unreadable
from troth.world.keys import Key
from troth.world.reader import Reader


@dataclass(frozen=True, slots=True)
class PolicyView:
    """All inputs of the plan of one policy, gathered once.

    `asked` are the grants that the policy declares, and `grants` has also those that only an
    identity requests. `broker` is None if it is not declared, or cannot be read. `secrets` are the
    credential Secrets of identities with live grants, each its identity's own. `foreign` are the
    broker's foreign rules that concern any owned topic. `texts` are those of the ConfigMap with the
    schema. `write_fault` is why the policy itself cannot be written. `obstacle` is why no grant of
    the policy is live.
    """

    policy: TopicPolicy
    asked: frozenset[GrantEntry]
    grants: tuple[TopicGrant, ...]
    broker: MessageBroker | None
    look: BrokerObservation
    kept: StoredLedger | None
    secrets: Mapping[Ref, CredentialSecret]
    foreign: tuple[Rule, ...]
    texts: Texts | None
    write_fault: Fault | None
    obstacle: GrantObstacle | None
    moment: Moment


@dataclass(frozen=True, slots=True)
class PolicyDeletionView:
    """All inputs of the deletion of one policy.

    `broker` is None if it is not declared, or cannot be read. `is_unreadable` is whether it cannot
    be read, and `is_unlisted` whether its namespace has no complete list of its objects. `others`
    are the grants there of other policies that name the same identities, and `held` are those of
    these policies that have the finalizer. `undecided` are identities that may have other grants.
    `retainable` are the rules that may outlive the policy.
    """

    policy: TopicPolicy
    broker: MessageBroker | None
    is_unreadable: bool
    is_unlisted: bool
    kept: StoredLedger | None
    look: BrokerObservation
    others: tuple[TopicGrant, ...]
    held: frozenset[Ref]
    undecided: frozenset[Ref]
    retainable: Rules
    write_fault: Fault | None
    now: datetime


@dataclass(frozen=True, slots=True)
class TopicPolicyView:
    """What is known of the TopicPolicy of a key.

    `readable` are the inputs of its plan, None if it does not exist, cannot be read, is being
    deleted, or its namespace is. `uid` is that of a policy in such a namespace.
    """

    key: Key
    unreadable: Unreadable | None
    deletion: PolicyDeletionView | None
    readable: PolicyView | None
    uid: str
    now: datetime


def gather(key: Key, reader: Reader, moment: Moment) -> TopicPolicyView:
    """Return what is known of the policy of a key."""
    unreadable, deletion, readable, uid = reader.unreadable(key), None, None, ""
    leaving = reader.leaving_policy(key.ref)
    policy = reader.messaging.policies.get(key.ref)
    if unreadable is None and leaving is not None:
        deletion = gather_deletion(leaving, reader, moment.now)
    elif unreadable is None and policy is not None:
        uid = policy.metadata.uid
        if not reader.is_terminating(key.ref.namespace):
            readable = gather_readable(policy, reader, moment)
    return TopicPolicyView(key, unreadable, deletion, readable, uid, moment.now)


def gather_readable(policy: TopicPolicy, reader: Reader, moment: Moment) -> PolicyView:
    """Return all inputs of the plan of a policy that is not being deleted."""
    broker, look = reader.messaging.brokers.get(policy.broker), reader.observation(policy.broker)
    grants = reader.grants_of(policy.ref)
    foreign: tuple[Rule, ...] = ()
    if broker is not None and unsupported(broker) is None and look.observed is not None:
        foreign = foreign_rules(broker, look.foreign, reader)
    return PolicyView(
        policy=policy,
        asked=reader.messaging.entries(policy.ref),
        grants=grants,
        broker=broker,
        look=look,
        kept=reader.kept_ledger(policy.broker),
        secrets=_secrets(policy.broker, grants, reader),
        foreign=foreign,
        texts=reader.schema_texts(policy),
        write_fault=reader.write_fault(policy.kind, policy.ref),
        obstacle=obstacle_to_all(reader.registry, reader.messaging, policy.ref),
        moment=moment,
    )


def _secrets(
    broker: Ref, grants: tuple[TopicGrant, ...], reader: Reader
) -> Mapping[Ref, CredentialSecret]:
    """Return the Secrets with the names of credentials that their identities own."""
    found: dict[Ref, CredentialSecret] = {}
    for identity in {each.entry.identity for each in grants if each.state is GrantState.LIVE}:
        secret = reader.credential(identity, broker)
        owner = reader.registry.identities.get(identity)
        if secret is not None and owner is not None and is_child(secret, owner):
            found[identity] = secret
    return found


def gather_deletion(policy: TopicPolicy, reader: Reader, now: datetime) -> PolicyDeletionView:
    """Return all inputs of the deletion of a policy."""
    at, messaging, registry = policy.broker, reader.messaging, reader.registry
    broker = reader.declared_broker(at)
    others: tuple[TopicGrant, ...] = ()
    may_stay = NOTHING
    if broker is not None and unsupported(broker) is None:
        others = tuple(_others(policy, reader))
        lasting = lasting_rules(broker, policy)
        may_stay = retainable(broker, lasting, registry, policy=policy)
    named = {each.identity for each in entries_of(policy)}
    return PolicyDeletionView(
        policy=policy,
        broker=broker,
        is_unreadable=at in messaging.invalid_brokers,
        is_unlisted=at.namespace in registry.unlisted,
        kept=reader.kept_ledger(at),
        look=reader.observation(at),
        others=others,
        held=frozenset(each.policy for each in others if is_held(messaging.policies[each.policy])),
        undecided=frozenset(undecided(registry, messaging, named)),
        retainable=may_stay,
        write_fault=reader.write_fault(policy.kind, policy.ref),
        now=now,
    )


def _others(policy: TopicPolicy, reader: Reader) -> Iterator[TopicGrant]:
    """Yield the grants at the broker of other policies that name the same identities."""
    messaging = reader.messaging
    others: set[Ref] = set()
    for each in entries_of(policy):
        others |= messaging.asking(each.identity)
    for other in others & messaging.at(policy.broker):
        yield from reader.grants_of(other)


def grants_at(broker: MessageBroker, ledger: Ledger, reader: Reader) -> BrokerGrants:
    """Return all grants at a broker; `ledger` is what Troth created there."""
    return broker_grants(
        broker,
        ledger,
        _shares(broker, reader),
        reader.leaving_at(broker.ref),
        registry=reader.registry,
        messaging=reader.messaging,
    )


def _shares(broker: MessageBroker, reader: Reader) -> Iterator[Share]:
    """Yield the grants of each policy at a broker, computed again only if an input changed.

    A policy gets its finalizer before Troth makes its grants, so it cannot be gone before they are.
    If the broker's mode is not Enforce, no policy gets a finalizer, and grants count without one.
    """
    enforced = broker.spec.mode is BrokerMode.ENFORCE
    served = unsupported(broker) is None
    for ref in reader.messaging.at(broker.ref):
        grants = reader.grants_of(ref)
        counts = not enforced or is_held(reader.messaging.policies[ref])
        yield reader.memo.of(
            "share",
            ref,
            (grants, broker.spec.type, served, counts),
            partial(share_of, broker, grants, counts=counts),
        )


def outliving_at(broker: MessageBroker, ledger: Ledger, reader: Reader) -> BrokerGrants:
    """Return what stays at a broker after its MessageBroker, by `onDelete: Retain`."""
    messaging = reader.messaging
    policies = [messaging.policies[ref] for ref in messaging.at(broker.ref)]
    leaving = reader.leaving_at(broker.ref)
    return grants_that_outlive(broker, ledger, (*policies, *leaving), reader.registry)


def foreign_rules(
    broker: MessageBroker, foreign: frozenset[Rule], reader: Reader
) -> tuple[Rule, ...]:
    """Return the foreign rules that concern any owned topic, computed once per observation.

    Those of administrators are left out.
    """
    return reader.memo.of(
        "reaching", broker.ref, (foreign, broker), partial(reaching_rules, broker, foreign)
    )
