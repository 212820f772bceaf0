"""The plan of a `ServiceIdentity`: its Secrets, NetworkPolicy, restarts and status."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from troth.pki.certificates.leaf import Leaf, short
from troth.pki.spiffe import spiffe_id
from troth.planning import faults
from troth.planning import status as verdicts
from troth.planning.certificates.leaf import leaf_due
from troth.planning.faults import Isolation
from troth.planning.identity.claims import accepted_claims
from troth.planning.identity.credentials.at_brokers import ON_ITS_WAY as COMING
from troth.planning.identity.credentials.webhook_signing import COMING as SIGNING_COMES
from troth.planning.identity.edge_status import edge_statuses, peers_agree, with_closed_edges
from troth.planning.identity.exceptions import (
    RECORD_PENDING,
    exception_dues,
    peers_verified,
    plan_gateway_trust,
    trusted_since,
    unplanned_trust,
)
from troth.planning.identity.facts import IdentityView, View
from troth.planning.identity.layer import Layer, removal, unwritten
from troth.planning.identity.layers import (
    UNKNOWN,
    broker_layer,
    certificate_layer,
    closing_layer,
    schemas_layer,
    signing_layer,
)
from troth.planning.identity.messages.schema_files import COMING as SCHEMAS_COME
from troth.planning.identity.restarts import Rollout, plan_rollout
from troth.planning.identity.secret.manifest import without_growth
from troth.planning.identity.situation import situation_of, unsettled
from troth.planning.identity.terminating import plan_terminating_identity
from troth.planning.identity.token_verdicts import tokens_verdicts
from troth.planning.identity.trust_record import plan_without_identity, recorded
from troth.planning.identity.unsettled import unsettled_policy
from troth.planning.network.compiler import (
    closing_policy,
    compile_policy,
    without_openings,
)
from troth.planning.owned_objects import (
    FOREIGN_RETRY,
    policy_manifest,
    policy_ref,
    taken,
)
from troth.planning.plan import Plan
from troth.planning.steps.objects import Apply
from troth.planning.steps.step import Step
from troth.resources.conditions import Verdict
from troth.resources.identity.spec import Enforcement
from troth.resources.identity.status import (
    BrokerCredentialStatus,
    CertificateStatus,
    ServiceIdentityStatus,
)
from troth.trust.declarations.narrowing import Narrowing
from troth.world.facts.objects import KnownAuthority

ON_ITS_WAY = (
    COMING | SIGNING_COMES | SCHEMAS_COME | {"AuthorityNotReady", "PolicyPending", RECORD_PENDING}
)
"""Reasons that pass without manual action."""
PASSING = frozenset({"AwaitingBroker"})
"""Reasons that usually pass within moments, without a write for this identity."""


def plan_service_identity(known: IdentityView) -> Plan:
    """Return the plan of an identity.

    The garbage collector deletes objects of a deleted one, except the record of its trust.
    """
    key, record, now = known.key, known.record, known.moment.now
    if known.unreadable is not None:
        plan = verdicts.unreadable_plan(key, known.unreadable, now)
        return recorded(plan, record, record.since, now)
    if known.terminating is not None:
        plan = plan_terminating_identity(key, known.terminating)
        return recorded(plan, record, known.since, now)
    if known.readable is not None:
        return _plan(known, known.readable)
    if known.identity is None:
        return plan_without_identity(key, record, now)
    return recorded(Plan(key, known.identity.metadata.uid), record, known.since, now)


def _plan(known: IdentityView, view: View) -> Plan:
    key, identity, now = known.key, view.identity, known.moment.now
    isolation, foreign = Isolation([*known.errors]), Isolation([*known.foreign_errors])
    trust = isolation.run(partial(plan_gateway_trust, view), partial(unplanned_trust, view))
    view = replace(view, edges=trust.edges(view))
    certificate = certificate_layer(view, isolation)
    unapplied = _unapplied(view, certificate.narrowing)
    brokers, unplanned = broker_layer(view, isolation)
    network = isolation.run(
        lambda: _plan_network(view, settling=certificate.narrowing != unapplied),
        lambda error: closing_layer(view, error, lambda: closing_policy(situation_of(view))),
    )
    signing = signing_layer(view, isolation)
    schemas = schemas_layer(view, isolation)
    judged = [
        certificate.verdict,
        network.verdict,
        *unplanned,
        *brokers.verdicts,
        *isolation.run(lambda: [*trust.verdicts, *tokens_verdicts(view)], lambda _: []),
        *signing.verdicts,
        *schemas.verdicts,
    ]
    agreed = isolation.run(
        lambda: (
            peers_agree(identity, view.edges, view.topics),
            *peers_verified(identity, now),
        ),
        lambda _: (),
    )
    rollout = isolation.run(lambda: plan_rollout(view), lambda _: None)
    rolled_out = (rollout.verdict,) if rollout else ()
    # the Secret is about to change, and would need another restart
    restart = (rollout.step,) if rollout and rollout.step and not certificate.steps else ()
    dues = isolation.run(
        lambda: (
            *_dues(view, certificate.leaf),
            *_turn(view, rollout),
            *brokers.dues(now),
            *signing.dues,
            *schemas.dues,
        ),
        lambda _: (),
    )
    fault = [faults.verdict(verdicts.READY, error) for error in isolation.errors[:1]]
    summary = verdicts.summed_up([*judged, *fault], ON_ITS_WAY)
    before, generation = identity.status.manifest(), identity.metadata.generation
    # after an error, missing credentials may still exist
    at_brokers = identity.status.brokers if isolation.errors else brokers.statuses
    conditions = (*summary, *judged, *agreed, *rolled_out)
    status = isolation.run(
        lambda: _status(view, conditions, certificate.leaf, at_brokers, foreign=foreign),
        lambda error: faults.not_ready(
            with_closed_edges(before, identity, unapplied, view.registry, now),
            before,
            generation,
            faults.verdict(verdicts.READY, error),
            now,
        ),
    )
    return Plan(
        key,
        identity.metadata.uid,
        steps=(
            *trust.steps,
            *schemas.steps,
            *certificate.steps,
            *brokers.steps,
            *network.steps,
            *signing.steps,
            *restart,
        ),
        status=status,
        previous_status=before,
        due=min((due for due in dues if due > now), default=None),
        passing=verdicts.waits_for(summary, PASSING)
        and all(each.answers for each in brokers.states),
        unapplied=unapplied,
        errors=(*isolation.errors, *foreign.errors[:1]),
    )


def _unapplied(view: View, pending: Narrowing) -> Narrowing:
    """Return the part of a pending narrowing whose edges are closed.

    Once the API server has rejected the write, or another client keeps undoing it, that is all of
    it. Before that, it is the part that is closed already, until the write succeeds. A temporary
    failure of the API server does not count as a rejection.
    """
    if view.secret_barred or pending is UNKNOWN:  # UNKNOWN has no write to try
        return pending
    return pending.within(view.unapplied)


def _plan_network(view: View, *, settling: bool) -> Layer:
    """Return the network layer.

    While `settling`, nothing opens, because the document must be narrowed first.
    """
    type_, ref = "NetworkEnforced", policy_ref(view.identity.ref)
    pending = unsettled(view)
    undenied = tuple(removal("NetworkPolicy", view.deny.fact, view.identity))
    if view.identity.spec.enforcement is Enforcement.OBSERVE:
        verdict = verdicts.true(
            type_,
            "Observing",
            "the NetworkPolicy is planned and reported, but enforcement: Observe does not write it",
        )
        if pending is not None:
            verdict = verdicts.false(type_, pending.reason, pending.message)
        return Layer(verdict, (*removal("NetworkPolicy", view.policy, view.identity), *undenied))
    fault = taken(view.owned_policy, view.identity, view.moment.now)
    if fault is not None and view.domain is not None:
        return Layer(verdicts.false(type_, fault.reason, fault.message))
    situation = situation_of(view)
    before: tuple[Step, ...] = ()
    over = view.kept_from(view.policy)
    if pending is not None:
        verdict = verdicts.false(type_, pending.reason, pending.message)
        if fault is not None or not situation.claims:
            return Layer(verdict)
        compiled, before = unsettled_policy(view, situation)
    elif view.policy is None:
        compiled = compile_policy(situation)
        verdict = verdicts.false(type_, "PolicyPending", "the NetworkPolicy is being written")
    else:
        compiled = compile_policy(situation)
        if settling:
            compiled = without_openings(compiled, view.policy)
            over = view.policy.resource_version
        verdict = verdicts.true(type_, "Enforced", "the NetworkPolicy is in place")
    if pending is None and compiled.overflows:  # `unsettled_policy` adds no peer
        message = (
            f"the peers of this identity do not fit into NetworkPolicy {ref}, so revocations take "
            "effect but new peers do not; divide the workload over several identities, or remove "
            "edges (see docs/limits.md)"
        )
        verdict = verdicts.false(type_, "TooManyPeers", message)
        compiled = compile_policy(replace(situation, edges=without_growth(view).edges))
        if settling and view.policy is not None:
            compiled = without_openings(compiled, view.policy)
    step = Apply(policy_manifest(ref, view.identity, compiled.spec, compiled.live_peers), over=over)
    after = () if before else undenied
    rejected = unwritten(type_, view.owned_policy.write_fault)
    return Layer(rejected or verdict, (*before, step, *after))


def _dues(view: View, leaf: Leaf | None) -> Iterable[datetime]:
    if leaf is not None:
        yield _renewal(view, leaf)
    if view.reissue_wait > timedelta(0):
        yield view.moment.now + view.reissue_wait
    yield from exception_dues(view)
    yield from view.trust_turns
    for seen in (view.owned_secret.seen, view.owned_policy.seen):
        if seen is not None:
            yield seen + FOREIGN_RETRY
    if view.known_authority is not None and view.known_authority.authority is not None:
        yield view.known_authority.authority.not_before
        yield view.known_authority.authority.not_after


def _turn(view: View, rollout: Rollout | None) -> Iterable[datetime]:
    if rollout is not None and rollout.wait is not None:
        yield view.moment.now + rollout.wait


def _renewal(view: View, leaf: Leaf) -> datetime:
    return leaf_due(leaf, view.identity.metadata.uid, view.rotations, view.moment.now)


def _status(
    view: View,
    judged: Iterable[Verdict],
    leaf: Leaf | None,
    brokers: tuple[BrokerCredentialStatus, ...],
    *,
    foreign: Isolation,
) -> dict[str, object]:
    identity, domain = view.identity, view.domain
    edges = edge_statuses(identity, view.edges, view.moment.now, foreign)
    status = ServiceIdentityStatus(
        observed_generation=identity.metadata.generation,
        spiffe_id=None
        if domain is None or view.certificate is None
        else spiffe_id(
            domain.spec.domain,
            identity.ref.namespace,
            identity.spec.workload.service_account_name,
        ),
        certificate=leaf and _certificate_status(view, leaf),
        edges=edges.entries,
        unlisted_edges=edges.unlisted or None,
        brokers=brokers,
        gateway_trusted_since=trusted_since(view),
        claims=accepted_claims(view),
    ).manifest()
    status["conditions"] = verdicts.conditions(
        identity, identity.status.conditions, judged, view.moment.now
    )
    return status


def _certificate_status(view: View, leaf: Leaf) -> CertificateStatus:
    return CertificateStatus(
        fingerprint=short(leaf.fingerprint),
        serial=leaf.serial,
        not_after=leaf.not_after,
        renew_at=_renewal(view, leaf),
        authority=_issuer(view.known_authority, leaf),
    )


def _issuer(known: KnownAuthority | None, leaf: Leaf) -> str:
    """Return the short fingerprint of the authority that signed a leaf, or `unknown`."""
    for slot in (known.authority, known.retiring) if known else ():
        if slot is not None and slot.issued(leaf):
            return short(slot.fingerprint)
    return "unknown"
