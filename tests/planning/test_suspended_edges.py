"""Suspended edges in NetworkPolicies: what was live stays open, and nothing else opens."""

import copy
import json
from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.broker_builders import MAIN, market, publisher
from tests.broker_plans import settled
from tests.builders import NOW, Cluster, Manifest, accept, call, domain, identity, unverified
from tests.messaging import broker
from tests.networkpolicy import Network, Pod
from tests.oracle import Declared, Opening
from tests.planning.test_broker_network import TO_THE_BROKER, WORKLOAD, clients
from tests.standing_oracle import History
from tests.strategies import more
from tests.world.test_invalidation import broken
from troth.planning.network_memory import LIMIT, Memory, PeerRule, Side, fingerprint, read, written
from troth.planning.plan import Apply
from troth.reconcile.execute import needed
from troth.resources.references import Ref
from troth.resources.service_identity import Protocol
from troth.world.facts import LIVE_PEERS

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
    """The ports that a policy opens, by the app label of each peer or by the block."""
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
    """A cluster in which a accepts c on https and admin, and c calls both."""
    return builders.shop(callee(*BOTH), CALLER, *manifests).settle()


def after(cluster: Cluster, *manifests: Manifest) -> Cluster:
    for manifest in manifests:
        cluster.put(manifest)
        cluster.settle()
    return cluster


# No false refusal


@conflicts
def test_port_that_is_withdrawn_closes_no_other_port(conflict: Manifest) -> None:
    cluster = after(live(), conflict, callee("https"))
    assert opened(cluster) == {"c": [8443]}
    assert opened(cluster, "c", "egress")["a"] == [8443]


@conflicts
def test_call_that_is_withdrawn_closes_no_other_port(conflict: Manifest) -> None:
    cluster = after(live(), conflict, identity("c", calls=[call("a", "admin")]))
    assert opened(cluster) == {"c": [9443]}
    assert opened(cluster, "c", "egress")["a"] == [9443]


@conflicts
def test_port_number_that_changes_closes_that_port_alone(conflict: Manifest) -> None:
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
def test_port_added_to_an_unverified_entry_closes_nothing_and_does_not_open(
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


# What was never live does not open

SHARING = [builders.namespace("y", domain="production"), identity("d", "y", account="c")]
CALLING = identity("c", "y", calls=[call("a", namespace="shop")])
FROM_C = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "y"}},
    "podSelector": {"matchLabels": {"app": "c"}},
}


def accepting(*more: Manifest, **spec: Any) -> Manifest:
    return identity("a", ports=["https"], accepts=[accept("c", namespace="y"), *more], **spec)


def test_unverified_rule_is_not_taken_for_that_of_a_suspended_edge() -> None:
    cluster = builders.shop(*SHARING, CALLING, accepting(unverified("https", **FROM_C))).settle()
    assert opened(cluster) == {"c": [8443]}
    assert opened(after(cluster, accepting())) == {}


def test_metrics_rule_is_not_taken_for_that_of_a_suspended_edge() -> None:
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


def test_rule_added_by_hand_is_not_taken_for_that_of_a_suspended_edge() -> None:
    cluster = builders.shop(*SHARING, CALLING, accepting()).settle()
    by_hand = {"from": [FROM_C], "ports": [{"protocol": "TCP", "port": 8443}]}
    after(cluster, edited(cluster, "a", by_hand))
    assert opened(cluster) == {}


@conflicts
def test_port_that_somebody_closed_by_hand_does_not_open_again(conflict: Manifest) -> None:
    cluster = after(live(), conflict)
    policy = copy.deepcopy(policy_of(cluster, "a"))
    policy["spec"]["ingress"][0]["ports"] = [{"protocol": "TCP", "port": 8443}]
    assert opened(after(cluster, policy)) == {"c": [8443]}


def test_edge_is_remembered_until_it_is_withdrawn_and_not_longer() -> None:
    cluster = builders.shop(SHARING[0], CALLING, accepting()).settle()
    after(cluster, SHARING[1])
    assert opened(cluster) == {"c": [8443]}
    after(cluster, identity("a", ports=["https"]), accepting())
    assert opened(cluster) == {}


def test_rule_added_by_hand_is_not_kept_for_a_peer_that_cannot_be_read() -> None:
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


def test_edge_rule_is_not_taken_for_that_of_a_suspended_grant() -> None:
    """The broker's pods carry an identity too, which the client may call."""
    kafka = {
        "pods": WORKLOAD["podSelector"],
        "ports": [("clients", 9093)],
        "accepts": [accept("checkout", "clients", namespace="shop")],
    }
    cluster = market(
        broker(workload=WORKLOAD),
        broker("twin"),  # whose principals are the same: every grant is suspended
        builders.namespace("messaging", domain="production"),
        identity("kafka", "messaging", **kafka),
    )
    calling = publisher("checkout")
    calling["spec"]["calls"] = [call("kafka", "clients", namespace="messaging")]
    settled(after(cluster, calling))
    assert TO_THE_BROKER in policy_of(cluster, "checkout")["spec"]["egress"]
    settled(after(cluster, publisher("checkout")))
    assert TO_THE_BROKER not in policy_of(cluster, "checkout")["spec"]["egress"]


def test_rule_added_by_hand_at_a_broker_is_not_taken_for_that_of_a_suspended_grant() -> None:
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


def test_suspended_edge_that_was_never_live_keeps_no_way_to_the_issuer() -> None:
    asking = callee("https", authentication={"token": {}})
    starting = identity("c", calls=[call("a")], startsTransactions={})
    cluster = after(builders.shop(asking, starting, RIVAL), domain(tokens={}))
    assert 8443 in [port for ports in opened(cluster, "c", "egress").values() for port in ports]
    after(cluster, identity("c", calls=[call("a")]))
    assert 8443 not in [port for ports in opened(cluster, "c", "egress").values() for port in ports]


# The list


def test_list_of_live_peers_is_restored_and_costs_no_write_of_its_own() -> None:
    cluster = live()
    key = builders.key_of("a")
    assert needed(cluster.plan(key), cluster.world) == []
    policy = copy.deepcopy(policy_of(cluster, "a"))
    policy["metadata"]["annotations"][LIVE_PEERS] = "{}"
    cluster.put(policy)
    (step,) = needed(cluster.plan(key), cluster.world)
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
def test_malformed_list_remembers_nothing(text: str) -> None:
    assert read(text) == Memory()
    cluster = after(live(), RIVAL)
    policy = copy.deepcopy(policy_of(cluster, "a"))
    policy["metadata"]["annotations"][LIVE_PEERS] = text
    assert opened(after(cluster, policy)) == {}


def test_list_is_bounded_and_reads_as_it_is_written() -> None:
    rules = [
        PeerRule(Side.FROM, Ref("shop", f"peer-{number:05}"), {}, {"https": (Protocol.TCP, 8443)})
        for number in range(4000)
    ]
    text = written(rules)
    found = read(text).peers[Side.FROM]
    assert len(text) <= LIMIT
    assert 1000 < len(found) < 4000
    assert found[Ref("shop", "peer-00000")] == {fingerprint({}): {"https": (Protocol.TCP, 8443)}}
    assert read(written(rules[:10])).peers[Side.FROM].keys() == {each.ref for each in rules[:10]}


# Identities that begin in conflict


@conflicts
def test_identity_that_begins_in_conflict_is_denied_all_but_the_resolver(
    conflict: Manifest,
) -> None:
    cluster = builders.shop(conflict, callee(*BOTH, accepts=[unverified("https", cidrs=["::/0"])]))
    after(cluster, CALLER)
    spec = policy_of(cluster, "a")["spec"]
    assert spec["podSelector"] == {"matchLabels": {"app": "a"}}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    assert opened(cluster, "a", "egress") == {str({"k8s-app": "kube-dns"}): [53, 53]}


def test_deleted_policy_of_an_identity_in_conflict_is_replaced_by_default_deny() -> None:
    cluster = after(live(), RIVAL)
    cluster.drop("NetworkPolicy", Ref("shop", "a-troth"))
    assert opened(cluster.settle()) == {}


NODES = {"probes": {"cidrs": ["10.0.0.0/24"]}}


@pytest.mark.parametrize(
    ("rival", "found"),
    [
        (RIVAL, {"10.0.0.0/24": [8443]}),
        (identity("rival", pods={"matchLabels": {"tier": "x"}}), {}),
    ],
    ids=["its own pods", "pods that somebody else claims"],
)
def test_probes_are_open_to_an_identity_in_conflict_that_has_its_own_pods(
    rival: Manifest, found: dict[str, list[int]]
) -> None:
    probed = callee(*BOTH, exceptions={"probes": ["https"]})
    cluster = builders.shop(rival, probed)
    assert opened(after(cluster, domain(network=NODES))) == found


def test_exceptions_are_those_that_every_claiming_domain_describes() -> None:
    dns = {"namespace": "dns", "podSelector": {"matchLabels": {"app": "dns"}}, "port": 53}
    rival = copy.deepcopy(USURPER)
    rival["spec"]["network"] = {"probes": {"cidrs": ["10.0.0.0/24", "10.9.0.0/24"]}, "dns": dns}
    cluster = builders.shop(rival, callee(*BOTH, exceptions={"probes": ["https"]}))
    network = {"probes": {"cidrs": ["10.0.0.0/24", "10.8.0.0/24"]}}
    after(cluster, domain(network=network))
    assert opened(cluster) == {"10.0.0.0/24": [8443]}
    assert opened(cluster, "a", "egress") == {}


def test_identity_that_begins_in_conflict_writes_nothing_in_observe_mode_or_over_others() -> None:
    cluster = builders.shop(RIVAL, callee(*BOTH, enforcement="Observe")).settle()
    assert ("NetworkPolicy", Ref("shop", "a-troth")) not in cluster.objects
    cluster = builders.shop(RIVAL, callee(*BOTH))
    cluster.world.note_foreign("NetworkPolicy", Ref("shop", "a-troth"), NOW)
    assert ("NetworkPolicy", Ref("shop", "a-troth")) not in cluster.settle().objects


def test_identity_leaves_its_conflict_with_all_that_is_declared() -> None:
    cluster = builders.shop(RIVAL, callee(*BOTH), CALLER).settle()
    assert opened(cluster) == {}
    cluster.drop("ServiceIdentity", Ref("shop", "rival"))
    assert opened(cluster.settle()) == {"c": [8443, 9443]}


# A pod selector that changes during a conflict

DENY = "NetworkPolicy", Ref("shop", "a-troth-deny")


A_OR_Z = {"key": "app", "operator": "In", "values": ["a", "z"]}
OVERLAPPING = callee(*BOTH, pods={"matchLabels": {"tier": "web"}, "matchExpressions": [A_OR_Z]})
"""With a selector that shares some of its pods with the one before."""


def selecting(**labels: str) -> Manifest:
    return callee(*BOTH, pods={"matchLabels": labels})


def reached(cluster: Cluster, *, caller: Manifest | None = None, **labels: str) -> str:
    spaces = {"shop": {"kubernetes.io/metadata.name": "shop"}}
    network = Network(spaces, tuple(cluster.policies()))
    pod = Pod("shop", labels, "10.0.0.1")
    source = Pod("shop", caller or {"app": "c"}, "10.0.0.2")
    if not network.isolated(pod, "Ingress"):
        return "not enrolled"
    return "open" if network.lets(source, pod, 8443, "TCP") else "denied"


def test_pods_of_both_selectors_stay_open_and_newly_selected_ones_are_denied() -> None:
    cluster = after(live(), RIVAL, OVERLAPPING)
    assert reached(cluster, app="a", tier="web") == "open"
    assert reached(cluster, app="z", tier="web") == "denied"
    assert reached(cluster, app="a") == "not enrolled"
    assert cluster.objects[DENY]["spec"] == {
        "podSelector": OVERLAPPING["spec"]["workload"]["podSelector"],
        "policyTypes": ["Ingress", "Egress"],
    }
    cluster.drop("ServiceIdentity", Ref("shop", "rival"))
    assert reached(cluster.settle(), app="z", tier="web") == "open"
    assert DENY not in cluster.objects


def test_narrowed_selector_needs_no_second_policy() -> None:
    cluster = after(live(), RIVAL, selecting(app="a", tier="web"))
    assert reached(cluster, app="a", tier="web") == "open"
    assert DENY not in cluster.objects


def test_selector_for_other_pods_alone_denies_them() -> None:
    cluster = after(live(), RIVAL, selecting(app="other"))
    assert reached(cluster, app="other") == "denied"
    assert DENY not in cluster.objects
    assert policy_of(cluster, "a")["spec"] == {
        "podSelector": {"matchLabels": {"app": "other"}},
        "policyTypes": ["Ingress", "Egress"],
    }


@pytest.mark.parametrize("why", ["foreign", "refused"])
def test_selector_closes_all_where_the_second_policy_cannot_be_written(why: str) -> None:
    cluster = after(live(), RIVAL)
    if why == "foreign":
        cluster.world.note_foreign(*DENY, NOW)
    else:
        cluster.world.refused[DENY] = "exceeded quota"
    after(cluster, OVERLAPPING)
    assert reached(cluster, app="a", tier="web") == "denied"
    assert reached(cluster, app="z", tier="web") == "denied"


def test_rule_that_leaves_out_the_old_pods_stays_while_the_selector_changes() -> None:
    """The pods of the workload itself are left out of an unverified entry that covers them."""
    visitors = unverified("https", podSelector={"matchLabels": {"role": "visitor"}})
    cluster = after(builders.shop(callee(*BOTH, accepts=[visitors]), CALLER).settle(), RIVAL)
    changed = copy.deepcopy(OVERLAPPING)
    changed["spec"]["accepts"].append(visitors)
    after(cluster, changed)
    visitor = {"app": "x", "role": "visitor"}
    assert reached(cluster, caller=visitor, app="a", tier="web") == "open"
    assert reached(cluster, caller=visitor, app="z", tier="web") == "denied"
    after(cluster, OVERLAPPING)
    assert reached(cluster, caller=visitor, app="a", tier="web") == "denied"


def test_second_policy_goes_in_observe_mode() -> None:
    cluster = after(live(), RIVAL, OVERLAPPING)
    observing = copy.deepcopy(OVERLAPPING)
    observing["spec"]["enforcement"] = "Observe"
    after(cluster, observing)
    assert [each["metadata"]["name"] for each in cluster.policies()] == ["c-troth", "rival-troth"]


def test_second_policy_is_restored() -> None:
    cluster = after(live(), RIVAL, OVERLAPPING)
    cluster.drop(*DENY)
    assert reached(cluster.settle(), app="z", tier="web") == "denied"
    by_hand = copy.deepcopy(cluster.objects[DENY])
    by_hand["spec"]["ingress"] = [{}]
    cluster.put(by_hand)
    assert reached(cluster.settle(), app="z", tier="web") == "denied"


def test_selector_of_a_suspended_caller_keeps_the_pods_of_both() -> None:
    cluster = after(live(), identity("rival", account="c"))
    changed = identity("c", calls=[call("a", *BOTH)], pods={"matchLabels": {"tier": "web"}})
    after(cluster, changed)
    assert reached(cluster, caller={"app": "c", "tier": "web"}, app="a") == "open"
    assert reached(cluster, caller={"tier": "web"}, app="a") == "denied"
    assert reached(cluster, caller={"app": "c"}, app="a") == "denied"


# At random

PLACES = [("north", "a"), ("north", "b"), ("south", "c"), ("south", "d")]
NUMBERS = {"web": (8080, 8081), "grpc": (9090, 9091)}
SELECTORS: dict[str, Manifest] = {
    "app": {},
    "tier": {"matchLabels": {"tier": "front"}},
    "both": {"matchLabels": {"tier": "front"}},
    "any": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b", "c", "d"]}]},
}
UNVERIFIED: list[Manifest] = [
    {"cidrs": ["10.0.1.0/28", "203.0.113.0/24"]},
    {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "south"}},
        "podSelector": {"matchLabels": {"app": "c"}},
    },
    {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "north"}},
        "podSelector": {"matchLabels": {"app": "b"}},
    },
    {"podSelector": {"matchLabels": {"tier": "front"}}},
]
RED = {
    "metrics": {"namespace": "south", "podSelector": {"matchLabels": {"app": "d"}}},
    "probes": {"cidrs": ["10.0.0.0/28", "10.0.1.0/28"]},
}
BLUE = {"metrics": RED["metrics"], "probes": {"cidrs": ["10.0.1.0/28"]}}
OPENINGS: list[Opening] = [("TCP", each) for pair in NUMBERS.values() for each in pair]
PEOPLE = [
    Pod(space, labels, f"10.0.{row}.{column}")
    for row, space in enumerate(("north", "south"))
    for column, labels in enumerate(
        [
            *({"app": each} for each in "abcd"),
            *({"app": each, "tier": "front"} for each in "abcd"),
            {"tier": "front"},
        ],
        start=1,
    )
]
OUTSIDE = [Pod("", {}, "203.0.113.9"), Pod("", {}, "192.0.2.1")]

Fact = tuple[str, ...]
"""One thing that somebody declares: `(namespace, name, field, value, ...)`, or `("overlap",)`."""

_places = st.sampled_from(PLACES)
_ports = st.sampled_from(tuple(NUMBERS))
CONFLICTS = st.one_of(
    st.just(("overlap",)),
    st.tuples(_places, st.just("account")).map(lambda it: (*it[0], it[1])),
    st.tuples(_places, st.just("pods"), st.sampled_from(tuple(SELECTORS))).map(
        lambda it: (*it[0], *it[1:])
    ),
)
DECLARATIONS = st.one_of(
    st.tuples(_places, st.sampled_from(("accepts", "calls")), _places, _ports).map(
        lambda it: (*it[0], it[1], *it[2], it[3])
    ),
    st.tuples(_places, st.just("unverified"), st.sampled_from("0123"), _ports).map(
        lambda it: (*it[0], *it[1:])
    ),
    st.tuples(_places, st.sampled_from(("metrics", "probes", "number")), _ports).map(
        lambda it: (*it[0], *it[1:])
    ),
    st.tuples(_places, st.just("observe")).map(lambda it: (*it[0], it[1])),
)
EDGES = st.tuples(_places, _places, _ports).map(
    lambda it: [(*it[0], "accepts", *it[1], it[2]), (*it[1], "calls", *it[0], it[2])]
)
BY_HAND = st.tuples(st.just("hand"), _places, st.sampled_from(PLACES), st.sampled_from(OPENINGS))


def manifests_of(facts: set[Fact]) -> list[Manifest]:
    """Everything that is declared, of a set of facts."""
    there = [
        domain("red", namespaceSelector={"matchLabels": {"domain": "red"}}, network=RED),
        *(builders.namespace(each, domain="red") for each in ("north", "south")),
    ]
    if ("overlap",) in facts:
        selector = {"matchLabels": {"domain": "red"}}
        there.append(domain("blue", namespaceSelector=selector, network=BLUE))
    return [*there, *(_identity(place, facts) for place in PLACES)]


def _identity(place: tuple[str, str], facts: set[Fact]) -> Manifest:
    mine = sorted(fact[2:] for fact in facts if fact[:2] == place)
    space, name = place
    sibling = next(each for each in PLACES if each[0] == space and each != place)
    chosen = [fact[1] for fact in mine if fact[0] == "pods"]
    pods = copy.deepcopy(SELECTORS[chosen[0]]) if chosen else {}
    if not pods or chosen[0] == "both":
        pods.setdefault("matchLabels", {})["app"] = name
    numbers = {port: pair[("number", port) in mine] for port, pair in NUMBERS.items()}
    asked = {kind: [f[1] for f in mine if f[0] == kind] for kind in ("metrics", "probes")}
    return identity(
        name,
        space,
        ports=list(numbers.items()),
        account=sibling[1] if ("account",) in mine else "",
        pods=pods,
        accepts=[
            *(accept(f[2], f[3], namespace=f[1]) for f in mine if f[0] == "accepts"),
            *(unverified(f[2], **UNVERIFIED[int(f[1])]) for f in mine if f[0] == "unverified"),
        ],
        calls=[call(f[2], f[3], namespace=f[1]) for f in mine if f[0] == "calls"],
        exceptions=asked,
        enforcement="Observe" if ("observe",) in mine else "Enforce",
    )


def by_hand(cluster: Cluster, act: Any) -> None:
    """Somebody adds to a policy a rule for an identity's pods."""
    _, (space, name), (there, peer), (protocol, number) = act
    place = "NetworkPolicy", Ref(space, f"{name}-troth")
    if place not in cluster.objects:
        return
    policy = copy.deepcopy(cluster.objects[place])
    described = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": there}},
        "podSelector": {"matchLabels": {"app": peer}},
    }
    ports = [{"protocol": protocol, "port": number}]
    for side, which in (("ingress", "from"), ("egress", "to")):
        policy["spec"].setdefault(side, []).append({which: [described], "ports": ports})
    cluster.put(policy)


def wrong(cluster: Cluster, history: History) -> list[str]:
    network = Network(history.declared.namespaces, tuple(cluster.policies()))
    found = []
    for direction, pod, peer, opening in product(
        ("Ingress", "Egress"), PEOPLE, (*PEOPLE, *OUTSIDE), OPENINGS
    ):
        is_open = network.allows(direction, pod, peer, opening[1], opening[0])
        way = f"{direction} {pod.namespace}{pod.labels} {peer.namespace}{peer.labels} {opening}"
        if is_open and not history.may(direction, pod, peer, opening):
            found.append(f"{way} is open")
        if not is_open and history.must(direction, pod, peer, opening):
            found.append(f"{way} is closed")
    return found


@more(1)
@given(
    st.lists(EDGES, min_size=1, max_size=5),
    st.lists(DECLARATIONS, max_size=4),
    st.lists(
        st.lists(st.one_of(CONFLICTS, CONFLICTS, DECLARATIONS, BY_HAND), min_size=1, max_size=2),
        min_size=1,
        max_size=4,
    ),
)
def test_what_was_live_stays_open_in_every_conflict_and_nothing_else_opens(
    edges: list[list[Fact]], others: list[Fact], changes: list[list[Any]]
) -> None:
    facts = {fact for pair in edges for fact in pair} | set(others)
    cluster, history = Cluster(), History()
    declared: list[Manifest] = []
    for change in [[], *changes]:
        facts ^= {act for act in change if act[0] != "hand"}
        before, declared = declared, manifests_of(facts)
        for gone in before:
            if gone["kind"] == "TrustDomain" and gone not in declared:
                cluster.drop("TrustDomain", Ref("", gone["metadata"]["name"]))
        for manifest in declared:
            if manifest not in before:
                cluster.put(manifest)
        cluster.settle()
        for act in change:
            if act[0] == "hand":
                by_hand(cluster, act)
        cluster.settle()
        history.happens(Declared.by(declared, NOW))
        assert wrong(cluster, history) == []
