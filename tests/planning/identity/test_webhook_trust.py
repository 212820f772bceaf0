"""What a target's document says of the gateway that delivers to it, and the edge between them."""

import copy
import itertools
import json
from typing import Any

import pytest

from tests import builders
from tests.builders import Cluster, Manifest, accept, authority_secret, call, identity, key_of
from tests.changed_manifests import changed
from tests.networkpolicy import Network, Pod
from tests.webhook_builders import INBOUND, PATH, endpoint
from tests.webhook_scene import GATEWAY, HOOKS, accepts_gateway, gateway, namespaces, scene, target
from troth.documents.identity.document import parse_document
from troth.planning.steps.certificates import UpdatePublic
from troth.resources.references import Ref
from troth.world.observation.objects import decoded

PREFIX = "spiffe://production.example/ns"
GATEWAY_ID = f"{PREFIX}/{GATEWAY}/sa/{GATEWAY}"
SECRET = "Secret", Ref("shop", "payments-identity")
SIGNING = "Secret", Ref(GATEWAY, f"{GATEWAY}-webhook-signing")
APPS = ("payments", "other")
LISTED = {"name": "shop/stripe-charges", "path": "/events/stripe", "workflow": "settle-charge"}


def cluster(*instead: Manifest) -> Cluster:
    return Cluster.of(*scene(authority_secret(), *instead)).settle()


def document(there: Cluster, place: tuple[str, Ref] = SECRET) -> Any:
    return json.loads(decoded(there.objects[place])["identity.json"])


def key_set(there: Cluster) -> Any:
    return json.loads(decoded(there.objects[SECRET])["webhook-jwks.json"])


def broken(manifest: Manifest) -> Manifest:
    """Return the same manifest in an unreadable version."""
    return changed(manifest, f"{INBOUND}.target.port", 7)


def test_target_knows_gateway_port_endpoints_and_keys() -> None:
    (entry,) = document(cluster())["webhooks"]
    (key,) = entry.pop("keys")["keys"]
    assert entry == {
        "gateway": GATEWAY_ID,
        "issuer": GATEWAY_ID,
        "port": HOOKS,
        "endpoints": [LISTED],
    }
    assert {name: key[name] for name in ("kty", "crv", "use", "alg")} == {
        "kty": "EC",
        "crv": "P-256",
        "use": "sig",
        "alg": "ES256",
    }


def test_key_set_file_has_the_same_keys() -> None:
    there = cluster()
    assert key_set(there) == document(there)["webhooks"][0]["keys"]


def test_written_document_parses_in_the_edge_library() -> None:
    parsed = parse_document(decoded(cluster().objects[SECRET])["identity.json"])
    assert [each.gateway for each in parsed.webhooks] == [GATEWAY_ID]


def test_gateway_and_target_are_ordinary_peers() -> None:
    there = cluster()
    assert document(there)["accepts"] == [
        {"spiffeID": GATEWAY_ID, "ports": [{"name": HOOKS, "scopes": []}]}
    ]
    gateways = document(there, ("Secret", Ref(GATEWAY, f"{GATEWAY}-identity")))
    assert gateways["calls"] == [
        {"name": "shop/payments", "spiffeID": f"{PREFIX}/shop/sa/payments", "ports": [HOOKS]}
    ]
    assert "webhooks" not in gateways


def test_network_is_open_from_gateway_to_target_on_that_port_alone() -> None:
    there = cluster(identity("other"))
    network = Network(
        {
            ref.name: each["metadata"]["labels"]
            for (kind, ref), each in there.objects.items()
            if kind == "Namespace"
        },
        tuple(there.policies()),
    )
    pods = [
        Pod(GATEWAY, {"app": GATEWAY}, "10.0.0.1"),
        *(Pod("shop", {"app": app}, "10.0.0.2") for app in APPS),
    ]
    opened = {
        (source.labels["app"], destination.labels["app"], port)
        for source, destination in itertools.permutations(pods, 2)
        for port in (8443, 9443)
        if network.lets(source, destination, port, "TCP")
    }
    assert opened == {(GATEWAY, "payments", 9443)}


def test_endpoints_are_listed_in_the_order_of_their_names() -> None:
    listed = document(cluster(endpoint("another")))["webhooks"][0]["endpoints"]
    assert [each["name"] for each in listed] == ["shop/another", "shop/stripe-charges"]


def test_target_without_endpoints_has_no_webhooks_and_no_key_set() -> None:
    there = cluster()
    there.drop("WebhookEndpoint", Ref("shop", "stripe-charges"))
    there.settle()
    assert "webhooks" not in document(there)
    assert "webhook-jwks.json" not in decoded(there.objects[SECRET])
    assert document(there)["accepts"] == []


def test_call_that_the_gateway_declares_itself_is_no_webhook() -> None:
    calling = gateway(calls=[builders.call("payments", "https", namespace="shop")])
    there = cluster(calling, target(accepts=[accepts_gateway("https", HOOKS)]))
    assert [each["port"] for each in document(there)["webhooks"]] == [HOOKS]
    assert len(document(there)["accepts"][0]["ports"]) == 2


def test_foreign_key_is_not_listed_and_the_port_stays_for_webhooks() -> None:
    there = cluster()
    stranger = copy.deepcopy(there.objects[SIGNING])
    stranger["metadata"]["ownerReferences"] = []
    there.put(stranger)
    there.visit(key_of())
    (entry,) = document(there)["webhooks"]
    assert (entry["port"], entry["keys"]) == (HOOKS, {"keys": []})


def test_target_keeps_the_entry_of_an_unreadable_endpoint() -> None:
    there = cluster()
    before = document(there)
    assert key_of() in there.put(broken(endpoint()))
    there.settle()
    assert document(there) == before
    assert [each["state"] for each in _edges(there)] == ["Suspended"]


def test_unreadable_endpoint_without_an_entry_is_not_listed() -> None:
    there = cluster()
    there.put(broken(endpoint("another")))
    there.settle()
    assert document(there)["webhooks"][0]["endpoints"] == [LISTED]


def test_other_endpoints_change_beside_an_unreadable_one() -> None:
    there = cluster(endpoint("another"))
    there.put(broken(endpoint()))
    there.settle()
    there.drop("WebhookEndpoint", Ref("shop", "another"))
    there.settle()
    assert document(there)["webhooks"][0]["endpoints"] == [LISTED]


def test_no_endpoint_is_added_while_a_conflict_suspends_the_edge() -> None:
    there = cluster()
    there.put(identity("rival", account="payments"))
    there.put(endpoint("another"))
    there.settle()
    assert [each["state"] for each in _edges(there)] == ["Suspended"]
    assert document(there)["webhooks"][0]["endpoints"] == [LISTED]


def test_changed_endpoint_keeps_its_entry_while_the_edge_is_suspended() -> None:
    there = cluster()
    there.put(identity("rival", account="payments"))
    there.put(changed(endpoint(), PATH, "/events/other"))
    there.settle()
    assert document(there)["webhooks"][0]["endpoints"] == [LISTED]


def test_endpoint_deleted_from_a_suspended_edge_is_removed() -> None:
    there = cluster(endpoint("another"))
    there.put(identity("rival", account="payments"))
    there.drop("WebhookEndpoint", Ref("shop", "another"))
    there.settle()
    assert document(there)["webhooks"][0]["endpoints"] == [LISTED]


def _edges(there: Cluster) -> list[Manifest]:
    status = there.objects["ServiceIdentity", Ref("shop", "payments")]["status"]
    edges: list[Manifest] = status["edges"]
    return edges


@pytest.mark.parametrize("who", ["payments", GATEWAY])
def test_gateway_and_target_are_ready(who: str) -> None:
    there = cluster()
    key = key_of(who, "shop" if who == "payments" else GATEWAY)
    assert there.condition(key, "Ready")["status"] == "True"
    assert there.condition(key, "PeersAgree")["status"] == "True"


def test_missing_consent_of_a_target_does_not_affect_the_gateway() -> None:
    there = cluster(target(accepts=[]))
    key = key_of(GATEWAY, GATEWAY)
    assert there.condition(key, "PeersAgree")["status"] == "True"
    (edge,) = there.objects["ServiceIdentity", key.ref]["status"]["edges"]
    assert edge["state"] == "AwaitingCallee"
    assert "for WebhookEndpoint shop/stripe-charges" in edge["message"]


def test_namespace_that_leaves_the_gateway_closes_both_ends() -> None:
    there = cluster()
    shop = namespaces(webhooks="no")[2]
    assert {key_of(), key_of(GATEWAY, GATEWAY)} <= there.put(shop)
    there.settle()
    assert document(there)["accepts"] == []
    assert "webhooks" not in document(there)


def test_every_change_of_an_endpoint_invalidates_both_ends() -> None:
    there, both = cluster(), {key_of(), key_of(GATEWAY, GATEWAY)}
    assert both <= there.put(broken(endpoint()))
    assert both <= there.put(endpoint())
    assert both <= there.put(endpoint("another"))
    assert both <= there.drop("WebhookEndpoint", Ref("shop", "another"))
    assert not both & there.put(endpoint()), "nothing of it has changed"


def test_port_that_stays_open_for_the_gateway_stays_for_webhooks() -> None:
    """Otherwise the gateway's requests would need no delivery token, as any caller's do."""
    there = cluster()
    there.put(broken(endpoint("another")))
    there.drop("WebhookEndpoint", Ref("shop", "stripe-charges"))
    there.settle()
    assert [each["state"] for each in _edges(there)] == ["Suspended"]
    assert len(document(there)["accepts"]) == 1
    (entry,) = document(there)["webhooks"]
    assert (entry["port"], entry["endpoints"]) == (HOOKS, [])


def test_new_unreadable_endpoint_invalidates_every_gateway_accepted_there() -> None:
    there, both = cluster(), {key_of(), key_of(GATEWAY, GATEWAY)}
    assert both <= there.put(broken(endpoint("another")))
    assert both <= there.drop("WebhookEndpoint", Ref("shop", "another"))


def test_unreadable_endpoint_changes_no_plan_of_an_identity_that_accepts_no_gateway() -> None:
    """Its document keeps no entry, so a write that is pending needs no observed version."""
    there = cluster(identity("ledger", ports=["https"]), identity("web", calls=[call("ledger")]))
    there.put(identity("ledger", ports=["https"], accepts=[accept("web")]))
    before = there.plan(key_of("ledger"))
    assert before.pending(there.world)
    assert key_of("ledger") not in there.put(broken(endpoint("another")))
    assert there.plan(key_of("ledger")) == before


def test_namespace_invalidates_its_gateway_without_a_target() -> None:
    there = cluster()
    there.drop("ServiceIdentity", Ref("shop", "payments"))
    assert key_of(GATEWAY, GATEWAY) in there.put(namespaces(webhooks="no")[2])


def test_kept_entries_are_written_only_over_the_observed_document() -> None:
    """Otherwise an operator with an old cache could restore an endpoint that was deleted since."""
    there = cluster(endpoint("another"), endpoint("third"))
    there.put(broken(endpoint()))
    there.drop("WebhookEndpoint", Ref("shop", "another"))
    (step,) = (each for each in there.plan(key_of()).steps if isinstance(each, UpdatePublic))
    assert step.over == there.objects[SECRET]["metadata"]["resourceVersion"]
    assert step.over
