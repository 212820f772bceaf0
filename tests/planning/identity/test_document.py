"""`identity.json`: the data with which a service verifies its peers."""

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


def test_document_names_live_peers_with_ports_and_scopes() -> None:
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


def test_peer_without_a_certificate_is_never_listed() -> None:
    trust = gateway_only("gateway", NOW + DAY)
    cluster = shop(
        identity("payments", calls=[call("legacy")]),
        identity("legacy", ports=["https"], accepts=[accept("gateway")], authentication=trust),
    )
    assert document(cluster)["calls"] == []
    assert ("Secret", Ref("shop", "legacy-identity")) not in cluster.objects


def test_document_does_not_depend_on_the_order_of_declarations() -> None:
    peers = [accept("a", scopes=["x", "y"]), accept("b")]
    callers = [identity(name, calls=[call("payments")]) for name in ("a", "b")]
    documents = [
        document(shop(identity(ports=["https"], accepts=listed), *callers))
        for listed in (peers, peers[::-1])
    ]
    assert documents[0] == documents[1]


def test_new_peer_updates_the_document_in_place() -> None:
    cluster = shop(identity(ports=["https"], accepts=[accept("checkout")]))
    assert document(cluster)["accepts"] == []
    leaf = cluster.objects["Secret", Ref("shop", "payments-identity")]["data"]["tls.crt"]
    cluster.put(identity("checkout", calls=[call("payments")]))
    assert len(document(cluster)["accepts"]) == 1
    assert cluster.objects["Secret", Ref("shop", "payments-identity")]["data"]["tls.crt"] == leaf


def test_peer_stays_listed_while_a_conflict_suspends_the_edge() -> None:
    """Its rule in the NetworkPolicy stays too; otherwise any rival for its account cuts it off."""
    cluster = shop(
        identity(ports=["https"], accepts=[accept("checkout")]),
        identity("checkout", calls=[call("payments")]),
    )
    before = document(cluster)
    cluster.put(identity("rival", account="checkout"))
    assert document(cluster) == before


def test_withdrawn_peer_is_removed_even_during_a_conflict() -> None:
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


def test_document_names_the_trusted_token_issuers() -> None:
    found = document(issuing(identity()))
    assert (found["issuers"], found["issuerIDs"]) == (ISSUERS, ISSUER_IDS)
    elsewhere = {"issuer": "https://tokens.shop.example"}
    found = document(issuing(identity(), tokens=elsewhere))
    assert found["issuers"] == {"production.example": "https://tokens.shop.example"}


def test_issuers_of_federated_domains_with_tokens_are_trusted() -> None:
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


def test_document_names_the_token_a_call_needs_and_how_to_request_it() -> None:
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
    # The callee's declaration decides which token the caller may request from the issuer.
    cluster.put({**callee, "spec": {**callee["spec"], "accepts": [accept("checkout")]}})
    (_, payments) = document(cluster, "checkout")["calls"]
    assert payments["token"]["scopes"] == []


def test_document_names_the_callers_that_may_forward_certificates() -> None:
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


def test_document_names_the_transactions_that_may_begin_here() -> None:
    declared = {"scopes": ["b", "a"], "context": ["channel"]}
    found = document(shop(identity(startsTransactions=declared)))
    assert found["startsTransactions"] == {"scopes": ["a", "b"], "context": ["channel"]}
    assert "startsTransactions" not in document(shop(identity()))


def test_trusted_issuers_stay_while_two_domains_claim_the_workload() -> None:
    cluster = issuing(identity(ports=["https"], accepts=[accept("checkout")]), identity("checkout"))
    document(cluster)
    cluster.put(domain("usurper", namespaceSelector={"matchLabels": {"domain": "production"}}))
    cluster.put(identity(ports=["https"]))  # its document is written all the same
    found = document(cluster)
    assert (found["issuers"], found["issuerIDs"]) == (ISSUERS, ISSUER_IDS)


def test_new_peer_with_the_account_of_another_gains_none_of_its_access() -> None:
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
