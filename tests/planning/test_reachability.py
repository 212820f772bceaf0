"""Exactly what is declared is reachable.

An evaluator of NetworkPolicy's semantics judges the compiled policies against an oracle. The tests
contain both; neither shares code with the operator.
"""

from collections.abc import Iterator
from datetime import timedelta
from itertools import product

from hypothesis import example, given

from tests.broker_plans import settled
from tests.builders import (
    NOW,
    OWN,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    gateway_only,
    identity,
)
from tests.builders import namespace as namespace_of
from tests.messaging_oracle import Brokers, Operation, Place, Uses
from tests.networkpolicy import Network, Pod
from tests.oracle import LABELS, Declared, Opening, place_of
from tests.strategies import APPS, NAMESPACES, PORTS, clusters, more
from tests.trust.topics.test_evaluation import GROUPS, STREAMS, TRIED, everything
from troth.planning.grants.dialects import unsupported
from troth.planning.steps.objects import Apply
from troth.resources.references import Ref

OPENINGS: list[Opening] = [
    *((protocol, number) for _, number, protocol in PORTS.values()),
    ("UDP", 53),
    ("TCP", 53),
    ("TCP", 443),
    ("UDP", 9090),
]
OUTSIDE = [
    Pod("", {}, "203.0.113.9"),
    Pod("", {}, "172.16.0.1"),
    Pod("", {}, "198.51.100.1"),
    Pod("", {}, "2001:db8::9"),
]


def pods(declared: Declared) -> list[Pod]:
    """Return pods that the selectors can tell apart, a few for each namespace, and addresses
    outside.
    """
    inside = []
    for space, namespace in enumerate(NAMESPACES):
        if namespace not in declared.namespaces:
            continue
        wanted = [{"app": app} for app in APPS]
        for place, spec in declared.identities.items():
            if place[0] == namespace and spec["workload"]["podSelector"] != {
                "matchLabels": {"app": place[1]}
            }:
                wanted += LABELS[::3]
        distinct = [dict(each) for each in dict.fromkeys(tuple(sorted(w.items())) for w in wanted)]
        inside += [
            Pod(namespace, labels, f"10.0.{space}.{number}")
            for number, labels in enumerate(distinct, start=1)
        ]
    return inside + OUTSIDE


def compiled(cluster: Cluster) -> list[Manifest]:
    """Return the policies for a cluster that has none yet.

    Gateway-only trust admits nobody before its begin is recorded, so the records come first.
    """
    for key in cluster.keys():  # noqa: SIM118 - not a dict: `keys` is a method of Cluster
        for step in cluster.plan(key).steps:
            if isinstance(step, Apply) and Ref.of(step.manifest).namespace == OWN:
                cluster.carry_out(step)
    return [
        step.manifest
        for key in cluster.keys()  # noqa: SIM118 - not a dict: `keys` is a method of Cluster
        for step in cluster.plan(key).steps
        if isinstance(step, Apply) and step.manifest["kind"] == "NetworkPolicy"
    ]


def pairs(declared: Declared) -> Iterator[tuple[Pod, Pod]]:
    everyone = pods(declared)
    enforced = {id(pod) for pod in everyone if pod.namespace and declared.enforced(pod)}
    for source in everyone:
        for destination in everyone:
            if source is not destination and enforced & {id(source), id(destination)}:
                yield source, destination


def shown(pod: Pod) -> str:
    return f"{pod.namespace}{dict(pod.labels)}@{pod.address}"


LEGACY = [
    domain("red"),
    namespace_of("north", domain="red"),
    identity("b", "north", calls=[call("c", "web")]),
    identity(
        "c",
        "north",
        ports=[("web", 8080)],
        accepts=[accept("b", "web")],
        authentication=gateway_only("b", NOW + timedelta(days=30)),
    ),
]


@more(3)
@given(clusters())
@example(LEGACY)
def test_exactly_the_declared_traffic_is_allowed(manifests: list[Manifest]) -> None:
    declared = Declared.by(manifests, NOW)
    network = Network(declared.namespaces, tuple(compiled(Cluster.of(*manifests))))
    wrong = [
        f"{shown(source)} -> {shown(destination)} {opening}: {'open' if found else 'closed'}"
        for source, destination in pairs(declared)
        for opening in OPENINGS
        if (found := network.lets(source, destination, opening[1], opening[0]))
        != declared.lets(source, destination, opening)
    ]
    assert wrong == []


# Brokers

BROKER_PODS = {"app": "broker"}
CLIENTS = 9092


def within_a_token(manifest: Manifest, manifests: list[Manifest]) -> bool:
    """Return whether a manifest is a TopicPolicy whose prefix its NATS broker cannot express."""
    if manifest["kind"] != "TopicPolicy":
        return False
    prefix, at = manifest["spec"]["topic"].get("prefix", "."), manifest["spec"]["brokerRef"]["name"]
    return not prefix.endswith(".") and any(
        "nats" in each["spec"] and each["metadata"]["name"] == at
        for each in manifests
        if each["kind"] == "MessageBroker"
    )


@more(2)
@given(everything())
def test_only_identities_with_a_live_grant_reach_the_broker(
    declared: tuple[list[Manifest], Uses],
) -> None:
    """Expected: the messaging oracle permits at least one operation."""
    manifests, uses = declared
    manifests = [each for each in manifests if not within_a_token(each, manifests)]
    workload = {
        "podSelector": {"matchLabels": BROKER_PODS},
        "ports": [{"name": "clients", "port": CLIENTS}],
    }
    for manifest in manifests:
        if manifest["kind"] == "MessageBroker":
            manifest["spec"]["workload"] = workload
        if manifest["kind"] == "ServiceIdentity":
            _say(manifest, uses.get(place_of(manifest), ([], [], [])))
    cluster = settled(Cluster.of(*manifests))
    judged, oracle = (
        Declared.by(manifests, NOW),
        Brokers.by(Declared.by(manifests, NOW), manifests, uses),
    )
    network = Network(judged.namespaces, tuple(cluster.policies()))
    served = [
        each
        for each in cluster.world.brokers.messaging.brokers.values()
        if unsupported(each) is None
    ]
    if not served or "east" not in judged.namespaces:
        return
    there = Pod("east", BROKER_PODS, "10.1.0.1")
    for place in judged.identities:
        if place[0] not in judged.namespaces or judged.governor(place[0]) is None:
            continue
        pod = Pod(place[0], {"app": place[1]}, "10.1.0.2")
        granted = any(
            oracle.permits(Operation((each.ref.namespace, each.ref.name), place, *operation))
            for each in served
            for operation in product(("Publish", "Consume", "Review"), TRIED, GROUPS, STREAMS)
        )
        assert network.lets(pod, there, CLIENTS, "TCP") == granted, (place, granted)
        assert not network.lets(pod, there, CLIENTS + 1, "TCP")


def _say(identity: Manifest, named: tuple[list[Place], list[Place], list[Place]]) -> None:
    for field, policies in zip(("publishes", "consumes", "reviews"), named, strict=True):
        identity["spec"][field] = [
            {"policy": {"namespace": namespace, "name": name}}
            for namespace, name in dict.fromkeys(policies)
        ]
