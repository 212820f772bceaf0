"""`identity.json`: what a service verifies its peers against."""

import json
from typing import Any

from tests.builders import DAY, NOW, Cluster, accept, call, gateway_only, identity, shop, unverified
from troth.resources.references import Ref
from troth.world.observe import decoded


def document(cluster: Cluster, name: str = "payments") -> dict[str, Any]:
    secret = cluster.settle().objects["Secret", Ref("shop", f"{name}-identity")]
    text = decoded(secret)["identity.json"].decode()
    assert text.endswith("}\n")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_it_names_live_peers_with_their_ports_and_scopes() -> None:
    cluster = shop(
        identity(
            "payments",
            ports=["https", ("http", 8080)],
            accepts=[
                accept("checkout", "https", scopes=["payments.charge"]),
                accept("checkout", "https", "http", scopes=["payments.read"]),
                accept("nobody"),
                unverified("http", cidrs=["0.0.0.0/0"]),
            ],
            calls=[call("ledger")],
            requires={"context": ["Tenant", "Subject"]},
        ),
        identity("checkout", calls=[call("payments", "https", "http")], account="till"),
        identity("ledger", ports=["https"], accepts=[accept("payments")]),
    )
    prefix = "spiffe://production.example/ns/shop/sa"
    assert document(cluster) == {
        "version": "v1alpha1",
        "spiffeID": f"{prefix}/payments",
        "accepts": [
            {
                "spiffeID": f"{prefix}/till",
                "ports": [
                    {"name": "http", "scopes": ["payments.read"]},
                    {"name": "https", "scopes": ["payments.charge", "payments.read"]},
                ],
            }
        ],
        "calls": [{"name": "shop/ledger", "spiffeID": f"{prefix}/ledger", "ports": ["https"]}],
        "requires": {"context": ["Subject", "Tenant"]},
    }


def test_a_peer_without_an_identity_is_never_in_it() -> None:
    trust = gateway_only("gateway", NOW + DAY)
    cluster = shop(
        identity("payments", calls=[call("legacy")]),
        identity("legacy", ports=["https"], accepts=[accept("gateway")], authentication=trust),
    )
    assert document(cluster)["calls"] == []
    assert ("Secret", Ref("shop", "legacy-identity")) not in cluster.objects


def test_it_does_not_depend_on_the_order_of_declarations() -> None:
    peers = [accept("a", scopes=["x", "y"]), accept("b")]
    callers = [identity(name, calls=[call("payments")]) for name in ("a", "b")]
    documents = [
        document(shop(identity(ports=["https"], accepts=listed), *callers))
        for listed in (peers, peers[::-1])
    ]
    assert documents[0] == documents[1]


def test_a_new_peer_updates_it_in_place() -> None:
    cluster = shop(identity(ports=["https"], accepts=[accept("checkout")]))
    assert document(cluster)["accepts"] == []
    leaf = cluster.objects["Secret", Ref("shop", "payments-identity")]["data"]["tls.crt"]
    cluster.put(identity("checkout", calls=[call("payments")]))
    assert len(document(cluster)["accepts"]) == 1
    assert cluster.objects["Secret", Ref("shop", "payments-identity")]["data"]["tls.crt"] == leaf


def test_a_peer_stays_in_it_while_a_conflict_suspends_the_edge() -> None:
    """As its rule in the NetworkPolicy does; else any rival for its account cuts it off."""
    cluster = shop(
        identity(ports=["https"], accepts=[accept("checkout")]),
        identity("checkout", calls=[call("payments")]),
    )
    before = document(cluster)
    cluster.put(identity("rival", account="checkout"))
    assert document(cluster) == before


def test_a_peer_that_is_taken_back_leaves_it_also_during_a_conflict() -> None:
    cluster = shop(
        identity(ports=["https"], accepts=[accept("checkout")]),
        identity("checkout", calls=[call("payments")]),
    )
    assert len(document(cluster)["accepts"]) == 1
    cluster.put(identity("rival", account="payments"))
    cluster.settle()
    cluster.put(identity(ports=["https"]))
    assert document(cluster)["accepts"] == []
