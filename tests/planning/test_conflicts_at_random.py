"""Random conflicts: every live edge stays open, and nothing else opens."""

import copy
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import NOW, Cluster, Manifest, accept, call, domain, identity, unverified
from tests.networkpolicy import Network, Pod
from tests.open_traffic_oracle import History
from tests.oracle import Declared, Opening
from tests.strategies import more
from troth.resources.references import Ref

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
"""One declared fact: `(namespace, name, field, value, ...)`, or `("overlap",)`."""

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
    """Return the manifests for a set of facts."""
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
    """Add by hand a rule for an identity's pods to a policy."""
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
def test_every_conflict_keeps_live_edges_open_and_opens_nothing_else(
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
