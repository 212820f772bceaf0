"""What is granted at a broker now: the rules of all live grants, and what has to stay as it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from troth.planning.brokers.changes import Rules, Wanted
from troth.planning.brokers.finalizer import is_held
from troth.planning.grants.dialects import rules_of, unsupported
from troth.resources.messaging.message_broker import BrokerMode, MessageBroker
from troth.resources.messaging.topic_policy import OnDelete, TopicPolicy
from troth.resources.messaging.topic_policy_status import GrantState
from troth.trust.grant_candidate import grant_of, principal_of
from troth.trust.grants import Grant, Rule
from troth.trust.messaging import entries_of
from troth.trust.topic_grants import TopicGrant, undecided
from troth.world.facts.broker import Ledger
from troth.world.index.brokers import identity_of
from troth.world.world import World

NOTHING: Rules = frozenset()


@dataclass(frozen=True, slots=True)
class BrokerGrants:
    """All that is granted at a broker.

    `live` are the principals of live grants, `staying` those of whom something stays as it is: a
    grant that is suspended, or one that outlives its policy. `retained` are the rules of the
    latter.
    """

    wanted: Wanted
    live: frozenset[str]
    staying: frozenset[str]
    retained: Rules = NOTHING


def broker_grants(broker: MessageBroker, ledger: Ledger, world: World) -> BrokerGrants:
    """Return what is granted at a broker, of which `ledger` is what Troth made there.

    A policy is held before anything is granted by it, so that it is not gone before its grants.
    Where nothing is changed none is held, and what would be granted counts as well.
    """
    rules: set[Rule] = set()
    suspended: set[Rule] = set()
    live: set[str] = set()
    staying: set[str] = set()
    messaging = world.brokers.messaging
    for share in _shares(broker, world):
        rules |= share.rules
        suspended |= share.suspended
        live |= share.live
        staying |= share.staying
    retained = _retained(broker, world.brokers.leaving_at(broker.ref), ledger, world) - rules
    unknown = {principal_of(broker, identity) for identity in undecided(world.registry, messaging)}
    suspended |= retained | {rule for rule in ledger.rules if rule.principal in unknown}
    staying |= {rule.principal for rule in retained} | (unknown & ledger.principals)
    return BrokerGrants(
        Wanted(frozenset(rules), frozenset(suspended) - rules),
        frozenset(live),
        frozenset(staying) - live,
        retained,
    )


@dataclass(frozen=True, slots=True)
class _Share:
    """What one policy adds to what is granted."""

    rules: Rules
    suspended: Rules
    live: frozenset[str]
    staying: frozenset[str]


def _shares(broker: MessageBroker, world: World) -> Iterator[_Share]:
    """Yield what each policy of a broker adds, worked out anew where anything about it is new."""
    enforced = broker.spec.mode is BrokerMode.ENFORCE
    served = unsupported(broker) is None
    for ref in world.brokers.messaging.at(broker.ref):
        grants = world.grants.of(ref)
        counts = not enforced or is_held(world.brokers.messaging.policies[ref])
        yield world.memo.of(
            ("share", ref),
            (grants, broker.spec.type, served, counts),
            partial(_share, broker, grants, counts=counts),
        )


def _share(broker: MessageBroker, grants: Iterable[TopicGrant], *, counts: bool) -> _Share:
    parts: dict[bool, tuple[set[Rule], set[str]]] = {True: (set(), set()), False: (set(), set())}
    for each in grants:
        found = granted(broker, each)
        if each.grant is not None and found:
            rules, principals = parts[each.state is GrantState.LIVE and counts]
            rules |= found
            principals.add(each.grant.principal)
    (rules, live), (suspended, staying) = parts[True], parts[False]
    return _Share(frozenset(rules), frozenset(suspended), frozenset(live), frozenset(staying))


def granted(broker: MessageBroker, asked: TopicGrant) -> Rules:
    """Return the rules of a grant that is live or suspended; none of any other, or one that the
    broker cannot have.
    """
    decided = asked.state in (GrantState.LIVE, GrantState.SUSPENDED)
    if asked.grant is None or not decided or unsupported(broker) is not None:
        return NOTHING
    found = rules_of(broker.spec.type, asked.grant)
    return found if isinstance(found, frozenset) else NOTHING


def policy_rules(broker: MessageBroker, policy: TopicPolicy) -> Rules:
    """Return the rules of everything that a policy asks for, whether it is live or not."""
    grants = (grant_of(policy, broker, each) for each in entries_of(policy))
    return _rules(broker, (grant for grant in grants if grant is not None))


def _rules(broker: MessageBroker, grants: Iterable[Grant]) -> Rules:
    found = (rules_of(broker.spec.type, grant) for grant in grants)
    return frozenset().union(*(each for each in found if isinstance(each, frozenset)))


def grants_that_outlive(broker: MessageBroker, ledger: Ledger, world: World) -> BrokerGrants:
    """Return what stays at a broker whose MessageBroker is deleted, as `onDelete: Retain` says."""
    messaging = world.brokers.messaging
    policies = [messaging.policies[ref] for ref in messaging.at(broker.ref)]
    retained = _retained(broker, [*policies, *world.brokers.leaving_at(broker.ref)], ledger, world)
    principals = frozenset(rule.principal for rule in retained)
    return BrokerGrants(Wanted(NOTHING, retained), frozenset(), principals, retained)


def _retained(
    broker: MessageBroker, policies: Iterable[TopicPolicy], ledger: Ledger, world: World
) -> Rules:
    """Return the rules that stay though their policy is gone, while their identity is there."""
    rules = set(ledger.retained)
    for policy in policies:
        theirs = policy_rules(broker, policy) & ledger.rules
        rules = rules | theirs if policy.spec.on_delete is OnDelete.RETAIN else rules - theirs
    registry, prefix = world.registry, broker.spec.owns.principal_prefix
    return frozenset(
        rule
        for rule in rules
        if (identity := identity_of(prefix, rule.principal)) in registry.identities
        or identity in registry.invalid_identities
    )
