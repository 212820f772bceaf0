"""What evidence becomes which entry of a draft, and what a draft only notes."""

from ipaddress import ip_address, ip_network

import pytest

from tests import builders
from tests.audit.drafting.scenes import (
    NODE,
    NOON,
    PAYMENTS,
    SHOP,
    SINCE,
    WEB,
    Manifest,
    at,
    end,
    flow,
    learned,
    of,
    spec,
)
from tests.audit.objects import deployment, pod, service
from troth.audit.drafting.draft import draft
from troth.audit.facts.traffic import Traffic
from troth.audit.scene import scene_of

# Environments and Services


def calling(*values: str) -> Manifest:
    return deployment("web", env={f"VALUE_{n}": value for n, value in enumerate(values)})


@pytest.mark.parametrize(
    "value",
    [
        "payments:443",
        "https://payments:443/charge",
        "payments.shop:443",
        "payments.shop.svc:443",
        "https://user@payments.shop.svc.cluster.local:443",
        "10.96.0.7:443",
        "payments-0.payments.shop.svc:443",
        "https://payments",
        "https://user:password@payments.shop/charge?a=b:c",
    ],
)
def test_host_that_a_program_names_is_resolved_to_the_workload(value: str) -> None:
    to = service("payments", port=443, target="https", cluster_ip="10.96.0.7")
    found = learned(calling(value), PAYMENTS, to)
    assert spec(found, "web")["calls"] == [{"to": {"name": "payments"}, "ports": ["https"]}]
    assert spec(found, "payments")["accepts"] == [{"from": {"name": "web"}, "ports": ["https"]}]
    (comment,) = of(found, "web").calls[0].comments
    assert comment.endswith("in Deployment shop/web spec.template.spec.containers[0].env[0]")


def test_port_of_a_headless_service_is_the_pods() -> None:
    to = service("payments", port=80, target=80)
    found = learned(calling("payments:8443"), PAYMENTS, to)
    assert spec(found, "web")["calls"] == [{"to": {"name": "payments"}, "ports": ["https"]}]


@pytest.mark.parametrize(
    "value",
    [
        "http://unknown",
        "https://payments:x",
        "localhost:8443",
        "127.0.0.1:8443",
        "12:30",
        "unknown:80",
        "nginx:1",
        "0.0.0.0:80",
    ],
)
def test_text_that_names_nobody_drafts_nothing(value: str) -> None:
    found = of(learned(calling(value), PAYMENTS), "web")
    assert (found.calls, found.notes) == ((), ())


def test_host_outside_the_cluster_is_noted_because_its_networks_are_unknown() -> None:
    found = of(learned(calling("https://api.stripe.example:443")), "web")
    assert found.calls == ()
    assert "api.stripe.example:443" in found.notes[0]


def test_host_and_the_networks_that_traffic_shows_make_one_entry() -> None:
    found = learned(
        calling("https://api.stripe.example:443"),
        traffic=tuple(flow(end("web"), at(f"203.0.113.{n}"), 443) for n in (9, 8)),
    )
    assert spec(found, "web")["calls"] == [
        {
            "external": {
                "host": "api.stripe.example",
                "cidrs": ["203.0.113.8/31"],
                "ports": [443],
            }
        }
    ]


def test_api_server_is_recognised_by_name_and_by_address() -> None:
    by_name = learned(calling("kubernetes.default.svc:443"))
    by_address = learned(
        WEB,
        builders.endpoint_slice("198.51.100.1"),
        traffic=(flow(end("web"), at("198.51.100.1"), 6443),),
    )
    for found in (by_name, by_address):
        assert spec(found, "web")["calls"] == [{"kubernetesAPI": True}]


# Traffic


def test_port_that_no_container_declares_is_added() -> None:
    found = learned(WEB, PAYMENTS, traffic=(flow(end("web"), end("payments"), 7000),))
    assert {"name": "port-7000", "port": 7000} in spec(found, "payments")["workload"]["ports"]
    assert spec(found, "payments")["accepts"][0]["ports"] == ["port-7000"]
    assert spec(found, "web")["calls"][0]["ports"] == ["port-7000"]


def test_lookup_of_a_name_is_no_edge() -> None:
    dns = deployment("coredns", "kube-system")
    found = learned(
        WEB,
        dns,
        traffic=(
            flow(end("web"), end("coredns", "kube-system"), 53, "UDP"),
            flow(end("web"), at("169.254.20.10"), 53, "UDP"),
        ),
    )
    assert (of(found, "web").calls, of(found, "web").notes) == ((), ())


def test_calls_of_nodes_are_probes() -> None:
    found = learned(PAYMENTS, NODE, traffic=(flow(at("192.0.2.2"), end("payments")),))
    assert spec(found, "payments")["exceptions"] == {"probes": ["https"]}
    assert found.nodes == ("192.0.2.2",)


def test_collector_without_an_identity_gets_the_exception() -> None:
    prometheus = deployment("prometheus", "monitoring", labels={"app": "prometheus"})
    seen = flow(end("prometheus", "monitoring"), end("payments"), 9090)
    found = learned(PAYMENTS, prometheus, traffic=(seen,), namespaces=("shop",))
    assert spec(found, "payments")["exceptions"] == {"metrics": ["metrics"]}
    assert found.collector is not None
    assert found.collector.manifest() == {
        "namespace": "monitoring",
        "podSelector": {"matchLabels": {"app": "prometheus"}},
    }


def test_collector_that_the_trust_domain_does_not_name_is_an_unverified_peer() -> None:
    prometheus = deployment("prometheus", "monitoring")
    seen = flow(end("prometheus", "monitoring"), end("payments"), 9090)
    found = learned(
        builders.namespace("shop", domain="production"),
        builders.domain(),
        PAYMENTS,
        prometheus,
        traffic=(seen,),
        namespaces=("shop",),
    )
    assert "exceptions" not in spec(found, "payments")
    assert "unverified" in spec(found, "payments")["accepts"][0]
    assert found.ungoverned == ()


def test_caller_without_an_identity_is_an_unverified_peer_with_a_reason() -> None:
    ingress = deployment("nginx", "ingress")
    seen = flow(end("nginx", "ingress"), end("payments"))
    found = learned(PAYMENTS, ingress, traffic=(seen,), namespaces=("shop",))
    (entry,) = spec(found, "payments")["accepts"]
    assert entry["unverified"] == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}},
        "podSelector": {"matchLabels": {"app": "nginx"}},
        "reason": "drafted from what was seen; review who this is",
    }


def test_address_outside_the_cluster_is_accepted_and_that_of_a_gone_pod_is_not() -> None:
    seen = tuple(flow(at(each), end("payments")) for each in ("198.51.100.7", "10.0.0.99"))
    found = learned(PAYMENTS, NODE, traffic=seen)
    (entry,) = spec(found, "payments")["accepts"]
    assert entry["unverified"]["cidrs"] == ["198.51.100.7/32"]
    (note,) = of(found, "payments").notes
    assert "10.0.0.99, which no pod has now" in note


def test_address_beside_those_of_pods_is_taken_for_a_gone_pod_s() -> None:
    running = pod("web", "10.9.0.5", started=SINCE)
    seen = flow(at("10.9.0.99"), end("payments"))
    assert of(learned(PAYMENTS, running, traffic=(seen,)), "payments").accepts == ()


def test_answer_that_the_kernel_took_for_a_call_is_no_edge() -> None:
    seen = (flow(end("web"), end("payments")), flow(end("payments"), end("web"), 45678))
    found = learned(WEB, PAYMENTS, traffic=seen)
    assert (of(found, "web").accepts, of(found, "payments").calls) == ((), ())


def test_call_to_a_workload_without_a_draft_is_noted() -> None:
    other = deployment("otel", "monitoring", ports={"grpc": 4317})
    found = learned(
        WEB,
        other,
        traffic=(flow(end("web"), end("otel", "monitoring"), 4317),),
        namespaces=("shop",),
    )
    assert of(found, "web").calls == ()
    (note,) = of(found, "web").notes
    assert "Deployment monitoring/otel on port 4317" in note
    assert "--namespace monitoring" in note


def test_replicas_that_call_each_other_are_an_edge_of_the_identity_with_itself() -> None:
    found = learned(PAYMENTS, traffic=(flow(end("payments"), end("payments")),))
    assert spec(found, "payments")["accepts"] == [
        {"from": {"name": "payments"}, "ports": ["https"]}
    ]


def test_destinations_are_grouped_so_that_an_entry_can_hold_them() -> None:
    seen = tuple(flow(end("web"), at(f"203.0.{n}.{n}"), 443) for n in range(1, 120))
    (entry,) = spec(learned(WEB, traffic=seen), "web")["calls"]
    assert 1 <= len(entry["external"]["cidrs"]) <= 32
    assert entry["external"]["host"] == "external-443.invalid"
    networks = [ip_network(each) for each in entry["external"]["cidrs"]]
    for each in seen:
        assert any(ip_address(each.destination.address) in network for network in networks)


def test_networks_for_which_an_entry_has_no_room_are_noted() -> None:
    seen = tuple(flow(end("web"), at(f"{n}.0.0.1"), 443) for n in range(20, 60, 2))
    found = of(learned(WEB, traffic=seen), "web")
    assert len(found.calls[0].value["external"]["cidrs"]) == 16
    assert (
        "Review: it calls 4 more networks on port 443 than the entry has: "
        "52.0.0.0/16, 54.0.0.0/16, 56.0.0.0/16, 58.0.0.0/16." in found.notes
    )


def test_what_observers_could_not_see_is_said() -> None:
    scene = scene_of((SHOP, WEB), NOON)
    scene.traffic = Traffic((), SINCE, ("node-2: away",))
    assert draft(scene).unplaced == ("Not all traffic was seen: node-2: away.",)


# Workloads


def test_workloads_with_one_service_account_share_an_identity_with_a_note() -> None:
    found = learned(deployment("web", account="shop"), deployment("api", account="shop"))
    drafted = spec(found, "shop")
    assert drafted["workload"]["podSelector"] == {
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["api", "web"]}]
    }
    (note,) = of(found, "shop").notes
    assert note.startswith("Split: Deployment shop/api, Deployment shop/web share")


def test_selector_has_no_label_that_changes_and_as_many_as_it_takes() -> None:
    labels = {"app": "shop", "version": "1.2", "pod-template-hash": "x", "tier": "front"}
    found = learned(
        deployment("web", labels=labels), deployment("api", labels={"app": "shop", "tier": "back"})
    )
    assert spec(found, "web")["workload"]["podSelector"] == {
        "matchLabels": {"app": "shop", "tier": "front"}
    }


def test_selector_that_others_match_too_is_noted() -> None:
    found = learned(deployment("web", labels={"app": "x"}), deployment("api", labels={"app": "x"}))
    assert "podSelector also selects Deployment shop/api" in of(found, "web").notes[0]


def test_default_service_account_is_noted() -> None:
    found = of(learned(deployment("web", account="")), "web")
    assert found.notes[0].startswith("Review: it runs as the ServiceAccount default")


def test_workload_in_the_host_network_gets_no_draft() -> None:
    found = learned(WEB, deployment("proxy", host_network=True))
    assert [str(each.subject.ref) for each in found.identities] == ["shop/web"]
    assert "Deployment shop/proxy is in the host network" in found.unplaced[0]


def test_pods_whose_controller_is_of_another_kind_are_drafted() -> None:
    rollout = pod("canary", "10.0.0.9", started=SINCE, account="canary")
    rollout["metadata"]["ownerReferences"] = [
        {"kind": "Rollout", "name": "canary", "controller": True}
    ]
    found = learned(rollout)
    assert spec(found, "canary")["workload"]["podSelector"] == {"matchLabels": {"app": "canary"}}


def test_workload_with_an_identity_gets_only_what_it_lacks() -> None:
    identity = builders.identity("payments", ports=["https"], accepts=[builders.accept("api")])
    traffic = (flow(end("web"), end("payments")), flow(end("api"), end("payments")))
    found = learned(WEB, PAYMENTS, deployment("api"), identity, traffic=traffic)
    assert {each.subject.ref.name for each in found.identities} == {"web", "api"}
    (addition,) = found.additions
    assert [each.value for each in addition.accepts] == [
        {"from": {"name": "web"}, "ports": ["https"]}
    ]


def test_system_namespaces_are_drafted_only_on_request() -> None:
    dns = deployment("coredns", "kube-system")
    assert [str(each.subject.ref) for each in learned(WEB, dns).identities] == ["shop/web"]
    asked = learned(WEB, dns, namespaces=("kube-system",))
    assert [str(each.subject.ref) for each in asked.identities] == ["kube-system/coredns"]


# Namespaces that Troth does not watch

LEGAL = (
    builders.namespace("legal", domain="production"),
    builders.namespace("shop", domain="production"),
    builders.domain(),
    deployment("web", "legal", ports={"https": 8443}),
)


def test_caller_in_a_namespace_that_troth_does_not_watch_is_an_unverified_peer() -> None:
    identity = builders.identity("web", "legal")
    traffic = (flow(end("web", "legal"), end("payments")),)
    found = learned(*LEGAL, PAYMENTS, identity, traffic=traffic, watched=("shop",))
    (entry,) = spec(found, "payments")["accepts"]
    assert entry["unverified"]["namespaceSelector"] == {
        "matchLabels": {"kubernetes.io/metadata.name": "legal"}
    }


def test_namespace_that_troth_does_not_watch_gets_no_draft_and_is_named() -> None:
    found = learned(*LEGAL, PAYMENTS, builders.identity("web", "legal"), watched=("shop",))
    assert [str(each.subject.ref) for each in found.identities] == ["shop/payments"]
    assert (found.additions, found.ungoverned) == ((), ())
    (sentence,) = found.unplaced
    assert "Troth does not watch the namespaces of other workloads" in sentence
    assert ": legal;" in sentence
    assert "chart value namespaces" in sentence


def test_namespaces_are_named_only_if_all_were_to_be_drafted() -> None:
    asked = learned(*LEGAL, PAYMENTS, namespaces=("shop",), watched=("shop",))
    system = learned(PAYMENTS, deployment("coredns", "kube-system"), watched=("shop",))
    assert (asked.unplaced, system.unplaced) == ((), ())


def test_at_most_five_namespaces_are_named() -> None:
    others = [deployment("web", f"team-{number}") for number in range(7)]
    (sentence,) = learned(PAYMENTS, *others, watched=("shop",)).unplaced
    assert ": team-0, team-1, team-2, team-3, team-4 and 2 more;" in sentence


def test_call_to_a_namespace_that_troth_does_not_watch_names_the_chart_value() -> None:
    traffic = (flow(end("payments"), end("web", "legal")),)
    found = learned(*LEGAL, PAYMENTS, traffic=traffic, watched=("shop",))
    (note,) = of(found, "payments").notes
    assert "Deployment legal/web on port 8443" in note
    assert "Troth does not watch namespace legal; add it to the chart value namespaces" in note
    assert "--namespace" not in note
