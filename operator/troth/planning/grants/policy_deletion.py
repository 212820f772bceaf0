"""Deletion of a `TopicPolicy`, which waits until nothing is left to do for it at its broker."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.planning import verdicts
from troth.planning.grants.changes import NOTHING, Rules
from troth.planning.grants.dialects import rules_of
from troth.planning.grants.finalizer import FINALIZER, PATIENCE, is_held, remove_finalizer
from troth.planning.grants.rules import granted, policy_rules, retains
from troth.planning.grants.status import GRANTS_IN_SYNC, broker_is_enforced, broker_is_served
from troth.planning.grants.view import PolicyDeletionView
from troth.planning.parts import Part, assemble
from troth.planning.plan import Plan
from troth.planning.steps.step import Step
from troth.resources.conditions import Truth
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.messaging.topic_policy_status import GrantState
from troth.trust.declarations.topics.grant_entries import entries_of
from troth.trust.declarations.unlisted import UNLISTED, unlisted_message
from troth.trust.topics.candidate import grant_of, principal_of
from troth.trust.topics.evaluation import TopicGrant
from troth.world.facts.broker import Ledger
from troth.world.keys import Key

AT_ONCE = timedelta(0)


@dataclass(frozen=True, slots=True)
class Left:
    """What is left to do for the deletion of a policy, and why.

    `patience` is how long after its deletion the policy waits for it. If it is None, Troth is about
    to do the work, and the policy waits without limit. `behind` says what stays at the broker when
    the policy stops waiting.
    """

    reason: str
    message: str
    patience: timedelta | None = None
    behind: str = ""


def plan_deletion(key: Key, view: PolicyDeletionView) -> Plan:
    """Return the plan of a policy that is being deleted."""
    policy, now = view.policy, view.now
    others = [each for each in policy.metadata.finalizers if each != FINALIZER]
    if not is_held(policy):
        if not others:
            return Plan(key, policy.metadata.uid)
        message = (
            "Troth has nothing left to do; these finalizers hold the TopicPolicy: "
            f"{', '.join(others)}"
        )
        return assemble(key, policy, (_waiting(Left("Deleting", message)),), now)
    deleted_at = policy.metadata.deletion_timestamp
    assert deleted_at is not None
    left = left_of(view)
    if left is None or (left.patience is not None and now >= deleted_at + left.patience):
        step = remove_finalizer(policy, left.behind if left is not None else "")
        fault = view.write_fault
        if fault is None:
            return Plan(key, policy.metadata.uid, steps=(step,))
        waiting = _waiting(Left(fault.reason, fault.message), steps=(step,))
        return assemble(key, policy, (waiting,), now)
    dues = (deleted_at + left.patience,) if left.patience is not None else ()
    return assemble(key, policy, (_waiting(left, dues=dues),), now)


def left_of(view: PolicyDeletionView) -> Left | None:
    """Return what is left to do for a policy's deletion, None if nothing is.

    The policy does not wait if Troth created nothing, or may change nothing.
    """
    policy, broker, kept = view.policy, view.broker, view.kept
    at = policy.broker
    if kept is not None and view.is_unlisted:
        return _stuck(UNLISTED, unlisted_message(at.namespace), _all_of(policy))
    if broker is None:
        if kept is None or not view.is_unreadable:
            return None
        message = f"MessageBroker {at} cannot be read; correct it"
        return _stuck("BrokerInvalid", message, _all_of(policy))
    if broker_is_served(broker):
        return None
    rest = _rest(broker, view, kept.ledger if kept is not None else Ledger())
    observing = broker_is_enforced(broker)
    if observing is not None and rest.nothing:
        return None
    if observing is not None:
        return _stuck(observing.reason, observing.message, rest.description, AT_ONCE)
    if kept is None:
        return _lost(broker, view)
    if kept.fault is not None:
        return _stuck(kept.fault.reason, kept.fault.message, _all_of(policy))
    return None if rest.nothing else _why(broker, view, rest)


@dataclass(frozen=True, slots=True)
class Rest:
    """Rules and principals whose removal or retention is left to do, and a description of them."""

    rules: Rules
    principals: frozenset[str]
    description: str

    @property
    def nothing(self) -> bool:
        """Whether nothing is left to do."""
        return not self.rules and not self.principals


def _rest(broker: MessageBroker, view: PolicyDeletionView, ledger: Ledger) -> Rest:
    """Return what the ledger has of a policy that nothing else asks for.

    What stays because of another policy belongs to that policy from now on.
    """
    policy = view.policy
    elsewhere, made = _rules_of(broker, view.others), _rules_of(broker, _made(view))
    # the ledger does not retain a rule that another policy asks for anyway
    needed = made if retains(broker, policy) else elsewhere
    rules = (policy_rules(broker, policy) & ledger.rules) - ledger.retained - needed
    owners = {principal_of(broker, each.identity): each.identity for each in entries_of(policy)}
    having = {rule.principal for rule in elsewhere | ledger.retained}
    to_revoke = {principal for principal, _ in ledger.credentials} & owners.keys()
    principals = frozenset(to_revoke - having - _undecided_at(broker, view))
    described = [
        *_descriptions(broker, policy, rules),
        *(f"the credential of {owners[each]}" for each in sorted(principals)),
    ]
    return Rest(rules, principals, ", ".join(described))


def _rules_of(broker: MessageBroker, grants: Iterable[TopicGrant]) -> Rules:
    return NOTHING.union(*(granted(broker, each) for each in grants))


def _made(view: PolicyDeletionView) -> Iterable[TopicGrant]:
    """Return the other grants that are made, and not only left unchanged."""
    live = (each for each in view.others if each.state is GrantState.LIVE)
    return (each for each in live if each.policy in view.held)


def _undecided_at(broker: MessageBroker, view: PolicyDeletionView) -> frozenset[str]:
    return frozenset(principal_of(broker, each) for each in view.undecided)


def _why(broker: MessageBroker, view: PolicyDeletionView, rest: Rest) -> Left:
    """Return why the rest is not done yet."""
    policy, fault = view.policy, view.look.fault
    if fault is not None:
        message = f"Troth cannot change MessageBroker {broker.ref}: {fault.message}"
        return _stuck("BrokerUnreachable", message, rest.description)
    if retains(broker, policy) and rest.rules <= view.retainable:
        message = f"Troth is recording that the grants stay at MessageBroker {broker.ref}"
        return Left("Retaining", message)
    unknown = _undecided_at(broker, view)
    if rest.rules and all(rule.principal in unknown for rule in rest.rules):
        message = (
            "another TopicPolicy that names the same identities cannot be read and may declare "
            "the same grants; correct that TopicPolicy"
        )
        return _stuck("PolicyInvalid", message, rest.description)
    if rest.rules and _is_braked(broker):
        message = (
            f"removals at MessageBroker {broker.ref} wait until a person allows them; see its "
            "status"
        )
        return _stuck("Braked", message, rest.description)
    return Left("Revoking", f"Troth is revoking the grants at MessageBroker {broker.ref}")


def _is_braked(broker: MessageBroker) -> bool:
    conditions = {each.type: each.status for each in broker.status.conditions}
    return conditions.get("Braked") is Truth.TRUE


def _lost(broker: MessageBroker, view: PolicyDeletionView) -> Left | None:
    """Return what the broker has of a policy if the ledger is lost, None if that is nothing.

    A broker that is being deleted reports this itself.
    """
    policy, seen = view.policy, view.look.observed
    listed_already = broker.metadata.deletion_timestamp is not None
    if seen is None or listed_already or retains(broker, policy):
        return None
    left = seen.rules - _rules_of(broker, view.others)
    described = _descriptions(broker, policy, left)
    behind = (
        f"the ledger of MessageBroker {broker.ref} is lost, so Troth removes nothing there; "
        f"remove these yourself: {', '.join(described)}"
    )
    return Left("LedgerLost", behind, AT_ONCE, behind) if described else None


def _descriptions(broker: MessageBroker, policy: TopicPolicy, rules: Rules) -> list[str]:
    """Return a description of each of a policy's grants that has any of these rules."""
    return [
        f"{grant.action} {grant.topic.name} by {asked.identity}"
        for asked in sorted(entries_of(policy))
        if (grant := grant_of(policy, broker, asked)) is not None
        and not isinstance(found := rules_of(broker.spec.type, grant), str)
        and found & rules
    ]


def _all_of(policy: TopicPolicy) -> str:
    return (
        f"everything that {', '.join(sorted({str(each.identity) for each in entries_of(policy)}))} "
        "has"
    )


def _stuck(reason: str, message: str, description: str, patience: timedelta = PATIENCE) -> Left:
    behind = (
        f"{message}. Until this is resolved, these stay at the broker, and Troth revokes them "
        f"afterwards: {description}"
    )
    return Left(reason, message, patience, behind)


def _waiting(left: Left, steps: tuple[Step, ...] = (), dues: tuple[datetime, ...] = ()) -> Part:
    """Return the part whose status says what the policy waits for."""
    return Part(
        verdicts=(verdicts.false(GRANTS_IN_SYNC, left.reason, left.message),),
        steps=steps,
        dues=dues,
        status={"grants": (), "claims": ()},
    )
