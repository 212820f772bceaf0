"""The plan of a round: which probes follow from what is declared."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from tests import builders
from tests.builders import Manifest
from troth.audit.proving.forged import forged_headers
from troth.audit.proving.plan import PATH, Options, plan_probes
from troth.audit.proving.probe import Plan, Probe, ProbeName
from troth.audit.proving.reach import labels_for
from troth.edge.inbound.identity_headers import claims_identity, spelled
from troth.resources.references import Ref
from troth.resources.reported import MOST_PROOFS, Expectation, Layer
from troth.resources.selectors import LabelSelector, Operator, Requirement
from troth.trust.declarations.registry import Registry
from troth.world.world import World

TOKENS: Manifest = {"token": {}}
PAYMENTS, CHECKOUT, LEDGER = Ref("shop", "payments"), Ref("shop", "checkout"), Ref("shop", "ledger")


def registry_of(*manifests: Manifest, **domain: Any) -> Registry:
    world = World(builders.OWN)
    given = builders.domain(tokens={}, **domain)
    for each in (given, builders.namespace("shop", domain="production"), *manifests):
        world.observe(each, uptime=0.0)
    return world.registry


def accepting(name: str, *callers: str, **spec: Any) -> Manifest:
    """Return an identity with a port https that accepts callers."""
    accepts = [{"from": {"name": each}, "ports": ["https"]} for each in callers]
    return builders.identity(
        name, ports=[("https", 8443)], accepts=[*accepts, *spec.pop("also", ())], **spec
    )


def calling(name: str, *callees: str, **spec: Any) -> Manifest:
    calls = [{"to": {"name": each}, "ports": ["https"]} for each in callees]
    return builders.identity(name, calls=calls, **spec)


def planned(registry: Registry, *callees: Ref, **options: Any) -> Plan:
    asked = Options(**({"seed": "1"} | options))
    return plan_probes(registry, callees or [PAYMENTS], builders.NOW, asked)


def names(probes: Iterable[Probe]) -> list[tuple[str, str]]:
    return [(each.name.value, each.caller.name if each.caller else "-") for each in probes]


def named(plan: Plan, name: str) -> Probe:
    (found,) = (each for each in plan.probes if each.name.value == name)
    return found


def test_each_live_edge_should_pass() -> None:
    shop = registry_of(
        accepting("payments", "checkout", "batch"),
        calling("checkout", "payments"),
        calling("batch", "payments"),
    )
    declared = [each for each in planned(shop).probes if each.is_control]
    assert names(declared) == [("DeclaredEdge", "batch"), ("DeclaredEdge", "checkout")]
    assert {each.expectation for each in declared} == {Expectation.PASSES}
    assert declared[1].instruction.certificate == "checkout"
    assert declared[1].instruction.server == "spiffe://production.example/ns/shop/sa/payments"


def test_edge_that_only_one_side_declares_should_fail() -> None:
    shop = registry_of(accepting("payments", "checkout"), calling("checkout"))
    probes = planned(shop).probes
    assert names(probes) == [("UndeclaredEdge", "checkout"), ("UndeclaredEdge", "-")]
    assert {(each.expectation, each.layer) for each in probes} == {
        (Expectation.FAILS, Layer.NETWORK)
    }
    assert not any(each.instruction.request for each in probes), "the network should stop it"


def test_mtls_callee_is_probed_without_and_with_another_certificate() -> None:
    shop = registry_of(
        accepting("payments", "checkout"), calling("checkout", "payments"), calling("batch")
    )
    plan = planned(shop, sample=0)
    assert names(plan.probes) == [
        ("DeclaredEdge", "checkout"),
        ("ForgedHeaders", "checkout"),
        ("NoCertificate", "checkout"),
        ("OtherCertificate", "checkout"),
    ]
    assert named(plan, "NoCertificate").instruction.certificate == ""
    other = named(plan, "OtherCertificate")
    assert other.instruction.certificate == "batch"
    assert other.identities == {"checkout", "batch"}


def test_certificate_of_an_identity_with_an_edge_is_no_other_certificate() -> None:
    shop = registry_of(
        accepting("payments", "checkout", "batch"),
        calling("checkout", "payments"),
        calling("batch", "payments"),
    )
    assert "OtherCertificate" not in dict(names(planned(shop, sample=0).probes))


def test_token_callee_is_probed_with_a_token_for_another_callee() -> None:
    shop = registry_of(
        accepting("payments", "checkout", authentication=TOKENS),
        accepting("ledger", "checkout", authentication=TOKENS),
        calling("checkout", "payments", "ledger"),
    )
    plan = planned(shop, sample=0)
    ask = named(plan, "OtherToken").instruction
    assert (ask.certificate, ask.holder) == ("checkout", "checkout")
    assert ask.audience == "spiffe://production.example/ns/shop/sa/ledger"
    forged = named(plan, "ForgedHeaders").instruction
    assert (forged.audience, forged.certificate) == ("", "checkout")
    assert forged.claimed == "spiffe://production.example/ns/shop/sa/checkout"


def test_token_callee_is_probed_with_a_token_of_another_identity() -> None:
    shop = registry_of(
        accepting("payments", "checkout", "batch", authentication=TOKENS),
        calling("checkout", "payments"),
        calling("batch", "payments"),
    )
    ask = named(planned(shop, sample=0), "OtherToken").instruction
    assert ask.certificate != ask.holder
    assert ask.audience == "spiffe://production.example/ns/shop/sa/payments"


def test_token_callee_without_proof_of_possession_needs_no_certificate() -> None:
    optional = {"token": {"proofOfPossession": "Optional"}}
    shop = registry_of(
        accepting("payments", "checkout", authentication=optional), calling("checkout", "payments")
    )
    assert "NoCertificate" not in dict(names(planned(shop, sample=0).probes))


def test_observed_callee_should_reject_the_certificate_if_no_policy_stops_the_pair() -> None:
    shop = registry_of(
        accepting("payments", enforcement="Observe"), calling("batch", enforcement="Observe")
    )
    (probe,) = planned(shop).probes
    assert (probe.layer, probe.instruction.certificate) == (Layer.TRANSPORT, "batch")
    assert probe.instruction.request


def test_policy_of_the_caller_stops_a_pair_too() -> None:
    shop = registry_of(accepting("payments", enforcement="Observe"), calling("batch"))
    (probe,) = planned(shop).probes
    assert (probe.layer, probe.instruction.request) == (Layer.NETWORK, False)


def test_caller_with_a_network_outside_may_reach_an_observed_callee() -> None:
    outside = {"external": {"host": "a.example", "cidrs": ["0.0.0.0/0"], "ports": [8443]}}
    batch = builders.identity("batch", calls=[outside])
    shop = registry_of(accepting("payments", enforcement="Observe"), batch)
    (probe,) = planned(shop).probes
    assert probe.layer is Layer.TRANSPORT


def test_port_open_to_a_network_is_not_probed_without_an_edge() -> None:
    everybody = {"unverified": {"cidrs": ["0.0.0.0/0"], "reason": "public"}, "ports": ["https"]}
    shop = registry_of(accepting("payments", also=[everybody]), calling("batch"))
    assert planned(shop).probes == ()


def test_pod_that_an_unverified_peer_selects_may_connect() -> None:
    peer = {"podSelector": {"matchLabels": {"app": "batch"}}, "reason": "being enrolled"}
    also = [{"unverified": peer, "ports": ["https"]}]
    shop = registry_of(accepting("payments", also=also), calling("batch"), calling("other"))
    assert names(planned(shop).probes) == [("UndeclaredEdge", "other"), ("UndeclaredEdge", "-")]


def test_collector_may_connect_to_a_metrics_port() -> None:
    metrics = {"namespace": "shop", "podSelector": {"matchLabels": {"app": "batch"}}}
    payments = builders.identity(
        "payments", ports=[("metrics", 9090)], exceptions={"metrics": ["metrics"]}
    )
    shop = registry_of(payments, calling("batch"), network={"metrics": metrics})
    assert names(planned(shop).probes) == [("UndeclaredEdge", "-")]


def with_edges(manifest: Manifest, **states: str) -> Manifest:
    """Return an identity whose status shows edges from callers on https, by their states."""
    edges = [
        {"peer": f"shop/{caller}", "direction": "Inbound", "ports": ["https"], "state": state}
        for caller, state in states.items()
    ]
    return manifest | {"status": {"observedGeneration": 1, "edges": edges}}


def test_edge_that_the_operator_has_not_opened_proves_nothing() -> None:
    payments = accepting("payments", "checkout", "batch")
    shop = registry_of(
        with_edges(payments, checkout="Refused"),
        calling("checkout", "payments"),
        calling("batch", "payments"),
    )
    assert {each.caller: each.obstacle for each in planned(shop).probes if each.is_control} == {
        Ref("shop", "batch"): "the edge is not there in the status of the callee",
        CHECKOUT: "the edge is Refused in the status of the callee",
    }


def test_edge_that_the_operator_has_not_closed_yet_is_not_probed() -> None:
    shop = registry_of(
        with_edges(accepting("payments"), checkout="Live"), calling("checkout"), calling("batch")
    )
    assert names(planned(shop).probes) == [("UndeclaredEdge", "batch"), ("UndeclaredEdge", "-")]


def test_udp_ports_are_not_probed() -> None:
    payments = builders.identity("payments", ports=[("dns", 53, "UDP")])
    assert planned(registry_of(payments, calling("batch"))).probes == ()


def test_seed_chooses_the_sample_and_chooses_it_again() -> None:
    many = [calling(f"caller-{number}") for number in range(40)]
    shop = registry_of(accepting("payments"), *many)
    one, again, other = (names(planned(shop, seed=each).probes) for each in "112")
    assert one == again != other
    assert len(one) == 5 + 1


def test_callee_beyond_the_limit_is_omitted_as_a_whole() -> None:
    shop = registry_of(
        accepting("payments", "checkout"),
        accepting("ledger", "checkout"),
        calling("checkout", "payments", "ledger"),
    )
    plan = planned(shop, PAYMENTS, LEDGER, most=8)
    assert plan.omitted == (LEDGER,)
    assert plan.callees == (PAYMENTS,)


def crowded(callers: int = 60, ports: int = 3) -> Registry:
    """Return the registry of a callee with more live edges than its status has room for."""
    names = [f"port-{number}" for number in range(ports)]
    every = [f"caller-{number}" for number in range(callers)]
    accepts = [{"from": {"name": each}, "ports": names} for each in every]
    payments = builders.identity(
        "payments",
        ports=[(each, 8000 + number) for number, each in enumerate(names)],
        accepts=accepts,
    )
    calls = [{"to": {"name": "payments"}, "ports": names}]
    return registry_of(
        payments, *(builders.identity(each, calls=calls) for each in every), calling("batch")
    )


def test_callee_with_too_many_edges_keeps_the_probes_that_must_fail() -> None:
    plan = planned(crowded())
    kinds = Counter(each.name.value for each in plan.probes)
    assert kinds["UndeclaredEdge"] == 3 + 3
    assert kinds["ForgedHeaders"] == kinds["NoCertificate"] == kinds["OtherCertificate"] == 3
    assert kinds.total() == MOST_PROOFS
    assert plan.cut == {PAYMENTS: 3 * 60 - kinds["DeclaredEdge"]}
    assert plan.manifest()["cut"] == {str(PAYMENTS): plan.cut[PAYMENTS]}


def test_seed_chooses_the_edges_of_a_callee_with_too_many() -> None:
    shop = crowded()
    one, again, other = (names(planned(shop, seed=each).probes) for each in "112")
    assert one == again != other


@pytest.mark.parametrize("most", [1, 2, 7, 20, 127])
def test_each_probe_that_must_fail_keeps_its_control(most: int) -> None:
    """A caller with a live edge connects to the same port; for credentials, the same caller."""
    plan = planned(crowded(), most=most)
    assert len(plan.probes) == most
    declared = {(each.target, each.caller) for each in plan.probes if each.is_control}
    for each in plan.probes:
        if each.name is ProbeName.UNDECLARED_EDGE:
            assert each.target in {target for target, _ in declared}
        else:
            assert (each.target, each.caller) in declared


def test_callee_without_edges_has_all_its_probes() -> None:
    assert planned(registry_of(accepting("payments"), calling("batch"))).cut == {}


def test_large_callee_does_not_keep_out_others() -> None:
    shop = registry_of(
        accepting("payments", "checkout"),
        accepting("ledger", "checkout", *(f"caller-{number}" for number in range(20))),
        accepting("stock", "checkout"),
        calling("checkout", "payments", "ledger", "stock"),
        *(calling(f"caller-{number}", "ledger") for number in range(20)),
    )
    stock = Ref("shop", "stock")
    plan = planned(shop, PAYMENTS, LEDGER, stock, most=20, sample=0)
    assert (plan.callees, plan.omitted) == ((PAYMENTS, stock), (LEDGER,))
    first = planned(shop, LEDGER, PAYMENTS, most=20, sample=0)
    assert first.callees == (LEDGER,), "its edges are sampled, so that it is proven at all"
    assert (len(first.probes), first.omitted) == (20, (PAYMENTS,))


def test_path_of_the_annotation_is_requested_unless_it_is_hostile() -> None:
    for given, used in (
        ("/v1/ping?x=1", "/v1/ping?x=1"),
        ("/ HTTP/1.1\r\nX-Roles: admin", "/"),
        ("https://elsewhere.example/", "/"),
    ):
        payments = accepting("payments", "checkout")
        payments["metadata"]["annotations"] = {PATH: given}
        shop = registry_of(payments, calling("checkout", "payments"))
        assert named(planned(shop), "DeclaredEdge").instruction.path == used


def test_identity_whose_labels_another_selects_too_is_not_impersonated() -> None:
    everyone = {"matchExpressions": [{"key": "app", "operator": "Exists"}]}
    shop = registry_of(
        accepting("payments", enforcement="Observe"),
        calling("batch", enforcement="Observe"),
        calling("greedy", pods=everyone, enforcement="Observe"),
    )
    probes = {each.caller: each for each in planned(shop).probes}
    assert "shop/greedy selects the pods of" in probes[Ref("shop", "batch")].obstacle


def test_labels_satisfy_the_selector() -> None:
    selector = LabelSelector(
        match_labels={"app": "payments"},
        match_expressions=(
            Requirement(key="tier", operator=Operator.IN, values=("web", "api")),
            Requirement(key="team", operator=Operator.EXISTS),
            Requirement(key="canary", operator=Operator.DOES_NOT_EXIST),
        ),
    )
    assert labels_for(selector) == {
        "app": "payments",
        "tier": "web",
        "team": "",
        "troth.dev/probe": "true",
    }


def test_selector_that_excludes_probes_has_no_labels() -> None:
    excluded = Requirement(key="troth.dev/probe", operator=Operator.DOES_NOT_EXIST)
    assert labels_for(LabelSelector(match_expressions=(excluded,))) is None


def test_forged_headers_are_those_that_the_middleware_removes() -> None:
    for name in forged_headers("spiffe://production.example/ns/shop/sa/checkout"):
        assert claims_identity(spelled(name.encode())), name
