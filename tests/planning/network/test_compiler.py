"""Compiled NetworkPolicies: their form, and their rules while something is unsettled."""

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
    """Return the peers of each ingress rule, by their app label."""
    return [
        rule["from"][0]["podSelector"]["matchLabels"]["app"]
        for rule in policy_of(cluster, name, namespace)["spec"].get("ingress", [])
    ]


# Form


def normalised(spec: Manifest) -> Manifest:
    """Return a spec as the API server returns it: with defaults, and without empty fields.

    See k8s.io/kubernetes/pkg/apis/networking/v1/defaults.go and the `omitempty` of
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
def test_policy_equals_its_form_as_stored_by_the_api_server(
    manifests: list[Manifest],
) -> None:
    for policy in compiled(Cluster.of(*manifests)):
        assert normalised(policy["spec"]) == policy["spec"]


@given(clusters())
def test_policies_use_only_features_that_every_enforcer_supports(manifests: list[Manifest]) -> None:
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
def test_compiled_policy_does_not_depend_on_the_order_of_arrival(
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
def test_compiling_over_an_applied_policy_changes_nothing(manifests: list[Manifest]) -> None:
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
    """Return one of Troth's policies with edits by hand."""
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
    """Kept rules of a suspended edge are never wider than declared either.

    The later manifests often make a conflict, while the earlier policies are still in place.
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
    stored = [*cluster.objects.values()]  # with the times at which audiences were accepted
    declared = Declared.by(stored, NOW, suspended_too=True)
    network = Network(declared.namespaces, tuple(cluster.policies()))
    wider = [
        f"{shown(source)} -> {shown(destination)} {opening}"
        for source, destination in pairs(declared)
        for opening in OPENINGS
        if network.lets(source, destination, opening[1], opening[0])
        and not declared.lets(source, destination, opening)
    ]
    assert wider == []


# Suspension: open edges stay open, nothing opens, withdrawn consent closes


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
    "a domain for the namespace that cannot be read": (
        domain("unread", namespaceSelector=domain()["spec"]["namespaceSelector"], unknownField=1),
        Ref("", "unread"),
    ),
}
conflicts = pytest.mark.parametrize(
    ("rival", "ref"), CONFLICTS.values(), ids=[name.replace(" ", "-") for name in CONFLICTS]
)


@conflicts
def test_open_edge_stays_open_during_a_conflict_and_after_it(rival: Manifest, ref: Ref) -> None:
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
def test_nothing_opens_during_a_conflict_and_it_opens_afterwards(rival: Manifest, ref: Ref) -> None:
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
def test_withdrawn_edge_closes_during_a_conflict(rival: Manifest, ref: Ref) -> None:
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


def test_conflict_elsewhere_does_not_affect_other_peers() -> None:
    cluster = builders.shop(
        *two_sides(),
        identity("refunds", calls=[call("payments")]),
        identity("rival", account="checkout"),
    )
    cluster.put(
        identity("payments", ports=["https"], accepts=[accept("checkout"), accept("refunds")])
    )
    assert ingress(cluster.settle()) == ["refunds"]


def test_peer_that_becomes_unreadable_keeps_its_own_rule() -> None:
    """It must not keep the rule of another peer in its namespace."""
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


def test_rule_without_ports_does_not_fail_the_plan() -> None:
    """Somebody removed the ports from a rule whose edge is suspended: the edge closes."""
    cluster = builders.shop(*two_sides()).settle()
    cluster.put(identity("rival", account="checkout"))
    edited = copy.deepcopy(policy_of(cluster))
    del edited["spec"]["ingress"][0]["ports"]
    cluster.put(edited)
    cluster.settle()
    assert all(rule.get("ports") for rule in policy_of(cluster)["spec"].get("ingress", []))


def test_namespace_that_leaves_its_domain_keeps_policies_and_peers_close() -> None:
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


# Egress to the issuer


def issuers(cluster: Cluster, name: str = "checkout") -> list[Manifest]:
    """Return the egress rules of a workload that lead to Troth's own namespace."""
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


def test_only_workloads_that_need_tokens_reach_the_issuer() -> None:
    cluster = with_tokens(ASKING, CALLING, identity("other"))
    assert issuers(cluster) == [TO_THE_ISSUER]
    assert issuers(cluster, "payments") == []
    assert issuers(cluster, "other") == []
    cluster.put(identity("checkout"))
    assert issuers(cluster) == []


def test_caller_of_callees_without_tokens_does_not_reach_the_issuer() -> None:
    taking_none = identity("payments", ports=["https"], accepts=[accept("checkout")])
    assert issuers(with_tokens(taking_none, CALLING)) == []


def test_workload_that_starts_transactions_reaches_an_existing_issuer() -> None:
    starting = identity("checkout", startsTransactions={})
    assert issuers(with_tokens(starting)) == [TO_THE_ISSUER]
    assert issuers(builders.shop(starting)) == []


def test_egress_to_the_issuer_stays_and_does_not_open_during_a_conflict() -> None:
    rival = identity("rival", account="payments")
    cluster = with_tokens(ASKING, CALLING)
    assert issuers(cluster) == [TO_THE_ISSUER]
    cluster.put(rival)
    assert issuers(cluster) == [TO_THE_ISSUER]
    assert issuers(with_tokens(ASKING, rival, CALLING)) == []
