"""A shop of two workloads, and what is drafted for it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tests import builders
from tests.audit.objects import deployment
from troth.audit.drafting.draft import Draft, IdentityDraft, draft
from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Object
from troth.audit.scene import Scene
from troth.resources.references import Ref
from troth.trust.declarations.watched import Watched

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
SINCE = NOON - timedelta(days=2)
WEB = deployment("web")
PAYMENTS = deployment("payments", ports={"https": 8443, "metrics": 9090})
SHOP = builders.namespace("shop")
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-1"},
    "spec": {"podCIDRs": ["10.0.0.0/24"]},
    "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]},
}
Manifest = dict[str, Any]


def end(name: str, namespace: str = "shop") -> Endpoint:
    return Endpoint(Object("Deployment", Ref(namespace, name)))


def at(address: str) -> Endpoint:
    return Endpoint(None, address)


def flow(source: Endpoint, destination: Endpoint, port: int = 8443, protocol: str = "TCP") -> Flow:
    return Flow(source, destination, port, protocol, 3, SINCE, NOON, "conntrack")


def learned(
    *manifests: Manifest,
    traffic: tuple[Flow, ...] = (),
    namespaces: tuple[str, ...] = (),
    watched: tuple[str, ...] = (),
) -> Draft:
    scene = Scene(now=NOON)
    scene.watch(Watched.of(scene.own_namespace, watched))
    for each in (SHOP, *manifests):
        scene.put(each)
    scene.traffic = Traffic(traffic, SINCE, (), frozenset({"192.0.2.2"}))
    return draft(scene, namespaces)


def of(found: Draft, name: str) -> IdentityDraft:
    (one,) = (each for each in found.identities if each.subject.ref.name == name)
    return one


def spec(found: Draft, name: str) -> Manifest:
    content: Manifest = of(found, name).manifest()["spec"]
    return content
