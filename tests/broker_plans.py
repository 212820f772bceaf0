"""Plans about brokers and policies, for tests that need no broker."""

from typing import Any

from tests.builders import Cluster, Manifest
from troth.planning.brokers.view import broker_clients
from troth.planning.grants.view import grants_at
from troth.planning.network.broker_policy import plan_broker_network
from troth.planning.parts import Part
from troth.planning.planner import PLANNERS, plan
from troth.planning.steps.objects import Apply, Remove
from troth.resources.references import Ref
from troth.trust.topics.evaluation import grants_of
from troth.world.facts.broker import Ledger
from troth.world.keys import Key, Keys
from troth.world.reader import Reader


def network_at(cluster: Cluster, ref: Ref) -> Part | None:
    """Return the planned NetworkPolicy of a broker; None if the broker is unreadable."""
    world = cluster.world
    broker = world.brokers.messaging.brokers.get(ref)
    if broker is None:
        return None
    grants = grants_at(broker, world.brokers.ledger(ref) or Ledger(), Reader(world))
    return plan_broker_network(broker_clients(broker, grants, Reader(world)), cluster.now)


def plan_with_inputs(cluster: Cluster, key: Key) -> Any:
    """Return everything planned for a key, and the data from which a plan must follow."""
    world = cluster.world
    found: list[Any] = []
    if key.kind in PLANNERS:
        found.append(plan(key, world, cluster.moment))
    if key.kind == "TopicPolicy":
        found.append(grants_of(world.registry, world.brokers.messaging, key.ref))
    if key.kind == "MessageBroker":
        broker = world.brokers.messaging.brokers.get(key.ref)
        ledger = world.brokers.ledger(key.ref) or Ledger()
        found += [broker and grants_at(broker, ledger, Reader(world)), network_at(cluster, key.ref)]
    return found


def kept_up(cluster: Cluster, ref: Ref) -> Keys:
    """Carry out the planned NetworkPolicy of a broker."""
    network = network_at(cluster, ref)
    affected: Keys = set()
    for step in network.steps if network else ():
        if isinstance(step, Remove) or differs_from(cluster, step):
            affected |= cluster.carry_out(step)
    return affected


def differs_from(cluster: Cluster, step: Any) -> bool:
    assert isinstance(step, Apply)
    place = "NetworkPolicy", Ref.of(step.manifest)
    there: Manifest = cluster.objects.get(place, {})
    return bool(there.get("spec") != step.manifest["spec"])


def settled(cluster: Cluster) -> Cluster:
    """Reconcile identities, domains and brokers' NetworkPolicies until nothing changes any more."""
    for _ in range(6):
        before = cluster.version
        cluster.settle()
        for kind, ref in sorted(cluster.objects):
            if kind == "MessageBroker":
                kept_up(cluster, ref)
        if cluster.version == before:
            return cluster
    raise AssertionError("does not settle")
