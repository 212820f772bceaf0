"""The fields that declare an edge or a grant."""

from collections.abc import Iterator

from troth.cli.grants.report import Granted
from troth.resources.faults import Step
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.edges.evaluation import Edge
from troth.trust.topics.candidate import consent_to
from troth.world.world import World


def edge_steps(edge: Edge, registry: Registry) -> list[tuple[Ref, tuple[Step, ...]]]:
    """Return the identities that declare an edge, the caller first, each with the field."""
    ends: list[tuple[Ref, tuple[Step, ...]]] = []
    caller, callee = (registry.identities.get(ref) for ref in (edge.caller, edge.callee))
    for position, call in enumerate(caller.spec.calls if caller else ()):
        named = call.to and call.to.seen_from(edge.caller.namespace)
        if named == edge.callee and edge.port in call.ports:
            ends.append((edge.caller, ("spec", "calls", position)))
    for position, accepted in enumerate(callee.spec.accepts if callee else ()):
        named = accepted.from_ and accepted.from_.seen_from(edge.callee.namespace)
        if named == edge.caller and edge.port in accepted.ports:
            ends.append((edge.callee, ("spec", "accepts", position)))
    return ends


def grant_steps(grant: Granted, world: World) -> list[tuple[str, Ref, tuple[Step, ...]]]:
    """Return the objects that declare a grant, the identity first, each with the field."""
    return [*_of_identity(grant, world), *_of_policy(grant, world)]


def _of_identity(grant: Granted, world: World) -> Iterator[tuple[str, Ref, tuple[Step, ...]]]:
    identity = world.registry.identities.get(grant.identity)
    if identity is None:
        return
    name = consent_to(grant.entry)
    for position, use in enumerate(getattr(identity.spec, name)):
        if use.policy.seen_from(grant.identity.namespace) == grant.policy:
            yield "ServiceIdentity", grant.identity, ("spec", name, position)


def _of_policy(grant: Granted, world: World) -> Iterator[tuple[str, Ref, tuple[Step, ...]]]:
    policy = world.brokers.messaging.policies.get(grant.policy)
    if policy is None:
        return
    spec, here = policy.spec, grant.policy.namespace
    letters, publishing = spec.dead_letter, consent_to(grant.entry) == "publishes"
    if grant.entry.purpose.is_of_reviewer:
        if letters and letters.reviewer and letters.reviewer.seen_from(here) == grant.identity:
            yield "TopicPolicy", grant.policy, ("spec", "deadLetter", "reviewer")
        return
    name = "producers" if publishing else "consumers"
    entries = spec.producers if publishing else spec.consumers
    for position, identity in enumerate(each.identity for each in entries):
        if identity.seen_from(here) == grant.identity:
            yield "TopicPolicy", grant.policy, ("spec", name, position)
