"""Plan of a `TopicPolicy`: the state of its grants, and the finalizer that protects them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from troth.planning import verdicts
from troth.planning.grants.edges_validated import plan_edges
from troth.planning.grants.exclusive import plan_exclusive
from troth.planning.grants.finalizer import (
    add_finalizer,
    is_held,
    remove_finalizer_of_unreadable,
)
from troth.planning.grants.message_schemas import plan_schema
from troth.planning.grants.policy_deletion import plan_deletion
from troth.planning.grants.rules import granted, retains
from troth.planning.grants.status import (
    GRANT_LIMIT,
    GRANTS_IN_SYNC,
    broker_is_enforced,
    broker_is_served,
    grant_statuses,
)
from troth.planning.grants.view import PolicyView, TopicPolicyView
from troth.planning.parts import Part, assemble, fails_closed, unplanned
from troth.planning.plan import Plan
from troth.resources.conditions import Verdict
from troth.resources.messaging.topic_policy import OnDelete, TopicPolicy
from troth.resources.messaging.topic_policy_status import (
    CLAIM_LIMIT,
    EnforcedBy,
    GrantState,
    GrantStatus,
    PolicyClaim,
)
from troth.trust.declarations.topics.grant_entries import GrantEntry
from troth.trust.topics.claims import accepted_since, as_status, claims_of
from troth.trust.topics.evaluation import TopicGrant
from troth.trust.topics.refusals import BROKER_MISSING
from troth.world.facts.deletion import Deletion
from troth.world.facts.objects import Unreadable
from troth.world.keys import Key

PEERS_AGREE, RETENTION_ALLOWED = "PeersAgree", "RetentionAllowed"
_KEPT = frozenset({GrantState.SUSPENDED, GrantState.INACTIVE})
"""States of a grant that is not live and has passed all checks that could refuse it."""


def plan_topic_policy(known: TopicPolicyView) -> Plan:
    """Return the plan of a policy. The plan of its broker makes the grants."""
    key, now = known.key, known.now
    if known.unreadable is not None:
        return _plan_unreadable(key, known.unreadable, now)
    if known.deletion is not None:
        return plan_deletion(key, known.deletion)
    if known.readable is None:
        return Plan(key, known.uid)
    view = known.readable
    return assemble(key, view.policy, _parts(view), view.moment.now)


def _parts(view: PolicyView) -> Iterator[Part]:
    edges = plan_edges(view)
    yield _plan_finalizer(view)
    yield _plan_grants(view, edges.enforced)
    yield _plan_claims(view)
    yield plan_schema(view.policy, view.texts)
    yield plan_exclusive(view)
    yield edges
    yield _plan_retention(view)


@fails_closed(unplanned(GRANTS_IN_SYNC, beside=(PEERS_AGREE,)))
def _plan_grants(view: PolicyView, enforced: Mapping[GrantEntry, EnforcedBy]) -> Part:
    """Return the part on the grants of a policy.

    `enforced` has where the policy is enforced for its consumers.
    """
    asked = view.asked
    found = list(zip(view.grants, grant_statuses(view, enforced), strict=True))
    own = [entry for each, entry in found if each.entry in asked]
    others = [entry for each, entry in found if each.entry not in asked]
    return Part(
        verdicts=(_grants_in_sync(view, own),),
        beside=(_peers_agree(own),),
        status={"grants": (*own, *others)[:GRANT_LIMIT]},
    )


@fails_closed(unplanned())
def _plan_claims(view: PolicyView) -> Part:
    """Return the part on the names at the broker that belong to a policy."""
    return Part(status={"claims": _claims(view.policy, view.grants, view.moment.now)})


def _claims(
    policy: TopicPolicy, grants: Iterable[TopicGrant], now: datetime
) -> tuple[PolicyClaim, ...]:
    """Return the claims of grants that are live, and those accepted before that still stand.

    A claim ends if its grant is refused, because what the broker has for it then ends too.
    """
    since = accepted_since(policy)
    claims = {
        claim: since.get(claim, now)
        for each in grants
        for claim in claims_of(policy, each.entry)
        if each.state is GrantState.LIVE or (each.state in _KEPT and claim in since)
    }
    return tuple(as_status(policy, each, claims[each]) for each in sorted(claims))[:CLAIM_LIMIT]


@fails_closed(unplanned())
def _plan_finalizer(view: PolicyView) -> Part:
    """Return the part with the step that adds the finalizer, before anything is granted.

    A policy also gets its finalizer if its grants wait only for a missing broker. Otherwise a
    thousand policies would need it at the moment at which the broker appears.
    """
    policy, grants, broker = view.policy, view.grants, view.broker
    if is_held(policy):
        return Part()
    if broker is None:
        agreed = any(each.reason == BROKER_MISSING for each in grants)
    elif broker_is_served(broker) or broker_is_enforced(broker):
        agreed = False
    else:
        agreed = any(granted(broker, each) for each in grants)
    return Part(steps=(add_finalizer(policy),) if agreed else ())


def _grants_in_sync(view: PolicyView, own: list[GrantStatus]) -> Verdict:
    """Return whether the broker has every grant that the policy and an identity declare.

    An obstacle to all grants of the policy is reported even if there are no grants yet.
    """
    type_ = GRANTS_IN_SYNC
    fault = view.write_fault
    if fault is not None:
        return verdicts.false(type_, fault.reason, fault.message)
    obstacle, broker = view.obstacle, view.broker
    if obstacle is None and broker is not None:
        obstacle = broker_is_served(broker) or broker_is_enforced(broker)
    if obstacle is not None:
        return verdicts.false(type_, obstacle.reason, obstacle.message)
    order = (GrantState.REFUSED, GrantState.SUSPENDED, GrantState.LIVE)
    return _first(type_, own, order) or verdicts.true(
        type_, "AllInSync", "the broker has every grant that both sides declare"
    )


def _peers_agree(own: list[GrantStatus]) -> Verdict:
    """Return whether every identity that the policy names also names the policy.

    An identity that the policy does not name has no effect. Otherwise any identity could degrade
    the status of any policy.
    """
    order = (GrantState.AWAITING_IDENTITY, GrantState.AWAITING_POLICY)
    return _first(PEERS_AGREE, own, order) or verdicts.true(
        PEERS_AGREE, "AllAgree", "every identity that the policy names agrees"
    )


@fails_closed(unplanned(beside=(RETENTION_ALLOWED,)))
def _plan_retention(view: PolicyView) -> Part:
    """Return the part on whether the broker's owner lets the grants outlive the policy.

    It is empty if the policy does not ask for that.
    """
    policy, broker = view.policy, view.broker
    if policy.spec.on_delete is not OnDelete.RETAIN or broker is None:
        return Part()
    if retains(broker, policy):
        return Part(beside=(verdicts.true(RETENTION_ALLOWED, "Allowed"),))
    message = (
        f"retention of MessageBroker {broker.ref} is Deny, so Troth will revoke the grants when "
        "the TopicPolicy is deleted; set onDelete: Revoke, or ask the broker's owner for Allow"
    )
    return Part(beside=(verdicts.false(RETENTION_ALLOWED, "Denied", message),))


def _first(type_: str, own: list[GrantStatus], order: Iterable[GrantState]) -> Verdict | None:
    """Return a verdict on the first grant in one of these states, None if there is none."""
    found = (each for state in order for each in own if each.state is state)
    entry = next(found, None)
    return verdicts.false(type_, entry.reason or "", entry.message or "") if entry else None


def _plan_unreadable(key: Key, unreadable: Unreadable, now: datetime) -> Plan:
    """Return a plan that reports an unreadable policy, or ends its deletion.

    The broker's ledger still has what the policy granted, and nothing asks for that any more.
    """
    step = remove_finalizer_of_unreadable(key, Deletion.of(unreadable.manifest["metadata"]))
    if step is None:
        return verdicts.unreadable_plan(key, unreadable, now)
    return Plan(key, step.uid, steps=(step,))
