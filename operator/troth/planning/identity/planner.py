"""The plan of a `ServiceIdentity`: its Secrets, NetworkPolicy, restarts and status."""

from dataclasses import replace

from troth.planning import verdicts
from troth.planning.faults import ErrorBoundary
from troth.planning.identity.claims import plan_claims
from troth.planning.identity.credentials.at_brokers import (
    plan_broker_credentials,
)
from troth.planning.identity.credentials.webhook_signing import plan_webhook_signing
from troth.planning.identity.edge_status import plan_edges, with_closed_edges
from troth.planning.identity.facts import IdentityView, View
from troth.planning.identity.gateway_only import plan_gateway_trust
from troth.planning.identity.messages.schema_files import plan_schema_files
from troth.planning.identity.network import plan_network
from troth.planning.identity.restarts import plan_restarts
from troth.planning.identity.secret.planner import UNKNOWN, plan_certificate, plan_renewal
from troth.planning.identity.terminating import plan_terminating_identity
from troth.planning.identity.tokens import plan_tokens
from troth.planning.identity.trust_record import plan_without_identity, recorded
from troth.planning.identity.unverified import plan_unverified
from troth.planning.parts import assemble
from troth.planning.plan import Plan
from troth.trust.declarations.narrowing import Narrowing


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
    identity, now = view.identity, view.moment.now
    trust = plan_gateway_trust(view)
    view = trust.applied(view)
    certificate = plan_certificate(view)
    closing = _closing(view, certificate.narrowing)
    if closing != view.unapplied:
        view = replace(view, unapplied=closing)
    foreign = ErrorBoundary([*view.foreign_errors])
    parts = (
        trust,
        plan_schema_files(view),
        certificate,
        plan_renewal(view),
        plan_broker_credentials(view),
        plan_network(view, settling=certificate.narrowing != closing),
        plan_webhook_signing(view),
        plan_restarts(view, changing=bool(certificate.steps)),
        plan_tokens(view),
        plan_unverified(view),
        plan_claims(view),
        plan_edges(view, foreign),
    )
    plan = assemble(
        known.key,
        identity,
        parts,
        now,
        errors=view.errors,
        unreported=lambda: with_closed_edges(
            identity.status.manifest(), identity, closing, view.registry, now
        ),
    )
    return replace(plan, unapplied=closing, errors=(*plan.errors, *foreign.errors[:1]))


def _closing(view: View, pending: Narrowing) -> Narrowing:
    """Return the part of a pending narrowing whose edges are closed.

    Once the API server has rejected the write, or another client keeps undoing it, that is all of
    it. Before that, it is the part that is closed already, until the write succeeds. A temporary
    failure of the API server does not count as a rejection.
    """
    if view.secret_barred or pending is UNKNOWN:  # UNKNOWN has no write to try
        return pending
    return pending.within(view.unapplied)
