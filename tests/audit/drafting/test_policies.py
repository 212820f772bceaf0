"""What the NetworkPolicies of others become in a draft."""

from typing import Any

import pytest

from tests.audit.drafting.scenes import (
    PAYMENTS,
    WEB,
    Manifest,
    learned,
    of,
    spec,
)
from tests.audit.objects import deployment


def policy(name: str = "allow", **rules: Any) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"podSelector": {"matchLabels": {"app": "payments"}}, **rules},
    }


def test_selector_of_a_policy_is_an_edge() -> None:
    rule = {
        "from": [{"podSelector": {"matchLabels": {"app": "web"}}}],
        "ports": [{"port": "https", "protocol": "TCP"}],
    }
    found = learned(WEB, PAYMENTS, policy(ingress=[rule]))
    assert spec(found, "payments")["accepts"] == [{"from": {"name": "web"}, "ports": ["https"]}]
    assert spec(found, "web")["calls"] == [{"to": {"name": "payments"}, "ports": ["https"]}]
    assert of(found, "payments").accepts[0].comments == ("NetworkPolicy shop/allow",)


def test_rule_without_ports_or_with_a_range_opens_what_is_declared() -> None:
    peer = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}
    whole = learned(WEB, PAYMENTS, policy(ingress=[peer]))
    ranged = learned(
        WEB, PAYMENTS, policy(ingress=[peer | {"ports": [{"port": 8000, "endPort": 9000}]}])
    )
    assert spec(whole, "payments")["accepts"][0]["ports"] == ["https", "metrics"]
    assert spec(ranged, "payments")["accepts"][0]["ports"] == ["https"]


def test_network_of_a_policy_is_an_unverified_or_an_external_peer() -> None:
    block = {"ipBlock": {"cidr": "198.51.100.0/24"}}
    ports = [{"port": 443}]
    found = learned(
        PAYMENTS,
        policy(
            ingress=[{"from": [block], "ports": [{"port": 8443}]}],
            egress=[{"to": [block], "ports": ports}],
        ),
    )
    assert spec(found, "payments")["accepts"][0]["unverified"]["cidrs"] == ["198.51.100.0/24"]
    assert spec(found, "payments")["calls"][0]["external"]["cidrs"] == ["198.51.100.0/24"]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"ingress": [{}]}, "accepts everybody"),
        ({"ingress": [{"from": [{"podSelector": {}}]}]}, "accepts every pod"),
        ({"egress": [{}]}, "allows calls to everywhere"),
        ({"egress": [{"to": [{"namespaceSelector": {}}]}]}, "to every pod of a namespace"),
    ],
)
def test_rule_that_names_nobody_is_noted_and_drafts_nothing(rule: Manifest, says: str) -> None:
    found = of(learned(WEB, PAYMENTS, policy(**rule)), "payments")
    assert (found.accepts, found.calls) == ((), ())
    assert says in found.notes[0]


def test_network_with_host_bits_is_the_network_around_it() -> None:
    block = {"ipBlock": {"cidr": "10.1.2.3/24"}}
    found = learned(
        PAYMENTS,
        policy(
            ingress=[{"from": [block], "ports": [{"port": 8443}]}],
            egress=[{"to": [block], "ports": [{"port": 443}]}],
        ),
    )
    assert spec(found, "payments")["accepts"][0]["unverified"]["cidrs"] == ["10.1.2.0/24"]
    assert spec(found, "payments")["calls"][0]["external"]["cidrs"] == ["10.1.2.0/24"]


@pytest.mark.parametrize(
    "cidr",
    ["any", "10.0.0.0/33", None, 7, ["10.0.0.0/8"]],
    ids=["text", "long", "none", "number", "list"],
)
def test_network_that_is_none_is_noted(cidr: object) -> None:
    block = {"ipBlock": {"cidr": cidr}}
    rules: Manifest = {
        "ingress": [{"from": [block], "ports": [{"port": 8443}]}],
        "egress": [{"to": [block], "ports": [{"port": 443}]}],
    }
    found = of(learned(PAYMENTS, policy(**rules)), "payments")
    assert (found.accepts, found.calls) == ((), ())
    assert found.notes == (
        "Review: NetworkPolicy shop/allow has an ipBlock whose cidr is no network.",
    )


def test_network_of_which_a_part_is_excepted_is_drafted_without_that_part() -> None:
    block = {"ipBlock": {"cidr": "198.51.100.0/24", "except": ["198.51.100.0/25"]}}
    found = learned(PAYMENTS, policy(ingress=[{"from": [block], "ports": [{"port": 8443}]}]))
    (entry,) = spec(found, "payments")["accepts"]
    assert entry["unverified"]["cidrs"] == ["198.51.100.128/25"]
    assert of(found, "payments").notes == ()


@pytest.mark.parametrize(
    "excepted",
    [
        [f"198.{n}.0.0/16" for n in range(1, 90, 2)],
        ["any"],
        ["198.51.0.0/16", "2001:db8::/32"],
    ],
    ids=["many", "none", "another family"],
)
def test_parts_that_cannot_be_excepted_are_noted(excepted: list[str]) -> None:
    block = {"ipBlock": {"cidr": "198.0.0.0/8", "except": excepted}}
    found = of(
        learned(PAYMENTS, policy(ingress=[{"from": [block], "ports": [{"port": 8443}]}])),
        "payments",
    )
    assert found.accepts == ()
    (note,) = found.notes
    assert note.startswith("Review: NetworkPolicy shop/allow has 198.0.0.0/8 with except, ")


def test_network_that_a_policy_opens_on_all_ports_is_noted() -> None:
    block = {"ipBlock": {"cidr": "198.51.100.0/24"}}
    found = of(learned(PAYMENTS, policy(egress=[{"to": [block]}])), "payments")
    assert found.calls == ()
    assert found.notes == (
        (
            "Review: NetworkPolicy shop/allow allows calls to 198.51.100.0/24 on ports that it "
            "does not name one by one. Traffic says which are used."
        ),
    )


def test_call_that_a_policy_allows_to_a_workload_without_a_draft_is_noted() -> None:
    other = deployment("otel", "monitoring", ports={"grpc": 4317})
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
        "podSelector": {"matchLabels": {"app": "otel"}},
    }
    rule = policy(egress=[{"to": [peer], "ports": [{"port": 4317}]}])
    found = of(learned(PAYMENTS, other, rule, namespaces=("shop",)), "payments")
    assert found.calls == ()
    (note,) = found.notes
    assert note.startswith("Review: NetworkPolicy shop/allow allows calls to Deployment monitoring")
    assert "--namespace monitoring" in note
    found = of(learned(PAYMENTS, other, rule, watched=("shop",)), "payments")
    (note,) = found.notes
    assert "Troth does not watch namespace monitoring; add it to the chart value" in note
    assert "--namespace" not in note


def test_lookups_that_a_policy_allows_are_not_noted() -> None:
    dns = deployment("coredns", "kube-system", ports={"dns": 53})
    peer = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "coredns"}}}
    rule = policy(egress=[{"to": [peer], "ports": [{"port": 53, "protocol": "UDP"}]}])
    assert of(learned(PAYMENTS, dns, rule), "payments").notes == ()


def test_policy_that_troth_wrote_is_no_evidence() -> None:
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}
    own = policy(ingress=[rule])
    own["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "troth"}
    assert of(learned(WEB, PAYMENTS, own), "payments").accepts == ()
