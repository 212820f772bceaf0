"""A ServiceIdentity that exists gets what it lacks, once."""

from typing import Any

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
from tests.audit.objects import deployment
from troth.audit.drafting.draft import Draft, IdentityDraft, draft
from troth.audit.drafting.render import render
from troth.audit.facts.traffic import Traffic
from troth.audit.scene import scene_of

PROMETHEUS = deployment("prometheus", "monitoring", labels={"app": "prometheus"})
INGRESS = deployment("nginx", "ingress")
NAMED = {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}
EVERYTHING = (
    flow(end("web"), end("payments")),
    flow(at("192.0.2.2"), end("payments")),
    flow(end("prometheus", "monitoring"), end("payments"), 9090),
    flow(end("nginx", "ingress"), end("payments")),
    flow(at("198.51.100.7"), end("payments")),
    flow(end("payments"), at("203.0.113.9"), 443),
    flow(end("payments"), at("203.0.113.11"), 5432),
    flow(end("payments"), at("198.51.100.1"), 6443),
)
CLUSTER = (
    *(SHOP, WEB, PAYMENTS, NODE, PROMETHEUS, INGRESS),
    builders.endpoint_slice("198.51.100.1"),
)
IDENTITIES = [builders.identity("web"), builders.identity("payments", ports=["https"])]


def again(*identities: Manifest, traffic: Any = EVERYTHING) -> Draft:
    return learned(*CLUSTER, *identities, traffic=traffic, namespaces=("shop",))


def addition(found: Draft, name: str = "payments") -> IdentityDraft:
    (one,) = (each for each in found.additions if each.subject.ref.name == name)
    return one


def test_identity_that_was_drafted_lacks_nothing() -> None:
    first = again()
    domain = builders.domain(
        network={"metrics": first.collector.manifest()} if first.collector else {}
    )
    drafts = [each.manifest() for each in first.identities]
    governed = builders.namespace("shop", domain="production")
    second = again(governed, domain, *drafts)
    assert (second.identities, second.additions) == ((), ())


def test_everything_that_was_seen_is_added_to_an_identity_that_lacks_it() -> None:
    whole, part = of(again(), "payments"), addition(again(*IDENTITIES))
    assert [each.value for each in part.accepts] == [each.value for each in whole.accepts]
    assert [each.value for each in part.calls] == [each.value for each in whole.calls]
    assert whole.exceptions == {"metrics": ("metrics",), "probes": ("https",)}
    assert part.exceptions == {"metrics": ("port-9090",), "probes": ("https",)}
    assert [each.name for each in part.ports] == ["port-9090"]


@pytest.mark.parametrize(
    ("entry", "covered"),
    [
        (builders.unverified(cidrs=["198.51.100.0/24"]), True),
        (builders.unverified(cidrs=["198.51.100.0/32", "2001:db8::/32"]), False),
        (builders.unverified("metrics", cidrs=["198.51.100.0/24"]), False),
        (builders.accept("web"), False),
    ],
    ids=["wider", "another", "other port", "identity"],
)
def test_network_is_added_unless_one_that_contains_it_is_accepted(
    entry: Manifest, covered: bool
) -> None:
    ports = [("https", 8443), ("metrics", 9090)]
    identity = builders.identity("payments", ports=ports, accepts=[entry])
    found = again(identity, traffic=(flow(at("198.51.100.7"), end("payments")),))
    assert [each.subject.ref.name for each in found.identities] == ["web"]
    assert bool(found.additions) is not covered


@pytest.mark.parametrize(
    ("peer", "covered"),
    [
        ({"namespaceSelector": NAMED}, True),
        ({"namespaceSelector": NAMED, "podSelector": {"matchLabels": {"app": "nginx"}}}, True),
        ({"namespaceSelector": NAMED, "podSelector": {"matchLabels": {"app": "other"}}}, False),
        ({"podSelector": {"matchLabels": {"app": "nginx"}}}, False),
    ],
    ids=["namespaces", "pods", "other pods", "this namespace"],
)
def test_pods_are_added_unless_selectors_that_select_them_are_accepted(
    peer: Manifest, covered: bool
) -> None:
    identity = builders.identity("payments", ports=["https"], accepts=[builders.unverified(**peer)])
    found = again(identity, traffic=(flow(end("nginx", "ingress"), end("payments")),))
    assert [each.subject.ref.name for each in found.identities] == ["web"]
    assert bool(found.additions) is not covered


def test_new_network_of_a_declared_host_is_added_under_that_host() -> None:
    calling = deployment("web", env={"URL": "https://api.example.com:443"})
    identity = builders.identity("web", calls=[builders.external("203.0.113.0/24")])
    seen = tuple(flow(end("web"), at(each), 443) for each in ("203.0.113.9", "203.0.114.9"))
    found = learned(calling, identity, traffic=seen)
    (entry,) = addition(found, "web").calls
    assert entry.value["external"] == {
        "host": "api.example.com",
        "cidrs": ["203.0.114.9/32"],
        "ports": [443],
    }
    assert learned(calling, identity, traffic=seen[:1]).additions == ()


def test_addition_is_printed_with_its_ports_exceptions_and_notes() -> None:
    text = render(again(*IDENTITIES))["shop"]
    assert "# ServiceIdentity shop/payments exists. Add to its spec:\n" in text
    assert "#   workload: {ports: [{name: port-9090, port: 9090}]}\n" in text
    assert "#   - {kubernetesAPI: true}\n" in text
    assert "#   exceptions: {metrics: [port-9090], probes: [https]}\n" in text
    assert "# Review: replace external-443.invalid by the name of the host" in text
    assert all(line.startswith("#") for line in text.splitlines())


def test_note_on_an_identity_that_lacks_nothing_is_printed() -> None:
    found = again(*IDENTITIES, traffic=(flow(at("10.0.0.99"), end("payments")),))
    assert not addition(found).has_entries
    text = render(found)["shop"]
    assert "# ServiceIdentity shop/payments exists. It lacks no entry.\n" in text
    assert "# Review: 10.0.0.99, which no pod has now called port 8443" in text


# Ports


def many(count: int, **described: Any) -> Manifest:
    ports = {f"p{n}": 1000 + n for n in range(1, count + 1)}
    return deployment("payments", ports=ports, **described)


def test_port_in_use_is_kept_before_one_that_nobody_calls() -> None:
    found = learned(WEB, many(17), traffic=(flow(end("web"), end("payments"), 1017),))
    assert spec(found, "payments")["accepts"] == [{"from": {"name": "web"}, "ports": ["p17"]}]
    ports = [each["name"] for each in spec(found, "payments")["workload"]["ports"]]
    assert ports == [f"p{n}" for n in range(1, 18) if n != 16]
    assert of(found, "payments").notes == (
        "Review: it has 17 ports, and an identity has at most 16. Left out: 1016.",
    )


def test_port_in_use_for_which_there_is_no_room_is_noted_and_not_called() -> None:
    seen = tuple(flow(end("web"), end("payments"), 1000 + n) for n in range(1, 18))
    found = learned(WEB, many(17), traffic=seen)
    names = [f"p{n}" for n in range(1, 17)]
    assert spec(found, "payments")["accepts"] == [{"from": {"name": "web"}, "ports": names}]
    assert spec(found, "web")["calls"] == [{"to": {"name": "payments"}, "ports": names}]
    assert "something calls port 1017, which is left out" in of(found, "payments").notes[1]


def test_identity_with_all_ports_keeps_them() -> None:
    ports = [(f"p{n}", 1000 + n) for n in range(1, 17)]
    identity = builders.identity("payments", ports=ports)
    scene = scene_of((SHOP, WEB, many(16), identity), NOON)
    scene.traffic = Traffic((flow(end("web"), end("payments"), 7000),), SINCE)
    found = draft(scene)
    assert not addition(found).has_entries
    assert "something calls port 7000, which is left out" in addition(found).notes[1]
    assert of(found, "web").calls == ()
