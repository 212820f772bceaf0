"""Suspended edges in NetworkPolicies: live traffic stays open, and nothing else opens."""

import copy
import json
from collections.abc import Iterable
from typing import Any

import pytest

from tests import builders
from tests.broker_builders import MAIN, market, publisher
from tests.broker_plans import settled
from tests.builders import Cluster, Manifest, accept, call, domain, identity, unverified
from tests.messaging import broker
from tests.planning.network.test_broker_policy import PODS, TO_THE_BROKER, WORKLOAD, clients
from tests.world.test_invalidation import broken
from troth.planning.network.live_peers import (
    LIMIT,
    Memory,
    PeerRule,
    Side,
    fingerprint,
    read,
    written,
)
from troth.planning.steps.objects import Apply
from troth.resources.identity.spec import Protocol
from troth.resources.references import Ref
from troth.world.facts.objects import LIVE_PEERS

PORTS = [("https", 8443), ("admin", 9443)]
BOTH = ["https", "admin"]
RIVAL = identity("rival", account="a")
USURPER = domain("usurper", namespaceSelector={"matchLabels": {"domain": "production"}})
SHARED = "the callee's account is shared"
TORN = "two domains claim the namespace"
conflicts = pytest.mark.parametrize("conflict", [RIVAL, USURPER], ids=[SHARED, TORN])


def policy_of(cluster: Cluster, name: str, namespace: str = "shop") -> Manifest:
    return cluster.objects["NetworkPolicy", Ref(namespace, f"{name}-troth")]


def opened(
    cluster: Cluster, name: str = "a", direction: str = "ingress", namespace: str = "shop"
) -> dict[str, list[int]]:
    """Return the ports that a policy opens, by the app label of each peer or by the CIDR block."""
    found: dict[str, list[int]] = {}
    side = "from" if direction == "ingress" else "to"
    for rule in policy_of(cluster, name, namespace)["spec"].get(direction, []):
        (peer,) = rule[side]
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        who = peer["ipBlock"]["cidr"] if "ipBlock" in peer else labels.get("app", str(labels))
        found.setdefault(who, []).extend(port["port"] for port in rule["ports"])
    return found


def callee(*ports: str, numbers: Iterable[Any] = PORTS, **more: Any) -> Manifest:
    accepts = [accept("c", *ports), *more.pop("accepts", [])] if ports else more.pop("accepts", [])
    return identity("a", ports=numbers, accepts=accepts, **more)


CALLER = identity("c", calls=[call("a", *BOTH)])


def live(*manifests: Manifest) -> Cluster:
    """Return a cluster in which a accepts c on https and admin, and c calls both."""
    return builders.shop(callee(*BOTH), CALLER, *manifests).settle()


def after(cluster: Cluster, *manifests: Manifest) -> Cluster:
    for manifest in manifests:
        cluster.put(manifest)
        cluster.settle()
    return cluster


# Live edges stay open


@conflicts
def test_withdrawn_port_closes_no_other_port(conflict: Manifest) -> None:
    cluster = after(live(), conflict, callee("https"))
    assert opened(cluster) == {"c": [8443]}
    assert opened(cluster, "c", "egress")["a"] == [8443]


@conflicts
def test_withdrawn_call_closes_no_other_port(conflict: Manifest) -> None:
    cluster = after(live(), conflict, identity("c", calls=[call("a", "admin")]))
    assert opened(cluster) == {"c": [9443]}
    assert opened(cluster, "c", "egress")["a"] == [9443]


@conflicts
def test_changed_port_number_closes_that_port_alone(conflict: Manifest) -> None:
    cluster = after(live(), conflict, callee(*BOTH, numbers=[("https", 8443), ("admin", 9999)]))
    assert opened(cluster) == {"c": [8443]}
    assert opened(cluster, "c", "egress")["a"] == [8443]


@conflicts
@pytest.mark.parametrize(
    ("peer", "who"),
    [
        ({"cidrs": ["203.0.113.0/24"]}, "203.0.113.0/24"),
        ({"podSelector": {"matchLabels": {"app": "visitor"}}}, "visitor"),
    ],
    ids=["block", "pods"],
)
def test_port_added_to_an_unverified_entry_closes_and_opens_nothing(
    conflict: Manifest, peer: Manifest, who: str
) -> None:
    before = callee(*BOTH, accepts=[unverified("https", **peer)])
    cluster = after(builders.shop(before, CALLER).settle(), conflict)
    after(cluster, callee(*BOTH, accepts=[unverified("https", "admin", **peer)]))
    assert opened(cluster) == {"c": [8443, 9443], who: [8443]}


@conflicts
def test_port_added_to_a_call_outside_the_cluster_closes_nothing(conflict: Manifest) -> None:
    def calling(*ports: int) -> Manifest:
        return callee(*BOTH, calls=[builders.external("198.51.100.0/24", ports=ports)])

    cluster = after(builders.shop(calling(443), CALLER).settle(), conflict, calling(443, 444))
    assert opened(cluster, "a", "egress")["198.51.100.0/24"] == [443]


# Edges that were never live do not open

SHARING = [builders.namespace("y", domain="production"), identity("d", "y", account="c")]
CALLING = identity("c", "y", calls=[call("a", namespace="shop")])
FROM_C = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "y"}},
    "podSelector": {"matchLabels": {"app": "c"}},
}


def accepting(*more: Manifest, **spec: Any) -> Manifest:
    return identity("a", ports=["https"], accepts=[accept("c", namespace="y"), *more], **spec)


def test_unverified_rule_does_not_count_for_a_suspended_edge() -> None:
    cluster = builders.shop(*SHARING, CALLING, accepting(unverified("https", **FROM_C))).settle()
    assert opened(cluster) == {"c": [8443]}
    assert opened(after(cluster, accepting())) == {}


def test_metrics_rule_does_not_count_for_a_suspended_edge() -> None:
    metrics = {"metrics": {"namespace": "y", "podSelector": FROM_C["podSelector"]}}
    scraped = accepting(exceptions={"metrics": ["https"]})
    cluster = builders.shop(*SHARING, CALLING, scraped)
    after(cluster, domain(network=metrics))
    assert opened(cluster) == {"c": [8443]}
    assert opened(after(cluster, accepting())) == {}


def edited(cluster: Cluster, name: str, rule: Manifest) -> Manifest:
    policy = copy.deepcopy(policy_of(cluster, name))
    policy["spec"].setdefault("ingress", []).append(rule)
    return policy


def test_rule_added_by_hand_does_not_count_for_a_suspended_edge() -> None:
    cluster = builders.shop(*SHARING, CALLING, accepting()).settle()
    by_hand = {"from": [FROM_C], "ports": [{"protocol": "TCP", "port": 8443}]}
    after(cluster, edited(cluster, "a", by_hand))
    assert opened(cluster) == {}


@conflicts
def test_port_that_somebody_closed_by_hand_does_not_reopen(conflict: Manifest) -> None:
    cluster = after(live(), conflict)
    policy = copy.deepcopy(policy_of(cluster, "a"))
    policy["spec"]["ingress"][0]["ports"] = [{"protocol": "TCP", "port": 8443}]
    assert opened(after(cluster, policy)) == {"c": [8443]}


def test_edge_is_remembered_exactly_until_it_is_withdrawn() -> None:
    cluster = builders.shop(SHARING[0], CALLING, accepting()).settle()
    after(cluster, SHARING[1])
    assert opened(cluster) == {"c": [8443]}
    after(cluster, identity("a", ports=["https"]), accepting())
    assert opened(cluster) == {}


def test_rule_added_by_hand_is_not_kept_for_an_unreadable_peer() -> None:
    zoo = identity("zoo")  # it never called a
    cluster = after(builders.shop(callee(accepts=[accept("zoo")])).settle(), zoo, broken(zoo))
    anyone = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}},
        "podSelector": {"matchLabels": {"app": "anyone"}},
    }
    by_hand = {"from": [anyone], "ports": [{"protocol": "TCP", "port": 8443}]}
    after(cluster, edited(cluster, "a", by_hand))
    assert opened(cluster) == {}


def test_unreadable_callee_keeps_the_ports_that_are_still_called() -> None:
    cluster = after(live(), broken(callee(*BOTH)))
    assert opened(cluster, "c", "egress")["a"] == [8443, 9443]
    after(cluster, identity("c", calls=[call("a", "https")]))
    assert opened(cluster, "c", "egress")["a"] == [8443]


def test_edge_rule_does_not_count_for_a_suspended_grant() -> None:
    """The broker's pods also belong to an identity that the client may call."""
    kafka = identity(
        "kafka",
        "messaging",
        pods=PODS,
        ports=[("clients", 9093)],
        accepts=[accept("checkout", "clients", namespace="shop")],
    )
    cluster = market(
        broker(workload=WORKLOAD),
        broker("twin"),  # same principals: every grant is suspended
        builders.namespace("messaging", domain="production"),
        kafka,
    )
    calling = publisher("checkout")
    calling["spec"]["calls"] = [call("kafka", "clients", namespace="messaging")]
    settled(after(cluster, calling))
    assert TO_THE_BROKER in policy_of(cluster, "checkout")["spec"]["egress"]
    settled(after(cluster, publisher("checkout")))
    assert TO_THE_BROKER not in policy_of(cluster, "checkout")["spec"]["egress"]


def test_rule_added_at_a_broker_does_not_count_for_a_suspended_grant() -> None:
    cluster = market(broker(workload=WORKLOAD), broker("twin"))
    assert clients(cluster) == []
    place = "NetworkPolicy", Ref(MAIN.namespace, f"{MAIN.name}-troth-broker")
    policy = copy.deepcopy(cluster.objects[place])
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}},
        "podSelector": {"matchLabels": {"app": "checkout"}},
    }
    ports = [{"protocol": "TCP", "port": 9093}]
    policy["spec"]["ingress"].append({"from": [peer], "ports": ports})
    cluster.put(policy)
    assert clients(cluster) == []


def test_suspended_edge_that_was_never_live_keeps_no_egress_to_the_issuer() -> None:
    asking = callee("https", authentication={"token": {}})
    starting = identity("c", calls=[call("a")], startsTransactions={})
    cluster = after(builders.shop(asking, starting, RIVAL), domain(tokens={}))
    assert 8443 in [port for ports in opened(cluster, "c", "egress").values() for port in ports]
    after(cluster, identity("c", calls=[call("a")]))
    assert 8443 not in [port for ports in opened(cluster, "c", "egress").values() for port in ports]


# The live-peers annotation


def test_list_of_live_peers_is_restored_and_needs_no_write_of_its_own() -> None:
    cluster = live()
    key = builders.key_of("a")
    assert cluster.plan(key).pending(cluster.world) == []
    policy = copy.deepcopy(policy_of(cluster, "a"))
    policy["metadata"]["annotations"][LIVE_PEERS] = "{}"
    cluster.put(policy)
    (step,) = cluster.plan(key).pending(cluster.world)
    assert isinstance(step, Apply)
    assert json.loads(step.manifest["metadata"]["annotations"][LIVE_PEERS])["from"].keys() == {
        "shop/c"
    }


@conflicts
def test_list_of_live_peers_survives_a_restart(conflict: Manifest) -> None:
    cluster = after(live(), conflict)
    again = Cluster()
    for manifest in cluster.objects.values():
        again.see(manifest)
    assert opened(again.settle()) == opened(cluster) == {"c": [8443, 9443]}
    assert again.objects == cluster.objects


@pytest.mark.parametrize("text", ["", "{", "[]", '{"from":{"c":{}}}', '{"more":{}}', "[" * 9999])
def test_malformed_list_is_read_as_empty(text: str) -> None:
    assert read(text) == Memory()
    cluster = after(live(), RIVAL)
    policy = copy.deepcopy(policy_of(cluster, "a"))
    policy["metadata"]["annotations"][LIVE_PEERS] = text
    assert opened(after(cluster, policy)) == {}


def test_list_is_bounded_and_reads_back_as_written() -> None:
    rules = [
        PeerRule(Side.FROM, Ref("shop", f"peer-{number:05}"), {}, {"https": (Protocol.TCP, 8443)})
        for number in range(6000)
    ]
    made = written(rules)
    found = read(made.text).peers[Side.FROM]
    assert len(made.text) <= LIMIT
    assert not made.is_complete
    assert 3000 < len(found) < 6000
    assert found[Ref("shop", "peer-00000")] == {fingerprint({}): {"https": (Protocol.TCP, 8443)}}
    assert written(rules[:3000]).is_complete
    assert read(written(rules[:10]).text).peers[Side.FROM].keys() == {
        each.ref for each in rules[:10]
    }
