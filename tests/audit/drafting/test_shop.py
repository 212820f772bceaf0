"""The example shop without Troth is drafted as it was declared.

Its evidence is what other teams have: the NetworkPolicies that somebody wrote by hand, or Services
and environments, or traffic.
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from sandbox.demo.shop import Place, Shop
from tests import builders
from tests.audit.objects import deployment
from tests.builders import NOW
from troth.audit.drafting.draft import Draft, draft
from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Object
from troth.audit.scene import Scene, scene_of
from troth.resources.references import Ref

EXAMPLES = Path(__file__).parents[3] / "examples"
NAMESPACES = ("shop", "finance", "legacy", "staging")
COLLECTOR = deployment("prometheus", "monitoring")
API_SERVER = builders.endpoint_slice("192.0.2.10")
Manifest = dict[str, Any]

SHOP = Shop.read()


def workloads() -> list[Manifest]:
    return [
        each
        for file in sorted((EXAMPLES / "workloads").glob("*.yaml"))
        for each in yaml.safe_load_all(file.read_text())
    ]


def cluster(*more: Manifest) -> list[Manifest]:
    """Return the shop's own objects of Kubernetes, without any of Troth."""
    own = [each for each in SHOP.manifests if not each["apiVersion"].startswith("troth.dev")]
    return [*own, *workloads(), COLLECTOR, API_SERVER, *more]


def policies() -> list[Manifest]:
    """Return the shop's NetworkPolicies as somebody who does not have Troth writes them."""
    enforced = []
    for each in SHOP.manifests:
        if each["kind"] == "ServiceAccount":
            continue  # no plan reads it
        spec = {k: v for k, v in each.get("spec", {}).items() if k != "enforcement"}
        authentication = spec.get("authentication", {})
        if trust := authentication.get("gatewayOnly"):
            lasting = trust | {"expiresAt": builders.stamp(NOW + timedelta(days=60))}
            spec["authentication"] = {"gatewayOnly": lasting}
        enforced.append({**each, "spec": spec} if each["kind"] == "ServiceIdentity" else each)
    made = builders.Cluster.of(*enforced, API_SERVER).settle().policies()
    return [
        {
            **each,
            "metadata": {"name": f"by-hand-{number}", "namespace": each["metadata"]["namespace"]},
        }
        for number, each in enumerate(made)
    ]


def accepted(found: Draft) -> set[tuple[str, str, str]]:
    """Return caller, callee and port of the entries that name an identity on the callee's side."""
    return set(_edges(found, "accepts", "from", inbound=True))


def called(found: Draft) -> set[tuple[str, str, str]]:
    return set(_edges(found, "calls", "to", inbound=False))


def _edges(
    found: Draft, list_: str, member: str, *, inbound: bool
) -> Iterable[tuple[str, str, str]]:
    for each in found.identities:
        here = str(each.subject.ref)
        for entry in each.manifest()["spec"].get(list_, []):
            if member in entry:
                there = entry[member]
                peer = f"{there.get('namespace', each.subject.ref.namespace)}/{there['name']}"
                for port in entry["ports"]:
                    yield (peer, here, port) if inbound else (here, peer, port)


def entries(found: Draft, place: str, list_: str, member: str) -> list[Manifest]:
    (spec,) = (
        each.manifest()["spec"] for each in found.identities if str(each.subject.ref) == place
    )
    return [each for each in spec.get(list_, []) if member in each]


AGREED = {(str(edge.caller), str(edge.callee), edge.port) for edge in SHOP.agreed()}


def test_policies_of_others_give_back_every_declared_edge() -> None:
    found = draft(scene_of(cluster(*policies()), NOW), NAMESPACES)
    assert accepted(found) == AGREED
    assert called(found) == AGREED
    (outside,) = entries(found, "shop/checkout", "accepts", "unverified")
    assert outside["unverified"]["namespaceSelector"] == {
        "matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}
    }
    (external,) = entries(found, "shop/payments", "calls", "external")
    assert external["external"]["cidrs"] == ["203.0.113.0/24"]
    assert entries(found, "shop/fulfilment", "calls", "kubernetesAPI")
    exceptions = {str(each.subject.ref): each.exceptions for each in found.identities}
    assert exceptions["shop/payments"] == {"metrics": ("metrics",)}


def test_environments_and_services_give_back_every_declared_edge() -> None:
    services = {
        Place.of(each): each["spec"]["ports"][0]["port"]
        for each in SHOP.manifests
        if each["kind"] == "Service"
    }
    manifests = cluster()
    for each in manifests:
        if each["kind"] == "Deployment":
            place = Place.of(each)
            container = each["spec"]["template"]["spec"]["containers"][0]
            container["env"] = [
                {
                    "name": f"URL_{number}",
                    "value": f"https://{edge.callee.name}.{edge.callee.namespace}.svc:"
                    f"{services[edge.callee]}/v1",
                }
                for number, edge in enumerate(SHOP.agreed())
                if edge.caller == place
            ]
    found = draft(scene_of(manifests, NOW), NAMESPACES)
    assert accepted(found) == AGREED
    assert called(found) == AGREED


def of_deployment(place: Place) -> Endpoint:
    return Endpoint(Object("Deployment", Ref(place.namespace, place.name)))


def seen_shop() -> Scene:
    """Return the shop's cluster in which every declared edge was used."""
    flows = [
        Flow(
            of_deployment(edge.caller),
            of_deployment(edge.callee),
            SHOP.ports(edge.callee)[edge.port],
            "TCP",
            *(7, NOW - timedelta(days=6), NOW, "conntrack"),
        )
        for edge in SHOP.agreed()
    ]
    scene = scene_of(cluster(), NOW)
    scene.traffic = Traffic(tuple(flows), NOW - timedelta(days=7))
    return scene


def test_traffic_gives_back_every_declared_edge() -> None:
    found = draft(seen_shop(), NAMESPACES)
    assert accepted(found) == AGREED
    assert called(found) == AGREED


def test_workload_of_each_identity_is_drafted_as_it_was_declared() -> None:
    drafted = {
        Place(*each.subject.ref): each.manifest()["spec"]
        for each in draft(seen_shop(), NAMESPACES).identities
    }
    for place, manifest in SHOP.identities.items():
        declared, found = manifest["spec"]["workload"], drafted[place]["workload"]
        assert found["serviceAccountName"] == declared["serviceAccountName"]
        assert found["podSelector"] == declared["podSelector"]
        assert found.get("ports", []) == declared.get("ports", [])
        assert drafted[place]["enforcement"] == "Observe"


def test_entry_says_how_often_and_since_when_it_was_seen() -> None:
    (ledger,) = (
        each
        for each in draft(seen_shop(), NAMESPACES).identities
        if each.subject.ref.name == "ledger"
    )
    first, last = (f"{each:%Y-%m-%d %H:%M}" for each in (NOW - timedelta(days=6), NOW))
    told = f"7 connections since {first}, last at {last} UTC, seen by conntrack"
    assert {comment for entry in ledger.accepts for comment in entry.comments} == {told}
