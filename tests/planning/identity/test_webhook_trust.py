"""What a target is told of the gateway that hands webhooks on to it, and the way between them."""

import copy
import itertools
import json
from typing import Any

import pytest

from tests import builders
from tests.builders import Cluster, Manifest, authority_secret, identity, key_of
from tests.changing import changed
from tests.networkpolicy import Network, Pod
from tests.webhook_builders import INBOUND, PATH, endpoint
from tests.webhook_scene import GATEWAY, HOOKS, accepts_gateway, gateway, namespaces, scene, target
from troth.edge.identity.document import parse_document
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
    """The same in a version that cannot be read."""
    return changed(manifest, f"{INBOUND}.target.port", 7)


def test_the_target_knows_gateway_port_endpoints_and_keys() -> None:
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


def test_whoever_verifies_with_a_library_has_the_same_keys_as_a_key_set() -> None:
    there = cluster()
    assert key_set(there) == document(there)["webhooks"][0]["keys"]


def test_what_is_written_is_what_services_read() -> None:
    parsed = parse_document(decoded(cluster().objects[SECRET])["identity.json"])
    assert [each.gateway for each in parsed.webhooks] == [GATEWAY_ID]


def test_gateway_and_target_are_each_others_peers_as_any_two() -> None:
    there = cluster()
    assert document(there)["accepts"] == [
        {"spiffeID": GATEWAY_ID, "ports": [{"name": HOOKS, "scopes": []}]}
    ]
    gateways = document(there, ("Secret", Ref(GATEWAY, f"{GATEWAY}-identity")))
    assert gateways["calls"] == [
        {"name": "shop/payments", "spiffeID": f"{PREFIX}/shop/sa/payments", "ports": [HOOKS]}
    ]
    assert "webhooks" not in gateways


def test_the_network_is_open_from_gateway_to_target_on_that_port_alone() -> None:
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


def test_without_an_endpoint_the_target_is_told_of_nothing_and_the_file_is_gone() -> None:
    there = cluster()
    there.drop("WebhookEndpoint", Ref("shop", "stripe-charges"))
    there.settle()
    assert "webhooks" not in document(there)
    assert "webhook-jwks.json" not in decoded(there.objects[SECRET])
    assert document(there)["accepts"] == []


def test_a_call_of_the_gateways_own_is_no_webhook() -> None:
    calling = gateway(calls=[builders.call("payments", "https", namespace="shop")])
    there = cluster(calling, target(accepts=[accepts_gateway("https", HOOKS)]))
    assert [each["port"] for each in document(there)["webhooks"]] == [HOOKS]
    assert len(document(there)["accepts"][0]["ports"]) == 2


def test_a_key_that_is_not_the_gateways_is_not_told_of_and_the_port_stays_for_webhooks() -> None:
    there = cluster()
    stranger = copy.deepcopy(there.objects[SIGNING])
    stranger["metadata"]["ownerReferences"] = []
    there.put(stranger)
    there.visit(key_of())
    (entry,) = document(there)["webhooks"]
    assert (entry["port"], entry["keys"]) == (HOOKS, {"keys": []})


def test_while_an_endpoint_cannot_be_read_the_target_knows_of_it_what_it_knew() -> None:
    there = cluster()
    before = document(there)
    assert key_of() in there.put(broken(endpoint()))
    there.settle()
    assert document(there) == before
    assert [each["state"] for each in _edges(there)] == ["Suspended"]


def test_what_cannot_be_read_and_was_not_there_is_not_told_of() -> None:
    there = cluster()
    there.put(broken(endpoint("another")))
    there.settle()
    assert document(there)["webhooks"][0]["endpoints"] == [LISTED]


def test_beside_one_that_cannot_be_read_another_comes_and_goes() -> None:
    there = cluster(endpoint("another"))
    there.put(broken(endpoint()))
    there.settle()
    there.drop("WebhookEndpoint", Ref("shop", "another"))
    there.settle()
    assert document(there)["webhooks"][0]["endpoints"] == [LISTED]


def test_while_a_conflict_suspends_the_edge_no_endpoint_is_added_to_it() -> None:
    there = cluster()
    there.put(identity("rival", account="payments"))
    there.put(endpoint("another"))
    there.settle()
    assert [each["state"] for each in _edges(there)] == ["Suspended"]
    assert document(there)["webhooks"][0]["endpoints"] == [LISTED]


def test_nor_is_one_that_it_has_changed_while_the_gateway_goes_on_as_before() -> None:
    there = cluster()
    there.put(identity("rival", account="payments"))
    there.put(changed(endpoint(), PATH, "/events/other"))
    there.settle()
    assert document(there)["webhooks"][0]["endpoints"] == [LISTED]


def test_of_a_suspended_edge_an_endpoint_that_goes_is_gone() -> None:
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
def test_everything_is_well_at_both_ends(who: str) -> None:
    there = cluster()
    key = key_of(who, "shop" if who == "payments" else GATEWAY)
    assert there.condition(key, "Ready")["status"] == "True"
    assert there.condition(key, "PeersAgree")["status"] == "True"


def test_what_endpoints_ask_of_a_gateway_does_not_make_it_look_unwell() -> None:
    there = cluster(target(accepts=[]))
    key = key_of(GATEWAY, GATEWAY)
    assert there.condition(key, "PeersAgree")["status"] == "True"
    (edge,) = there.objects["ServiceIdentity", key.ref]["status"]["edges"]
    assert edge["state"] == "AwaitingCallee"
    assert "for WebhookEndpoint shop/stripe-charges" in edge["message"]


def test_a_namespace_that_is_not_served_any_more_closes_at_both_ends() -> None:
    there = cluster()
    shop = namespaces(webhooks="no")[2]
    assert {key_of(), key_of(GATEWAY, GATEWAY)} <= there.put(shop)
    there.settle()
    assert document(there)["accepts"] == []
    assert "webhooks" not in document(there)


def test_every_change_of_an_endpoint_has_both_ends_looked_at_again() -> None:
    there, both = cluster(), {key_of(), key_of(GATEWAY, GATEWAY)}
    assert both <= there.put(broken(endpoint()))
    assert both <= there.put(endpoint())
    assert both <= there.put(endpoint("another"))
    assert both <= there.drop("WebhookEndpoint", Ref("shop", "another"))
    assert not both & there.put(endpoint()), "nothing of it has changed"


def test_a_port_that_stays_open_for_the_gateway_stays_for_webhooks() -> None:
    """Else what comes from it would count without a token, as any caller's does."""
    there = cluster()
    there.put(broken(endpoint("another")))
    there.drop("WebhookEndpoint", Ref("shop", "stripe-charges"))
    there.settle()
    assert [each["state"] for each in _edges(there)] == ["Suspended"]
    assert len(document(there)["accepts"]) == 1
    (entry,) = document(there)["webhooks"]
    assert (entry["port"], entry["endpoints"]) == (HOOKS, [])


def test_one_that_comes_and_cannot_be_read_concerns_whatever_gateways_are_accepted_there() -> None:
    there, both = cluster(), {key_of(), key_of(GATEWAY, GATEWAY)}
    assert both <= there.put(broken(endpoint("another")))
    assert both <= there.drop("WebhookEndpoint", Ref("shop", "another"))


def test_a_gateway_hears_of_a_namespace_though_the_target_is_not_there() -> None:
    there = cluster()
    there.drop("ServiceIdentity", Ref("shop", "payments"))
    assert key_of(GATEWAY, GATEWAY) in there.put(namespaces(webhooks="no")[2])


def test_what_is_kept_of_one_that_cannot_be_read_is_kept_of_what_was_seen() -> None:
    """Else an operator that is behind could bring back an endpoint that is gone by now."""
    there = cluster(endpoint("another"), endpoint("third"))
    there.put(broken(endpoint()))
    there.drop("WebhookEndpoint", Ref("shop", "another"))
    (step,) = (each for each in there.plan(key_of()).steps if isinstance(each, UpdatePublic))
    assert step.over == there.objects[SECRET]["metadata"]["resourceVersion"]
    assert step.over
