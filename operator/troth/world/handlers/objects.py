"""Handlers of objects that are neither resources of Troth nor Secrets."""

from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.trust_records import recorded_by
from troth.world.change import Change
from troth.world.facts.objects import ISOLATION_POLICY, Content
from troth.world.handlers.written import take_written
from troth.world.index.services import reaches
from troth.world.invalidation import claiming
from troth.world.keys import Keys, domain_key, identity_key
from troth.world.observation import objects as observe
from troth.world.observation.ledger import broker_of
from troth.world.state import WorldState


def take_service(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a Service; return the affected keys."""
    changed = world.services.take(change.ref, change.manifest)
    reached = {
        identity_key(identity)
        for identity in world.registry.identities_in(change.ref.namespace)
        if any(reaches(service, world.pods_of(identity)) for service in changed)
    }
    return reached | world.webhooks.around_targets(reached)


def take_api_endpoints(world: WorldState, change: Change) -> Keys:
    """Take in the current endpoints of the API server; return the affected keys."""
    world.slices.pop(change.ref.name, None)
    if change.manifest is not None:
        world.slices[change.ref.name] = observe.endpoints(change.manifest)
    before = world.api_endpoints
    world.api_endpoints = frozenset().union(*world.slices.values())
    if before == world.api_endpoints:
        return set()
    return {identity_key(identity) for identity in world.registry.calling_api()}


def take_config_map(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a ConfigMap that Troth writes; return the affected keys."""
    if broker_of(change.ref) is not None:
        return world.brokers.take_ledger(change.ref, change.manifest)
    after = observe.config_map(change.manifest) if change.manifest else None
    world.bundles_in.discard(change.ref.namespace, change.ref)
    if after is not None:
        world.bundles_in.add(change.ref.namespace, change.ref)
    recorded = _take_trust_record(world, change.ref, after)
    governor = world.registry.governance(change.ref.namespace).domain
    wanting = {domain_key(governor.metadata.name)} if governor else set()
    return (
        take_written(world, world.bundles, change.ref, after, change.uptime)
        | wanting
        | recorded
        | world.rotating(change.ref.namespace)
    )


def _take_trust_record(world: WorldState, ref: Ref, record: Content | None) -> Keys:
    """Take in a record of gateway-only trust; return the identities it affects, with their peers.

    If its namespace now has room for no other record, or has some again, those are all identities
    there without one.
    """
    place, registry = recorded_by(ref, world.own_namespace), world.registry
    if place is None:
        return set()
    affected, namespace = {place.identity}, place.identity.namespace
    since = observe.first_accepted(record) if record is not None else None
    was_full = registry.trust_records.is_full(namespace)
    if not registry.note_trust_record(place.identity, since, former=place.former):
        return set()
    if registry.trust_records.is_full(namespace) != was_full:
        affected |= _unrecorded(registry, namespace)
    peers = {peer for each in affected for peer in registry.neighbours(each)}
    return set(map(identity_key, affected | peers))


def _unrecorded(registry: Registry, namespace: str) -> set[Ref]:
    """Return the identities of a namespace with gateway-only trust that is not recorded."""
    return {
        ref
        for ref in registry.identities_in(namespace)
        if registry.identities[ref].spec.authentication.gateway_only is not None
        and registry.trust_records.kept(ref) is None
    }


def take_schemas(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a ConfigMap with schemas; return the affected keys."""
    return world.schemas.take(change.ref, change.manifest, world.brokers.messaging)


def take_report(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a gateway's report; return the affected keys."""
    return world.webhooks.take_report(change.ref, change.manifest)


def take_network_policy(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a NetworkPolicy; return the affected keys."""
    after = observe.network_policy(change.manifest) if change.manifest else None
    affected = take_written(world, world.policies, change.ref, after, change.uptime)
    if change.ref.name == ISOLATION_POLICY:  # a domain that is being deleted isolates it too
        affected |= claiming(world.registry, change.ref.namespace)
    return affected


def take_workload(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a workload; return the affected keys."""
    news = world.workloads.take(change.kind, change.ref, change.manifest, change.uptime)
    waiting = world.registry.restarting(change.kind, change.ref) if news else frozenset()
    rotating = world.rotating(change.ref.namespace) if waiting else ()
    return {*map(identity_key, waiting), *rotating}


def take_budget(world: WorldState, change: Change) -> Keys:
    """Take in the current state of a PodDisruptionBudget; return the affected keys."""
    news = world.workloads.take_budget(change.ref, change.manifest)
    return set(
        map(identity_key, world.registry.restarting_in(change.ref.namespace) if news else ())
    )
