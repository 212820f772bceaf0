"""Handlers of objects that are neither resources of Troth nor Secrets."""

from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.handlers.written import take_written
from troth.world.index.services import reaches
from troth.world.keys import Keys, domain_key, identity_key
from troth.world.observation import objects as observe
from troth.world.observation.ledger import broker_of
from troth.world.state import WorldState


def take_service(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a Service; return the affected keys."""
    changed = world.services.take(ref, manifest)
    reached = {
        identity_key(identity)
        for identity in world.registry.identities_in(ref.namespace)
        if any(reaches(service, world.pods_of(identity)) for service in changed)
    }
    return reached | world.webhooks.around_targets(reached)


def take_api_endpoints(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current endpoints of the API server; return the affected keys."""
    world.slices.pop(ref.name, None)
    if manifest is not None:
        world.slices[ref.name] = observe.endpoints(manifest)
    before = world.api_endpoints
    world.api_endpoints = frozenset().union(*world.slices.values())
    if before == world.api_endpoints:
        return set()
    return {identity_key(identity) for identity in world.registry.calling_api()}


def take_config_map(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a ConfigMap that Troth writes; return the affected keys."""
    if broker_of(ref) is not None:
        return world.brokers.take_ledger(ref, manifest)
    after = observe.config_map(manifest) if manifest else None
    world.bundles_in.setdefault(ref.namespace, set()).discard(ref)
    if after is not None:
        world.bundles_in[ref.namespace].add(ref)
    governor = world.registry.governance(ref.namespace).domain
    wanting = {domain_key(governor.metadata.name)} if governor else set()
    return take_written(world, world.bundles, ref, after) | wanting | world.rotating()


def take_schemas(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a ConfigMap with schemas; return the affected keys."""
    return world.schemas.take(ref, manifest, world.brokers.messaging)


def take_report(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a gateway's report; return the affected keys."""
    return world.webhooks.take_report(ref, manifest)


def take_network_policy(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a NetworkPolicy; return the affected keys."""
    after = observe.network_policy(manifest) if manifest else None
    return take_written(world, world.policies, ref, after)


def take_workload(world: WorldState, kind: str, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a workload; return the affected keys."""
    news = world.workloads.take(kind, ref, manifest, world.uptime)
    waiting = world.registry.restarting(kind, ref) if news else frozenset()
    return {*map(identity_key, waiting), *(world.rotating() if waiting else ())}


def take_budget(world: WorldState, ref: Ref, manifest: Manifest | None) -> Keys:
    """Take in the current state of a PodDisruptionBudget; return the affected keys."""
    news = world.workloads.take_budget(ref, manifest)
    return set(map(identity_key, world.registry.restarting_in(ref.namespace) if news else ()))
