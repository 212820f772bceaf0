"""Inputs of an identity's plan that follow from declarations alone."""

from datetime import datetime

from troth.planning.faults import ErrorBoundary
from troth.resources.messaging.topic_policy import AcceptedSchemas
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.topics.messaging import Messaging
from troth.trust.edges.candidate import EdgeCandidate
from troth.trust.edges.deliveries import accepted_gateways
from troth.trust.edges.evaluation import Edge, Evaluate, evaluate, evaluate_or_refuse
from troth.trust.edges.gateway_trust import first_accepted, trust_ends


def evaluation(ref: Ref, registry: Registry, foreign: ErrorBoundary) -> Evaluate:
    """Return the evaluation of an identity's edges, with those that only peers declare apart.

    An error of these refuses the one edge and is no fault of the identity.
    """
    mine = registry.declared(ref)

    def judged(candidate: EdgeCandidate) -> Edge:
        inbound = candidate.callee == ref
        peers, peer = (
            (mine.accepts, candidate.caller) if inbound else (mine.calls, candidate.callee)
        )
        if candidate.port in peers.get(peer, ()):
            return evaluate(candidate)
        return foreign.run(lambda: evaluate(candidate), lambda _: evaluate_or_refuse(candidate))

    return judged


def keeps_schemas(ref: Ref, messaging: Messaging) -> bool:
    """Return whether a policy also accepts its previous schema, which only the document has."""
    uses, policies = messaging.uses(ref), messaging.policies
    declared = (policies[each].spec.schema_ for each in uses.policies & policies.keys())
    return any(each is not None and each.accept is AcceptedSchemas.PREVIOUS for each in declared)


def has_unread_webhooks(ref: Ref, registry: Registry) -> bool:
    """Return whether an unreadable endpoint of the namespace may target an identity.

    It may target only one that accepts a gateway. `take_webhook` promises to affect no others.
    """
    if registry.webhooks.first_unread_in(ref.namespace) is None:
        return False
    return any(True for _ in accepted_gateways(registry, ref))


def trust_turns(ref: Ref, edges: tuple[Edge, ...], registry: Registry) -> tuple[datetime, ...]:
    """Return when the gateway-only trust of each callee becomes valid and when it expires.

    This caller's egress opens and closes at these times.
    """
    turns: list[datetime] = []
    for edge in edges:
        callee = registry.identities.get(edge.callee)
        trust = callee.spec.authentication.gateway_only if callee else None
        if edge.caller == ref and trust is not None:
            assert callee is not None
            turns.append(trust.counts_from)
            turns.append(trust_ends(trust.expires_at, first_accepted(callee, registry)))
    return tuple(turns)
