"""Troth that watches some namespaces: it opens and issues nothing elsewhere, and says so."""

from typing import Any

import pytest

from tests import builders
from tests.broker_builders import orders
from tests.builders import (
    OWN,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    identity,
    key_of,
    namespace,
    unverified,
)
from tests.messaging import broker, producer
from tests.webhook_builders import endpoint
from troth.resources.references import Ref
from troth.resources.trust_domain.status import NAMESPACES
from troth.trust.declarations.registry import Registry
from troth.trust.declarations.watched import Watched
from troth.world.keys import domain_key, policy_key, webhook_key
from troth.world.world import World

PRODUCTION = domain_key("production")


def cluster(*manifests: Manifest, watched: tuple[str, ...] = ("shop",), **spec: Any) -> Cluster:
    """Return a shop whose domain also selects the namespaces legal and tax."""
    made = Cluster(World(OWN, Registry(Watched.of(OWN, watched))))
    spaces = (namespace(each, domain="production") for each in ("shop", "legal", "tax"))
    for each in (*spaces, domain(**spec), builders.authority_secret(), *manifests):
        made.put(each)
    return made.settle()


def test_domain_that_selects_other_namespaces_names_them_and_is_not_ready() -> None:
    found = cluster()
    ready = found.condition(PRODUCTION, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NamespaceNotWatched")
    assert ready["message"] == (
        "the namespaceSelector selects namespaces that Troth does not watch, so it issues and "
        "opens nothing there: legal, tax; add them to the chart value namespaces, or change the "
        "selector"
    )
    assert found.condition(PRODUCTION, "Stalled")["status"] == "True"


def test_domain_is_ready_once_no_other_namespace_is_selected() -> None:
    found = cluster()
    for each in ("legal", "tax"):
        assert PRODUCTION in found.put(namespace(each, domain="another"))
    found.settle()
    watched = found.condition(PRODUCTION, "NamespacesWatched")
    assert (watched["status"], watched["reason"]) == ("True", "Watched")
    assert found.condition(PRODUCTION, "Ready")["status"] == "True"


def test_troth_of_all_namespaces_says_nothing_about_them() -> None:
    found = cluster(watched=())
    status = found.visit(PRODUCTION).status or {}
    types = [each["type"] for each in status["conditions"]]
    assert "NamespacesWatched" not in types
    assert status["watchedNamespaces"] == []
    assert found.condition(PRODUCTION, "Ready")["status"] == "True"


def test_status_names_the_watched_namespaces_and_troths_own() -> None:
    status = cluster(watched=("shop", "legal")).visit(PRODUCTION).status or {}
    assert status["watchedNamespaces"] == sorted([OWN, "legal", "shop"])


def test_status_names_a_limited_number_of_namespaces() -> None:
    many = tuple(f"team-{number:03}" for number in range(NAMESPACES + 5))
    status = cluster(watched=many).visit(PRODUCTION).status or {}
    assert status["watchedNamespaces"] == list(many[:NAMESPACES])


def test_bundles_and_isolation_are_written_in_watched_namespaces_alone() -> None:
    found = cluster(isolation="Namespace")
    written = {
        ref.namespace for kind, ref in found.objects if kind in ("ConfigMap", "NetworkPolicy")
    }
    assert written == {"shop"}


def test_edge_with_a_peer_elsewhere_is_closed_and_says_how_to_open_it() -> None:
    found = cluster(
        identity("payments", ports=["https"], accepts=[accept("web", namespace="legal")]),
        identity("web", calls=[call("api", namespace="tax")]),
    )
    for name, peer in (("payments", "legal/web"), ("web", "tax/api")):
        told = found.condition(key_of(name), "PeersAgree")
        assert told["reason"] == "PeerMissing"
        assert (
            f"ServiceIdentity {peer} has no effect, because Troth does not watch namespace "
            f"{peer.split('/')[0]}; add it to the chart value namespaces"
        ) in told["message"]
    for policy in found.policies():
        assert "legal" not in str(policy)
        assert "tax" not in str(policy)


def test_broker_and_webhook_gateway_elsewhere_are_named() -> None:
    found = cluster(
        broker(),
        orders(at=Ref("tax", "main"), producers=[producer("payments")], consumers=[]),
        identity("payments", publishes=[{"policy": {"name": "orders"}}]),
        endpoint(gateway={"name": "gate", "namespace": "legal"}),
    )
    told = str(found.visit(policy_key(Ref("shop", "orders"))).status)
    assert "MessageBroker tax/main has no effect" in told
    told = str(found.visit(webhook_key(Ref("shop", "stripe-charges"))).status)
    assert "ServiceIdentity legal/gate has no effect" in told


@pytest.mark.parametrize("watched", [(), ("shop",)])
def test_identity_of_a_watched_namespace_is_planned_alike(watched: tuple[str, ...]) -> None:
    accepts = [unverified(cidrs=["192.0.2.0/24"]), accept("web")]
    declared = (
        identity("payments", ports=["https"], accepts=accepts),
        identity("web", calls=[call("payments")]),
    )
    found, everywhere = cluster(*declared, watched=watched), cluster(*declared, watched=())
    assert [each["spec"] for each in found.policies()] == [
        each["spec"] for each in everywhere.policies()
    ]
