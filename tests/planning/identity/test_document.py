"""`identity.json`: what a service verifies its peers against."""

import json
from typing import Any

from tests import builders
from tests.builders import (
    DAY,
    NOW,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    gateway_only,
    identity,
    namespace,
    shop,
    unverified,
)
from troth.resources.references import Ref
from troth.world.observation.objects import decoded


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
        "issuers": {},
        "issuerIDs": {},
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


# Tokens

ISSUERS = {"production.example": "https://production-issuer.troth-system.svc:8443"}
ISSUER_IDS = {"production.example": "spiffe://production.example/ns/troth-system/sa/troth-issuer"}


def issuing(*manifests: Manifest, **spec: Any) -> Cluster:
    return Cluster.of(
        namespace("shop", domain="production"),
        domain(**{"tokens": {}, **spec}),
        builders.authority_secret(),
        *manifests,
    )


def test_it_says_whose_tokens_to_believe() -> None:
    found = document(issuing(identity()))
    assert (found["issuers"], found["issuerIDs"]) == (ISSUERS, ISSUER_IDS)
    elsewhere = {"issuer": "https://tokens.shop.example"}
    found = document(issuing(identity(), tokens=elsewhere))
    assert found["issuers"] == {"production.example": "https://tokens.shop.example"}


def test_it_believes_the_issuers_of_federated_domains_that_have_one() -> None:
    def federated(back: list[Manifest], **spec: Any) -> dict[str, str]:
        cluster = issuing(
            identity(),
            domain("abroad", federatesWith=back, **spec),
            builders.authority_secret("abroad"),
            federatesWith=[{"name": "abroad"}],
        )
        issuers: dict[str, str] = document(cluster)["issuers"]
        return issuers

    named = [{"name": "production"}]
    abroad = {"abroad.example": "https://abroad-issuer.troth-system.svc:8443"}
    assert federated(named, tokens={}) == {**abroad, **ISSUERS}
    assert federated(named) == ISSUERS
    assert federated([], tokens={}) == ISSUERS


def test_it_names_the_token_that_a_call_needs_and_the_token_to_ask_for() -> None:
    callee = identity(
        ports=["https"],
        accepts=[accept("checkout", scopes=["charge", "refund"])],
        authentication={"token": {"proofOfPossession": "Optional"}},
        requires={"context": ["Tenant"]},
    )
    cluster = issuing(
        callee,
        identity("ledger", ports=["https"], accepts=[accept("checkout")]),
        identity("checkout", calls=[call("payments", scopes=["charge", "audit"]), call("ledger")]),
    )
    audience = "spiffe://production.example/ns/shop/sa/payments"
    assert document(cluster)["requires"] == {
        "context": ["Tenant"],
        "token": {"audience": audience, "proofOfPossession": "Optional"},
    }
    ledger, payments = document(cluster, "checkout")["calls"]
    assert payments["token"] == {"audience": audience, "scopes": ["charge"]}
    assert "token" not in ledger
    assert "token" not in document(cluster, "checkout")["requires"]
    # what the callee gives is what the caller may ask the issuer for: it follows
    cluster.put({**callee, "spec": {**callee["spec"], "accepts": [accept("checkout")]}})
    (_, payments) = document(cluster, "checkout")["calls"]
    assert payments["token"]["scopes"] == []


def test_it_names_the_gateways_that_may_speak_for_others() -> None:
    cluster = shop(
        identity(
            ports=["https", ("http", 8080)],
            accepts=[
                accept("edge", "https", forwards=["ClientCertificate"]),
                accept("other", "https"),
                accept("other", "http", forwards=["ClientCertificate"]),
            ],
        ),
        identity("edge", calls=[call("payments")]),
        identity("other", calls=[call("payments", "https", "http")]),
    )
    edge, other = document(cluster)["accepts"]
    forwarding = {"scopes": [], "forwards": ["ClientCertificate"]}
    assert edge["ports"] == [{"name": "https"} | forwarding]
    assert other["ports"] == [{"name": "http"} | forwarding, {"name": "https", "scopes": []}]


def test_it_says_what_transactions_may_begin_here() -> None:
    declared = {"scopes": ["b", "a"], "context": ["channel"]}
    found = document(shop(identity(startsTransactions=declared)))
    assert found["startsTransactions"] == {"scopes": ["a", "b"], "context": ["channel"]}
    assert "startsTransactions" not in document(shop(identity()))


def test_whose_tokens_to_believe_stays_while_two_domains_claim_the_workload() -> None:
    cluster = issuing(identity(ports=["https"], accepts=[accept("checkout")]), identity("checkout"))
    document(cluster)
    cluster.put(domain("usurper", namespaceSelector={"matchLabels": {"domain": "production"}}))
    cluster.put(identity(ports=["https"]))  # its document is written even so
    found = document(cluster)
    assert (found["issuers"], found["issuerIDs"]) == (ISSUERS, ISSUER_IDS)


def test_peer_that_begins_with_the_account_of_another_gains_none_of_its_access() -> None:
    """Both have one SPIFFE ID, so the peer list alone does not tell which of them was live."""
    accepts = [accept("checkout", scopes=["read"]), accept("late", scopes=["admin"])]
    calling = identity("payments", ports=["https"], accepts=accepts, calls=[call("ledger")])
    cluster = shop(calling, identity("checkout", calls=[call("payments")]))
    before = document(cluster)
    assert before["accepts"][0]["ports"] == [{"name": "https", "scopes": ["read"]}]
    cluster.put(identity("late", calls=[call("payments")], account="checkout"))
    assert document(cluster) == before
    cluster.put(identity("payments", ports=["https"], accepts=accepts[1:], calls=[call("ledger")]))
    assert document(cluster)["accepts"] == []
