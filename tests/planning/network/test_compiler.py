"""What a compiled policy looks like, and what becomes of it while something is unsettled."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.builders import (
    NOW,
    OWN,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    identity,
    key_of,
    namespace,
)
from tests.networkpolicy import Network
from tests.oracle import Declared
from tests.planning.test_reachability import OPENINGS, compiled, pairs, shown
from tests.strategies import clusters, more, subset
from troth.planning.steps.objects import Apply
from troth.resources.references import Ref

RESOURCES = ("TrustDomain", "ServiceIdentity")


def rules(policy: Manifest) -> list[Manifest]:
    spec = policy["spec"]
    return [*spec.get("ingress", []), *spec.get("egress", [])]


def policy_of(cluster: Cluster, name: str = "payments", namespace: str = "shop") -> Manifest:
    return cluster.objects["NetworkPolicy", Ref(namespace, f"{name}-troth")]


def ingress(cluster: Cluster, name: str = "payments", namespace: str = "shop") -> list[Any]:
    """Who may enter: the peers of each ingress rule by their app label."""
    return [
        rule["from"][0]["podSelector"]["matchLabels"]["app"]
        for rule in policy_of(cluster, name, namespace)["spec"].get("ingress", [])
    ]


# Shape


def normalised(spec: Manifest) -> Manifest:
    """A spec as the API server answers it: defaults written, what is empty left out.

    After k8s.io/kubernetes/pkg/apis/networking/v1/defaults.go and the `omitempty` of
    k8s.io/api/networking/v1.
    """
    stored = copy.deepcopy(spec)
    for side in ("ingress", "egress"):
        for rule in stored.get(side, []):
            for port in rule.get("ports", []):
                port.setdefault("protocol", "TCP")
            for part in ("from", "to", "ports"):
                if not rule.get(part):
                    rule.pop(part, None)
        if not stored.get(side):
            stored.pop(side, None)
    stored.setdefault("policyTypes", ["Ingress", "Egress"] if stored.get("egress") else ["Ingress"])
    return stored


@given(clusters())
def test_a_policy_is_what_the_api_server_answers_after_storing_it(
    manifests: list[Manifest],
) -> None:
    for policy in compiled(Cluster.of(*manifests)):
        assert normalised(policy["spec"]) == policy["spec"]


@given(clusters())
def test_policies_keep_to_what_every_enforcer_agrees_on(manifests: list[Manifest]) -> None:
    for policy in compiled(Cluster.of(*manifests)):
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert policy["spec"]["podSelector"]
        for rule in rules(policy):
            (peer,) = rule.get("from") or rule["to"]
            assert peer.keys() <= {"namespaceSelector", "podSelector"} or peer.keys() == {"ipBlock"}
            assert all(peer.values()), "an empty selector selects everything"
            assert rule["ports"], "no ports are all ports"
            for port in rule["ports"]:
                assert port.keys() == {"protocol", "port"}
                assert isinstance(port["port"], int)


@given(clusters(), st.randoms(use_true_random=False))
def test_what_is_compiled_does_not_depend_on_the_order_of_arrival(
    manifests: list[Manifest], random: Any
) -> None:
    shuffled = list(manifests)
    random.shuffle(shuffled)
    first, second = (
        {Ref.of(policy): policy["spec"] for policy in compiled(Cluster.of(*each))}
        for each in (manifests, shuffled)
    )
    assert first == second


@given(clusters())
def test_a_policy_that_is_in_place_is_compiled_to_itself(manifests: list[Manifest]) -> None:
    cluster = Cluster.of(*manifests).settle()
    for policy in cluster.policies():
        owner = policy["metadata"]["labels"]["troth.dev/owner-name"]
        plan = cluster.plan(key_of(owner, policy["metadata"]["namespace"]))
        wanted = [
            step.manifest["spec"]
            for step in plan.steps
            if isinstance(step, Apply) and step.manifest["kind"] == "NetworkPolicy"
        ]
        assert wanted == [policy["spec"]]


# Edits by hand


@st.composite
def edits(draw: st.DrawFn, policy: Manifest) -> Manifest:
    """A policy of Troth's as somebody's hand left it."""
    edited = copy.deepcopy(policy)
    spec = edited["spec"]
    how = draw(st.sampled_from(("drop", "open", "ports", "peers", "types", "pods", "swap")))
    side = draw(st.sampled_from(("ingress", "egress")))
    listed = spec.get(side) or []
    rule = draw(st.sampled_from(listed)) if listed else None
    match how:
        case "drop":
            spec.pop(side, None)
        case "open":
            spec[side] = [{}]
        case "ports" if rule:
            rule.pop("ports", None)
        case "peers" if rule:
            rule.pop("from", None)
            rule.pop("to", None)
        case "types":
            spec["policyTypes"] = ["Ingress"]
        case "pods":
            spec["podSelector"] = draw(
                st.sampled_from(({}, {"matchLabels": {"app": "nobody"}}, {"matchLabels": {}}))
            )
        case "swap":
            other = policy["spec"].get("egress" if side == "ingress" else "ingress") or []
            spec[side] = [*listed, *({"ports": each["ports"]} for each in other)]
    return edited


@more(2)
@given(clusters(), st.data())
def test_no_edit_by_hand_survives_the_plan(manifests: list[Manifest], data: st.DataObject) -> None:
    """Also with rules that are kept while an edge is suspended: nothing wider than declared.

    What comes later often makes a conflict, with policies of the time before in place.
    """
    later = data.draw(subset([each for each in manifests if each["kind"] in RESOURCES]))
    cluster = Cluster.of(*(each for each in manifests if each not in later)).settle()
    for manifest in later:
        cluster.put(manifest)
    cluster.settle()
    undisturbed = cluster.policies()
    if not undisturbed:
        return
    for policy in data.draw(st.lists(st.sampled_from(undisturbed), min_size=1, max_size=3)):
        cluster.put(data.draw(edits(policy)))
    cluster.settle()
    declared = Declared.by(manifests, NOW, suspended_too=True)
    network = Network(declared.namespaces, tuple(cluster.policies()))
    wider = [
        f"{shown(source)} -> {shown(destination)} {opening}"
        for source, destination in pairs(declared)
        for opening in OPENINGS
        if network.lets(source, destination, opening[1], opening[0])
        and not declared.lets(source, destination, opening)
    ]
    assert wider == []


# Suspension: what was open stays open, nothing opens, what was taken back closes


def two_sides(**more: Any) -> list[Manifest]:
    return [
        identity("payments", ports=["https"], accepts=[accept("checkout", **more)]),
        identity("checkout", calls=[call("payments", **more)]),
    ]


CONFLICTS = {
    "a second claim on the callee's account": (
        identity("rival", account="payments"),
        Ref("shop", "rival"),
    ),
    "a second claim on the caller's pods": (
        identity("rival", pods={"matchLabels": {"tier": "front"}}),
        Ref("shop", "rival"),
    ),
    "a second domain for the namespace": (
        domain("usurper", namespaceSelector={"matchLabels": {"domain": "production"}}),
        Ref("", "usurper"),
    ),
    "a domain that cannot be read": (
        domain("unread", unknownField=1),
        Ref("", "unread"),
    ),
}
conflicts = pytest.mark.parametrize(
    ("rival", "ref"), CONFLICTS.values(), ids=[name.replace(" ", "-") for name in CONFLICTS]
)


@conflicts
def test_what_was_open_stays_open_during_a_conflict_and_after_it(rival: Manifest, ref: Ref) -> None:
    cluster = builders.shop(*two_sides()).settle()

    def both() -> list[Manifest]:
        return [policy_of(cluster, name)["spec"] for name in ("payments", "checkout")]

    before = both()
    cluster.put(rival)
    cluster.settle()
    assert both() == before
    cluster.drop(rival["kind"], ref)
    cluster.settle()
    assert both() == before


@conflicts
def test_nothing_opens_during_a_conflict_and_opens_after_it(rival: Manifest, ref: Ref) -> None:
    cluster = builders.shop(*two_sides(), identity("refunds", calls=[call("payments")])).settle()
    cluster.put(rival)
    more = [accept("checkout"), accept("refunds")]
    cluster.put(identity("payments", ports=["https"], accepts=more))
    cluster.settle()
    assert ingress(cluster) == ["checkout"]
    cluster.drop(rival["kind"], ref)
    cluster.settle()
    assert ingress(cluster) == ["checkout", "refunds"]


@conflicts
def test_what_is_taken_back_closes_during_a_conflict(rival: Manifest, ref: Ref) -> None:
    cluster = builders.shop(
        identity("payments", ports=["https"], accepts=[accept("checkout"), accept("refunds")]),
        identity("checkout", calls=[call("payments")]),
        identity("refunds", calls=[call("payments")]),
    ).settle()
    assert ingress(cluster) == ["checkout", "refunds"]
    cluster.put(rival)
    cluster.settle()
    cluster.put(identity("payments", ports=["https"], accepts=[accept("checkout")]))
    cluster.settle()
    assert ingress(cluster) == ["checkout"]


def test_a_conflict_elsewhere_leaves_other_peers_alone() -> None:
    cluster = builders.shop(
        *two_sides(),
        identity("refunds", calls=[call("payments")]),
        identity("rival", account="checkout"),
    )
    cluster.put(
        identity("payments", ports=["https"], accepts=[accept("checkout"), accept("refunds")])
    )
    assert ingress(cluster.settle()) == ["refunds"]


def test_a_peer_that_cannot_be_read_any_more_keeps_its_own_rule() -> None:
    """And not, by mistake, that of another peer in its namespace."""
    cluster = builders.shop(
        identity("payments", ports=["https"], accepts=[accept("checkout"), accept("zoo")]),
        identity("checkout", calls=[call("payments")]),
        identity("zoo", calls=[call("payments")]),
    ).settle()
    before = policy_of(cluster)["spec"]
    unread = identity("zoo", calls=[call("payments")], unknownField=1)
    cluster.put(unread)
    cluster.settle()
    assert policy_of(cluster)["spec"] == before


def test_a_rule_without_ports_is_no_reason_to_fail() -> None:
    """Somebody took the ports off a rule whose edge is suspended: it closes, the plan stands."""
    cluster = builders.shop(*two_sides()).settle()
    cluster.put(identity("rival", account="checkout"))
    edited = copy.deepcopy(policy_of(cluster))
    del edited["spec"]["ingress"][0]["ports"]
    cluster.put(edited)
    cluster.settle()
    assert all(rule.get("ports") for rule in policy_of(cluster)["spec"].get("ingress", []))


def test_a_namespace_that_leaves_its_domain_keeps_its_policies_and_its_peers_close() -> None:
    cluster = builders.shop(
        *two_sides(namespace=None),
        namespace("finance", domain="production"),
        identity(
            "ledger", "finance", ports=["https"], accepts=[accept("payments", namespace="shop")]
        ),
    )
    cluster.put(
        identity(
            "payments",
            ports=["https"],
            accepts=[accept("checkout")],
            calls=[call("ledger", namespace="finance")],
        )
    )
    assert ingress(cluster.settle(), "ledger", "finance") == ["payments"]
    cluster.put(namespace("shop"))
    assert ingress(cluster.settle(), "ledger", "finance") == []
    assert ingress(cluster) == ["checkout"]


# The way to the issuer


def issuers(cluster: Cluster, name: str = "checkout") -> list[Manifest]:
    """The rules of a workload's egress that lead to Troth's own namespace."""
    return [
        rule
        for rule in policy_of(cluster.settle(), name)["spec"]["egress"]
        if OWN in str(rule["to"][0].get("namespaceSelector"))
    ]


def with_tokens(*manifests: Manifest) -> Cluster:
    return Cluster.of(
        namespace("shop", domain="production"),
        domain(tokens={}),
        builders.authority_secret(),
        *manifests,
    )


ASKING = identity(
    "payments", ports=["https"], accepts=[accept("checkout")], authentication={"token": {}}
)
CALLING = identity("checkout", calls=[call("payments")])
TO_THE_ISSUER = {
    "to": [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": OWN}},
            "podSelector": {
                "matchLabels": {
                    "app.kubernetes.io/name": "troth",
                    "app.kubernetes.io/component": "issuer",
                    "troth.dev/trust-domain": "production",
                }
            },
        }
    ],
    "ports": [{"protocol": "TCP", "port": 8443}],
}


def test_who_needs_tokens_reaches_the_issuer_and_nobody_else_does() -> None:
    cluster = with_tokens(ASKING, CALLING, identity("other"))
    assert issuers(cluster) == [TO_THE_ISSUER]
    assert issuers(cluster, "payments") == []
    assert issuers(cluster, "other") == []
    cluster.put(identity("checkout"))
    assert issuers(cluster) == []


def test_who_calls_only_those_that_take_no_tokens_does_not_reach_the_issuer() -> None:
    taking_none = identity("payments", ports=["https"], accepts=[accept("checkout")])
    assert issuers(with_tokens(taking_none, CALLING)) == []


def test_who_starts_transactions_reaches_the_issuer_where_there_is_one() -> None:
    starting = identity("checkout", startsTransactions={})
    assert issuers(with_tokens(starting)) == [TO_THE_ISSUER]
    assert issuers(builders.shop(starting)) == []


def test_the_way_to_the_issuer_stays_while_a_conflict_suspends_the_edge_and_does_not_open() -> None:
    rival = identity("rival", account="payments")
    cluster = with_tokens(ASKING, CALLING)
    assert issuers(cluster) == [TO_THE_ISSUER]
    cluster.put(rival)
    assert issuers(cluster) == [TO_THE_ISSUER]
    assert issuers(with_tokens(ASKING, rival, CALLING)) == []
