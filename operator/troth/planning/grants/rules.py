"""Rules that are granted at a broker: those of all live grants, and those that must stay."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from troth.brokers.registry import DIALECTS
from troth.planning.grants.changes import NOTHING, Rules, Wanted
from troth.planning.grants.dialects import rules_of, unsupported
from troth.resources.messaging.message_broker import MessageBroker, Retention
from troth.resources.messaging.topic_policy import OnDelete, TopicPolicy
from troth.resources.messaging.topic_policy_status import GrantState
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.grant_entries import GrantEntry, Purpose, entries_of
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.grants import Grant, Rule
from troth.trust.topics.candidate import admits, grant_of, principal_of
from troth.trust.topics.evaluation import TopicGrant, undecided
from troth.world.facts.broker import Ledger
from troth.world.index.broker_keys import identity_of


@dataclass(frozen=True, slots=True)
class BrokerGrants:
    """All grants at a broker.

    `live` are the principals of live grants. `staying` are those of which something stays
    unchanged: a suspended grant, or one that outlives its policy. `retained` are the rules of
    grants that outlive their policy.
    """

    wanted: Wanted
    live: frozenset[str]
    staying: frozenset[str]
    retained: Rules = NOTHING


@dataclass(frozen=True, slots=True)
class Share:
    """Grants of one policy at a broker.

    `temporary` are the rules of redrives, live or not, and `lasting` are those of all others.
    """

    rules: Rules
    suspended: Rules
    temporary: Rules
    lasting: Rules
    live: frozenset[str]
    staying: frozenset[str]


def broker_grants(
    broker: MessageBroker,
    ledger: Ledger,
    shares: Iterable[Share],
    leaving: Iterable[TopicPolicy],
    *,
    registry: Registry,
    messaging: Messaging,
) -> BrokerGrants:
    """Return all grants at a broker; `ledger` is what Troth created there.

    `shares` are those of each of its policies. `leaving` are its policies that are being deleted.
    """
    rules: set[Rule] = set()
    suspended: set[Rule] = set()
    temporary: set[Rule] = set()
    lasting: set[Rule] = set()
    live: set[str] = set()
    staying: set[str] = set()
    prefix = broker.spec.owns.principal_prefix
    for share in shares:
        rules |= share.rules
        suspended |= share.suspended
        temporary |= share.temporary
        lasting |= share.lasting
        live |= share.live
        staying |= share.staying
    retained = _retained(broker, leaving, ledger, registry) - rules
    of_ledger = (identity_of(prefix, each) for each in ledger.principals)
    owners = (each for each in of_ledger if each is not None)
    unknown = {
        principal_of(broker, identity) for identity in undecided(registry, messaging, owners)
    }
    suspended |= retained | {rule for rule in ledger.rules if rule.principal in unknown}
    staying |= {rule.principal for rule in retained} | unknown
    return BrokerGrants(
        Wanted(frozenset(rules), frozenset(suspended) - rules, frozenset(temporary - lasting)),
        frozenset(live),
        frozenset(staying) - live,
        retained,
    )


def share_of(broker: MessageBroker, grants: Collection[TopicGrant], *, counts: bool) -> Share:
    """Return the grants of one policy at a broker; `counts` is whether its live grants count."""
    parts: dict[bool, tuple[set[Rule], set[str]]] = {True: (set(), set()), False: (set(), set())}
    for each in grants:
        found = granted(broker, each)
        if each.grant is not None and found:
            rules, principals = parts[each.state is GrantState.LIVE and counts]
            rules |= found
            principals.add(each.grant.principal)
    (rules, live), (suspended, staying) = parts[True], parts[False]
    return Share(
        frozenset(rules),
        frozenset(suspended),
        _possible(broker, grants, redrives=True),
        _possible(broker, grants, redrives=False),
        frozenset(live),
        frozenset(staying),
    )


def _possible(broker: MessageBroker, grants: Iterable[TopicGrant], *, redrives: bool) -> Rules:
    """Return the rules of redrives, or of all other grants, in any state."""
    if unsupported(broker) is not None:
        return NOTHING
    found = (
        each.grant
        for each in grants
        if each.grant is not None and (each.entry.purpose is Purpose.REDRIVE) is redrives
    )
    return _rules(broker, found)


def granted(broker: MessageBroker, asked: TopicGrant) -> Rules:
    """Return the rules of a live or suspended grant.

    They are empty for a grant in another state, or if the broker cannot express the grant.
    """
    decided = asked.state in (GrantState.LIVE, GrantState.SUSPENDED)
    if asked.grant is None or not decided or unsupported(broker) is not None:
        return NOTHING
    found = rules_of(broker.spec.type, asked.grant)
    return found if isinstance(found, frozenset) else NOTHING


def policy_rules(broker: MessageBroker, policy: TopicPolicy) -> Rules:
    """Return the rules of everything that a policy declares, whether it is live or not."""
    return _rules_of_entries(broker, policy, entries_of(policy))


def lasting_rules(broker: MessageBroker, policy: TopicPolicy) -> Rules:
    """Return the rules of a policy that may outlive it. Those for redrives end with the review."""
    lasting = (each for each in entries_of(policy) if each.purpose is not Purpose.REDRIVE)
    return _rules_of_entries(broker, policy, lasting)


def _rules_of_entries(
    broker: MessageBroker, policy: TopicPolicy, entries: Iterable[GrantEntry]
) -> Rules:
    grants = (grant_of(policy, broker, each) for each in entries)
    return _rules(broker, (grant for grant in grants if grant is not None))


def _rules(broker: MessageBroker, grants: Iterable[Grant]) -> Rules:
    found = (rules_of(broker.spec.type, grant) for grant in grants)
    return frozenset().union(*(each for each in found if isinstance(each, frozenset)))


def grants_that_outlive(
    broker: MessageBroker, ledger: Ledger, policies: Iterable[TopicPolicy], registry: Registry
) -> BrokerGrants:
    """Return what stays at a broker after its MessageBroker, by `onDelete: Retain`."""
    retained = _retained(broker, policies, ledger, registry)
    principals = frozenset(rule.principal for rule in retained)
    return BrokerGrants(Wanted(NOTHING, retained), frozenset(), principals, retained)


def retains(broker: MessageBroker, policy: TopicPolicy) -> bool:
    """Return whether the grants of a policy outlive it: both the policy and the broker say so."""
    return policy.spec.on_delete is OnDelete.RETAIN and broker.spec.retention is Retention.ALLOW


def retainable(
    broker: MessageBroker,
    rules: Iterable[Rule],
    registry: Registry,
    *,
    policy: TopicPolicy | None = None,
) -> Rules:
    """Return the rules that may outlive their policy.

    Those are the rules of an existing identity whose namespace the broker still admits, about names
    that the broker still owns. While the policy exists, the broker must admit its namespace too.
    """
    if broker.spec.retention is not Retention.ALLOW:
        return NOTHING
    if policy is not None and not admits(broker, policy.ref.namespace, registry):
        return NOTHING
    dialect = DIALECTS.get(broker.spec.type)
    return frozenset(
        rule
        for rule in rules
        if dialect is not None
        and _is_admitted(broker, rule.principal, registry)
        and dialect.is_owned(rule, broker.spec.owns)
    )


def _is_admitted(broker: MessageBroker, principal: str, registry: Registry) -> bool:
    """Return whether a principal's identity exists, in a namespace that may use the broker."""
    identity = identity_of(broker.spec.owns.principal_prefix, principal)
    if identity is None:
        return False
    known = identity in registry.identities or registry.is_unreadable(identity)
    if not known or not admits(broker, identity.namespace, registry):
        return False
    governance = registry.governance(identity.namespace)
    if governance.domain is None:
        return not governance.settled
    return governance.domain.spec.environment == broker.spec.environment


def _retained(
    broker: MessageBroker, policies: Iterable[TopicPolicy], ledger: Ledger, registry: Registry
) -> Rules:
    """Return the rules that outlive their policy."""
    rules = set(retainable(broker, ledger.retained, registry))
    for policy in policies:
        theirs = policy_rules(broker, policy) & ledger.rules
        if retains(broker, policy):
            theirs &= lasting_rules(broker, policy)
            rules |= retainable(broker, theirs, registry, policy=policy)
        else:
            rules -= theirs
    return frozenset(rules)
