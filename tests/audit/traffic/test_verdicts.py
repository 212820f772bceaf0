"""Verdicts about traffic agree with a judge of packets about the policies that Troth writes."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
from tests.audit.objects import web_and_payments
from tests.audit.scenes import cron_job, job
from tests.builders import NOW, Cluster, Manifest
from tests.networkpolicy import Network, Pod
from tests.oracle import Declared
from tests.planning.test_reachability import OPENINGS, compiled, pods
from tests.strategies import clusters
from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Object
from troth.audit.scene import Scene, scene_of
from troth.audit.traffic.verdicts import judged, verdicts
from troth.documents.probes import LABEL
from troth.resources.references import Ref
from troth.resources.reported import MOST_PEERS, PeerTraffic, TrafficDirection, TrafficVerdict
from troth.resources.selectors import LabelSelector

ALLOWED, DENIED = TrafficVerdict.ALLOWED, TrafficVerdict.WOULD_BE_DENIED
INBOUND, OUTBOUND = TrafficDirection.INBOUND, TrafficDirection.OUTBOUND


def manifest_of(pod: Pod, *, host_network: bool = False) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name_of(pod),
            "namespace": pod.namespace,
            "labels": dict(pod.labels),
        },
        "spec": {"containers": [{"name": "main"}], "hostNetwork": host_network},
        "status": {"phase": "Running", "podIPs": [{"ip": pod.address}]},
    }


def name_of(pod: Pod) -> str:
    return "pod-" + pod.address.replace(".", "-").replace(":", "-")


def end(pod: Pod) -> Endpoint:
    if not pod.namespace:
        return Endpoint(None, pod.address)
    return Endpoint(Object("Pod", Ref(pod.namespace, name_of(pod))))


def flow(source: Pod, destination: Pod, port: int, protocol: str = "TCP", count: int = 1) -> Flow:
    ends = end(source), end(destination)
    return Flow(*ends, port, protocol, count, NOW - timedelta(hours=count), NOW, "conntrack")


def seen(manifests: list[Manifest], flows: list[Flow]) -> Scene:
    scene = scene_of(manifests, NOW, in_cluster=True)
    scene.traffic = Traffic(tuple(flows), NOW)
    return scene


def enforced(manifests: list[Manifest]) -> Iterator[Manifest]:
    """Yield the manifests with `enforcement: Enforce` for every identity."""
    for each in manifests:
        if each["kind"] == "ServiceIdentity":
            yield {**each, "spec": {**each["spec"], "enforcement": "Enforce"}}
        else:
            yield each


FLOWS = 25
"""Number of connections in one example."""


@given(clusters(), st.randoms(use_true_random=False))
def test_verdict_is_that_of_the_policy_which_enforcement_would_write(
    manifests: list[Manifest], random: Random
) -> None:
    declared = Declared.by(manifests, NOW)
    everyone = pods(declared)
    inside = [each for each in everyone if each.namespace]
    if not inside:
        return
    connections = [
        (source, destination, opening)
        for me, other, opening in (
            (random.choice(inside), random.choice(everyone), random.choice(OPENINGS))
            for _ in range(FLOWS)
        )
        for source, destination in ((me, other), (other, me))
        if me is not other
    ]
    flows = [flow(each, other, number, protocol) for each, other, (protocol, number) in connections]
    scene = seen([*manifests, *map(manifest_of, inside)], flows)
    written = compiled(Cluster.of(*enforced(manifests)))
    policies = {Ref.of(each): each for each in written}
    expected: dict[Ref, set[tuple[object, ...]]] = defaultdict(set)
    for source, destination, (protocol, number) in connections:
        for me, other, direction, kind in (
            (destination, source, INBOUND, "Ingress"),
            (source, destination, OUTBOUND, "Egress"),
        ):
            for ref in scene.identities_of(me.namespace, me.labels) if me.namespace else ():
                policy = policies.get(Ref(ref.namespace, f"{ref.name}-troth"))
                if policy is not None:
                    judge = Network(declared.namespaces, (policy,))
                    lets = judge.allows(kind, me, other, number, protocol)
                    verdict = ALLOWED if lets else DENIED
                    expected[ref].add(
                        (peer_name(scene, other), direction, number, protocol, verdict)
                    )
    assert {
        ref: {(each.peer, each.direction, each.port, each.protocol, each.verdict) for each in peers}
        for ref, peers in judged(scene).peers.items()
    } == expected


def peer_name(scene: Scene, pod: Pod) -> str:
    if not pod.namespace:
        return pod.address
    found = list(scene.identities_of(pod.namespace, pod.labels))
    return str(found[0]) if len(found) == 1 else str(end(pod).workload)


# One shop

WEB = Pod("shop", {"app": "web"}, "10.0.0.1")
PAYMENTS = Pod("shop", {"app": "payments"}, "10.0.0.2")
STRANGER = Pod("shop", {"app": "stranger"}, "10.0.0.3")
OUTSIDE = Pod("", {}, "198.51.100.7")


def shop(*flows: Flow, enforcement: str = "Observe") -> dict[Ref, tuple[PeerTraffic, ...]]:
    """Return the verdicts about traffic in a shop whose web calls its payments."""
    manifests = [
        *web_and_payments(enforcement),
        *(manifest_of(each) for each in (WEB, PAYMENTS, STRANGER)),
    ]
    return verdicts(seen(manifests, list(flows)))


def test_declared_call_is_allowed_and_counted_at_both_ends() -> None:
    found = shop(flow(WEB, PAYMENTS, 8443, count=2), flow(WEB, PAYMENTS, 8443, count=3))
    (inbound,), (outbound,) = found[Ref("shop", "payments")], found[Ref("shop", "web")]
    assert (inbound.peer, inbound.direction, inbound.verdict) == ("shop/web", INBOUND, ALLOWED)
    assert (outbound.peer, outbound.direction) == ("shop/payments", OUTBOUND)
    assert (inbound.connections, inbound.first_seen) == (5, NOW - timedelta(hours=3))
    assert inbound.last_seen == NOW


def test_what_enforcement_would_deny_comes_first() -> None:
    denied, allowed = shop(flow(WEB, PAYMENTS, 8443), flow(STRANGER, PAYMENTS, 8443))[
        Ref("shop", "payments")
    ]
    assert (denied.peer, denied.verdict) == (
        "Pod shop/stranger".replace("stranger", name_of(STRANGER)),
        DENIED,
    )
    assert (allowed.peer, allowed.verdict) == ("shop/web", ALLOWED)


def test_address_outside_the_cluster_is_named_by_itself() -> None:
    (found,) = shop(flow(OUTSIDE, PAYMENTS, 8443))[Ref("shop", "payments")]
    assert (found.peer, found.verdict) == (OUTSIDE.address, DENIED)


def test_verdicts_are_the_same_with_enforcement() -> None:
    flows = flow(WEB, PAYMENTS, 8443), flow(STRANGER, PAYMENTS, 8443)
    assert shop(*flows, enforcement="Enforce") == shop(*flows)


def test_status_has_at_most_so_many_peers_and_those_that_would_be_denied_first() -> None:
    strangers = [Pod("", {}, f"198.51.100.{number}") for number in range(MOST_PEERS)]
    flows = [flow(WEB, PAYMENTS, 8443), *(flow(each, PAYMENTS, 8443) for each in strangers)]
    found = shop(*flows)[Ref("shop", "payments")]
    assert len(found) == MOST_PEERS
    assert {each.verdict for each in found} == {DENIED}


def test_identity_without_a_trust_domain_has_no_verdict() -> None:
    manifests = [
        builders.namespace("shop"),
        builders.identity("payments", "shop", ports=["https"]),
        manifest_of(PAYMENTS),
    ]
    assert verdicts(seen(manifests, [flow(OUTSIDE, PAYMENTS, 8443)])) == {}


def test_pods_in_the_host_network_are_beyond_policies() -> None:
    manifests = [
        builders.domain(),
        builders.namespace("shop", domain="production"),
        builders.identity("payments", "shop", ports=["https"]),
        manifest_of(PAYMENTS, host_network=True),
    ]
    found = verdicts(seen(manifests, [flow(OUTSIDE, PAYMENTS, 8443)]))
    assert [each.verdict for each in found[Ref("shop", "payments")]] == [ALLOWED]


# What no verdict can be about


def around(
    pods: list[Manifest], *flows: Flow, domain: Manifest | None = None, **spec: Any
) -> Scene:
    """Return a scene with payments, which accepts the web, in an enforced namespace."""
    payments = builders.identity(
        "payments", "shop", ports=["https"], accepts=[builders.accept("web")], **spec
    )
    web = builders.identity("web", "shop", calls=[builders.call("payments")])
    space = builders.namespace("shop", domain="production")
    scene = seen([domain or builders.domain(), space, payments, web, *pods], list(flows))
    scene.traffic = replace(scene.traffic, nodes=frozenset({NODE.address}))
    return scene


NODE = Pod("", {}, "192.0.2.1")
GONE = Pod("", {}, "10.0.0.77")
"""Address from the network of the node's pods that no pod has now."""
BOTH = [manifest_of(WEB), manifest_of(PAYMENTS)]
SHOP_PAYMENTS = Ref("shop", "payments")


def test_address_of_a_pod_that_is_gone_is_counted_and_not_judged() -> None:
    """Each rollout of a declared caller leaves such addresses behind."""
    scene = around(BOTH, flow(GONE, PAYMENTS, 8443, count=3), flow(WEB, PAYMENTS, 8443))
    assert [each.peer for each in judged(scene).peers[SHOP_PAYMENTS]] == ["shop/web"]
    assert judged(scene).unjudged == {SHOP_PAYMENTS: 3}


def test_workload_that_is_gone_is_counted_and_not_judged() -> None:
    gone = Pod("shop", {"app": "web"}, "10.0.0.9")
    scene = around(BOTH, flow(gone, PAYMENTS, 8443, count=2))
    assert judged(scene).peers == {}
    assert judged(scene).unjudged == {SHOP_PAYMENTS: 2}


def test_cron_job_is_judged_by_its_template_between_its_runs() -> None:
    night = Endpoint(Object("CronJob", Ref("shop", "night")))
    given = replace(flow(WEB, PAYMENTS, 8443), source=night)
    scene = around([*BOTH, cron_job("night"), job("night-1", "night")], given)
    (found,) = judged(scene).peers[SHOP_PAYMENTS]
    assert (found.peer, found.verdict) == ("CronJob shop/night", DENIED)
    assert judged(scene).unjudged == {}


def test_cron_job_that_only_its_pods_show_is_judged_by_their_labels() -> None:
    night = Endpoint(Object("CronJob", Ref("shop", "night")))
    given = replace(flow(WEB, PAYMENTS, 8443), source=night)
    run = manifest_of(Pod("shop", {"app": "night"}, "10.0.0.5"))
    owner = {"kind": "Job", "name": "night-1", "controller": True}
    run["metadata"]["ownerReferences"] = [owner]
    scene = around([*BOTH, run, job("night-1", "night")], given)
    assert [each.peer for each in judged(scene).peers[SHOP_PAYMENTS]] == ["CronJob shop/night"]
    assert judged(scene).unjudged == {}


def test_reply_that_the_kernel_took_for_a_call_is_not_judged() -> None:
    """What the connection tables of a node have after a restart, in both directions."""
    scene = around(BOTH, flow(WEB, PAYMENTS, 8443), flow(PAYMENTS, WEB, 40312))
    assert {each.verdict for peers in judged(scene).peers.values() for each in peers} == {ALLOWED}


def test_call_of_an_ephemeral_port_without_a_call_back_is_judged() -> None:
    scene = around(BOTH, flow(PAYMENTS, WEB, 40312))
    (found,) = judged(scene).peers[Ref("shop", "web")]
    assert found.verdict is DENIED


@pytest.mark.parametrize(
    ("exceptions", "probes", "verdict"),
    [
        ({"probes": ["https"]}, None, ALLOWED),
        ({}, None, DENIED),
        ({"probes": ["https"]}, "198.51.100.0/24", DENIED),
        ({"probes": ["https"]}, "192.0.2.0/24", ALLOWED),
    ],
    ids=["own-node", "no-probe", "other-network", "its-network"],
)
def test_node_may_probe_where_the_domain_names_no_network_of_probes(
    exceptions: Manifest, probes: str | None, verdict: TrafficVerdict
) -> None:
    """Networks admit a pod's own node; where they do not, `network.probes` says so."""
    named = builders.domain(network={"probes": {"cidrs": [probes]}} if probes else {})
    given = flow(NODE, PAYMENTS, 8443)
    scene = around(BOTH, given, domain=named, exceptions=exceptions)
    assert [each.verdict for each in judged(scene).peers[SHOP_PAYMENTS]] == [verdict]


def probing(pod: Pod, *, kind: str = "Job") -> Manifest:
    manifest = manifest_of(pod)
    owner = {"kind": kind, "name": "troth-probe-web-1", "controller": True}
    manifest["metadata"] |= {"labels": {**pod.labels, LABEL: "true"}, "ownerReferences": [owner]}
    return manifest


@pytest.mark.parametrize(("kind", "is_judged"), [("Job", False), ("StatefulSet", True)])
def test_probe_of_an_undeclared_pair_is_no_traffic(kind: str, *, is_judged: bool) -> None:
    prober = Pod("shop", {"app": "stranger"}, "10.0.0.5")
    source = Endpoint(Object(kind, Ref("shop", "troth-probe-web-1")))
    given = replace(flow(WEB, PAYMENTS, 8443), source=source)
    scene = around([*BOTH, probing(prober, kind=kind)], given)
    assert (SHOP_PAYMENTS in judged(scene).peers) is is_judged
    assert judged(scene).unjudged == {}


def test_policy_is_compiled_once_for_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[object] = []
    parse = LabelSelector.model_validate

    def counting(selector: object) -> LabelSelector:
        parsed.append(selector)
        return parse(selector)

    monkeypatch.setattr("troth.audit.traffic.policy.LabelSelector.model_validate", counting)
    counts = []
    for number in (1, 50):
        parsed.clear()
        many = [Pod("shop", {"app": f"caller-{each}"}, f"10.0.1.{each}") for each in range(number)]
        scene = around([*BOTH, *map(manifest_of, many)], *(flow(p, PAYMENTS, 8443) for p in many))
        assert len(judged(scene).peers[SHOP_PAYMENTS]) == number
        counts.append(len(parsed))
    assert counts[0] == counts[1] > 0
