"""NetworkPolicy of a broker: who reaches its pods, also while grants are unsettled."""

from datetime import timedelta
from typing import Any

import pytest

from tests.broker_builders import MAIN, market, orders, publisher
from tests.broker_plans import network_at, settled
from tests.builders import NOW, OWN, Cluster, Manifest, identity, key_of, namespace, stamp
from tests.messaging import RABBITMQ, broker, producer
from tests.world.test_broker_invalidation import leaving
from tests.world.test_invalidation import broken
from troth.planning.grants.rules import policy_rules
from troth.planning.network import client_shares
from troth.planning.network.live_peers import PeerRule, Side
from troth.planning.parts import Part
from troth.planning.steps.objects import Apply, Remove
from troth.resources.identity.spec import Protocol
from troth.resources.references import Ref
from troth.world.facts.broker import Ledger
from troth.world.keys import broker_key
from troth.world.observation.ledger import ledger_manifest
from troth.world.outcomes.writes import ForeignFound

PODS = {"matchLabels": {"app": "kafka"}}
WORKLOAD = {"podSelector": PODS, "ports": [{"name": "clients", "port": 9093}]}
PORTS = [{"protocol": "TCP", "port": 9093}]
POLICY = Ref("messaging", "main-troth-broker")


def inside(namespace: str, labels: Manifest) -> list[Manifest]:
    return [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "podSelector": {"matchLabels": labels},
        }
    ]


TO_THE_BROKER = {"to": inside("messaging", {"app": "kafka"}), "ports": PORTS}


def at_home(*manifests: Manifest, **spec: Any) -> Cluster:
    """Return a market whose broker has its pods in the cluster."""
    return market(broker(**{"workload": WORKLOAD} | spec), *manifests)


def network(cluster: Cluster) -> Part:
    found = network_at(cluster, MAIN)
    assert found is not None
    return found


def status(cluster: Cluster) -> Manifest:
    found = cluster.plan(broker_key(MAIN)).status
    assert found is not None
    return dict(found)


def clients(cluster: Cluster) -> list[str]:
    """Return the app labels that the broker's policy admits, besides Troth and the broker's own
    pods.
    """
    spec = settled(cluster).objects["NetworkPolicy", POLICY]["spec"]
    found: list[str] = []
    for rule in spec["ingress"][2:]:
        assert rule["ports"] == PORTS
        found.append(rule["from"][0]["podSelector"]["matchLabels"]["app"])
    return found


def reaching(cluster: Cluster) -> list[str]:
    """Return the apps whose own policy allows egress to the broker's pods."""
    settled(cluster)
    return [
        ref.name.removesuffix("-troth")
        for (kind, ref), each in sorted(cluster.objects.items())
        if kind == "NetworkPolicy" and TO_THE_BROKER in each["spec"].get("egress", [])
    ]


BOTH = ["checkout", "fulfilment"]


def test_only_identities_with_a_live_grant_reach_the_broker() -> None:
    cluster = at_home(identity("other"))
    assert clients(cluster) == reaching(cluster) == BOTH
    cluster.put(publisher("checkout", "elsewhere"))
    assert clients(cluster) == reaching(cluster) == ["fulfilment"]


def test_troth_reaches_the_brokers_ports_and_its_own_pods_reach_all() -> None:
    policy = settled(at_home()).objects["NetworkPolicy", POLICY]
    assert policy["spec"]["podSelector"] == PODS
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"]["ingress"][:2] == [
        {"from": inside("messaging", {"app": "kafka"})},
        {"from": inside(OWN, {"troth.dev/component": "operator"}), "ports": PORTS},
    ]
    (owner,) = policy["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("MessageBroker", "main")


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"mode": "Plan"}, "Observing"),
        ({"mode": "Observe"}, "Observing"),
        ({"workload": None}, "OutsideCluster"),
    ],
)
def test_broker_that_is_not_enforced_or_outside_has_no_policy(spec: Manifest, reason: str) -> None:
    cluster = at_home(**spec)
    assert (network(cluster).verdicts[0].reason, network(cluster).steps) == (reason, ())
    assert reaching(cluster) == []
    there = settled(at_home())
    uid = there.objects["NetworkPolicy", POLICY]["metadata"]["uid"]
    changed: Manifest = {"workload": WORKLOAD} | spec
    there.put(broker(**changed))
    assert network(there).steps == (Remove("NetworkPolicy", POLICY, uid),)


def test_broker_that_changes_to_plan_mode_stays_reachable_for_its_clients() -> None:
    cluster = at_home()
    assert reaching(cluster) == BOTH
    cluster.put(broker(workload=WORKLOAD, mode="Plan"))
    cluster.put(publisher("late"))
    cluster.put(orders(producers=[{"identity": {"name": each}} for each in ("checkout", "late")]))
    assert reaching(cluster) == BOTH
    cluster.put(publisher("checkout", "elsewhere"))
    assert reaching(cluster) == ["fulfilment"]


def test_nothing_is_written_for_an_unsupported_broker() -> None:
    served = network(market(broker(described=RABBITMQ, workload=WORKLOAD)))
    assert (served.verdicts[0].reason, served.steps) == ("Unsupported", ())


# Unsettled grants

RIVAL = identity("rival", account="checkout")
UNSETTLED = {
    "a second identity with its account": [RIVAL],
    "an identity that cannot be read": [broken(publisher())],
    "a policy that cannot be read": [broken(orders())],
    "a second broker with its principals": [broker("twin")],
}
unsettled = pytest.mark.parametrize("what", UNSETTLED.values(), ids=UNSETTLED)


@unsettled
def test_clients_keep_their_access_while_the_grant_is_suspended(what: list[Manifest]) -> None:
    cluster = at_home()
    assert clients(cluster) == reaching(cluster) == BOTH
    for manifest in what:
        cluster.put(manifest)
    assert clients(cluster) == reaching(cluster) == BOTH


@unsettled
def test_nothing_opens_while_the_grant_is_suspended(what: list[Manifest]) -> None:
    cluster = at_home()
    for manifest in what:
        cluster.put(manifest)
    assert "checkout" not in clients(cluster)
    assert "checkout" not in reaching(cluster)


@unsettled
def test_kept_rules_are_written_only_over_the_observed_policy(what: list[Manifest]) -> None:
    """Otherwise a write could restore a rule that somebody removed since."""
    cluster = settled(at_home())
    for manifest in what:
        cluster.put(manifest)
    (step,) = network(cluster).steps
    assert isinstance(step, Apply)
    version = cluster.objects["NetworkPolicy", POLICY]["metadata"]["resourceVersion"]
    assert step.over == version


def test_unreadable_broker_stays_reachable() -> None:
    cluster = at_home()
    assert reaching(cluster) == BOTH
    cluster.put(broken(broker(workload=WORKLOAD)))
    assert reaching(cluster) == BOTH
    cluster.put(publisher("checkout", "elsewhere"))
    assert reaching(cluster) == ["fulfilment"]


def test_broker_of_retained_grants_stays_reachable() -> None:
    cluster = at_home(orders(onDelete="Retain"), retention="Allow")
    assert clients(cluster) == reaching(cluster) == BOTH
    found = cluster.world.brokers.messaging.brokers[MAIN]
    policy = cluster.world.brokers.messaging.policies[Ref("shop", "orders")]
    rules = policy_rules(found, policy)
    cluster.put(ledger_manifest(OWN, found, Ledger(rules)))
    cluster.put(leaving(orders(onDelete="Retain")))
    assert clients(cluster) == reaching(cluster) == BOTH
    cluster.put(ledger_manifest(OWN, found, Ledger(rules, rules)))
    cluster.drop("TopicPolicy", Ref("shop", "orders"))
    assert clients(cluster) == reaching(cluster) == BOTH
    cluster.put(broker(workload=WORKLOAD))
    assert clients(cluster) == reaching(cluster) == [], "its owner does not allow it any more"
    cluster.put(broker(workload=WORKLOAD, retention="Allow"))
    cluster.put(ledger_manifest(OWN, found, Ledger()))
    assert clients(cluster) == reaching(cluster) == []


# Ownership of the name


def test_foreign_policy_of_that_name_is_left_alone() -> None:
    cluster = at_home()
    cluster.world.observe_outcome(ForeignFound("NetworkPolicy", POLICY, NOW))
    found = network(cluster)
    (verdict,), (due,) = found.verdicts, found.dues
    assert (verdict.reason, found.steps) == ("Conflict", ())
    assert due > NOW


def test_broker_and_identity_of_one_name_have_a_policy_each() -> None:
    cluster = settled(
        at_home(namespace("messaging", domain="production"), identity("main", "messaging"))
    )
    assert network(cluster).verdicts[0].reason == "Enforced"
    told = cluster.condition(key_of("main", "messaging"), "NetworkEnforced")
    assert told["reason"] == "Enforced"


# Deletion


def test_terminating_broker_admits_no_client_until_it_is_gone() -> None:
    cluster = at_home()
    assert clients(cluster) == BOTH
    going = leaving(broker(workload=WORKLOAD))
    going["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.put(going)
    (step,) = [each for each in cluster.plan(broker_key(MAIN)).steps if isinstance(each, Apply)]
    assert Ref.of(step.manifest) == POLICY
    assert len(step.manifest["spec"]["ingress"]) == 2  # its own pods, and Troth
    cluster.drop("NetworkPolicy", POLICY)
    assert step in cluster.plan(broker_key(MAIN)).steps


def test_policy_of_a_terminating_broker_is_left_in_a_terminating_namespace() -> None:
    cluster = at_home()
    going = leaving(broker(workload=WORKLOAD))
    going["metadata"]["finalizers"] = ["example.com/hold"]
    cluster.put(going)
    cluster.put(leaving(namespace("messaging", domain="production")))
    steps = cluster.plan(broker_key(MAIN)).steps
    assert not [each for each in steps if isinstance(each, Apply)]


def test_namespace_above_its_share_loses_its_newest_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five clients fit: the namespace with one client keeps it, and the other keeps four."""
    monkeypatch.setattr(client_shares, "ALWAYS_FIT", 1)
    names = [f"shop-{number}" for number in range(9)]
    many = [publisher(name) for name in names]
    for age, each in enumerate(many):
        each["metadata"]["creationTimestamp"] = stamp(NOW - timedelta(hours=age))
    named = [producer(each) for each in names]
    uses = [{"policy": {"name": "orders", "namespace": "shop"}}]
    alone = identity("alone", "legal", publishes=uses)
    cluster = at_home(
        namespace("legal", domain="production"),
        *many,
        alone,
        orders(producers=[*named, producer("alone", namespace="legal")], consumers=[]),
    )
    rules = [each for each in clients(cluster) if each != "alone"]
    assert sorted(rules) == names
    assert "clientsWithoutRoom" not in status(cluster)
    (peer,) = inside("shop", {"app": names[0]})
    ports = {"clients": (Protocol.TCP, 9093)}
    weight = client_shares.weight_of(PeerRule(Side.FROM, Ref("shop", names[0]), peer, ports))
    monkeypatch.setattr(client_shares, "ROOM", 5 * weight + 20)
    assert sorted(clients(cluster)) == ["alone", *names[5:]]
    (verdict,) = network(cluster).verdicts
    assert (verdict.reason, verdict.status) == ("ShareExceeded", "True")
    assert verdict.message == (
        "the NetworkPolicy is in place without 5 clients, because it has no room for all, and "
        "these namespaces use more than their share: shop; the newest identities there cannot "
        "connect; remove their grants, or divide them over several MessageBrokers"
    )
    assert status(cluster)["clientsWithoutRoom"] == [f"shop/{each}" for each in names[:5]]
    monkeypatch.setattr("troth.planning.network.broker_policy.LISTED_CLIENTS", 4)
    assert status(cluster)["clientsWithoutRoom"] == ["shop/*"]
