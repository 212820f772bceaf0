"""A change of a root's confinement affects every key that depends on it."""

from typing import Any

from tests import builders
from tests.builders import Cluster, Manifest, accept, call, domain, identity, namespace
from troth.documents.token_grants import current_callers
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref
from troth.world.keys import Keys, domain_key, identity_key, view_key

PAYMENTS, CHECKOUT = Ref("shop", "payments"), Ref("far", "checkout")
CONCERNED: Keys = {
    identity_key(PAYMENTS),
    identity_key(CHECKOUT),
    domain_key("production"),
    domain_key("abroad"),
    view_key("production"),
    view_key("abroad"),
}


def federation(*manifests: Manifest, **abroad: Any) -> Cluster:
    """Two federated trust domains, and an edge from one into the other that needs a token."""
    there: dict[str, Any] = {"environment": "production", "tokens": {}}
    return Cluster.of(
        namespace("shop", domain="production"),
        namespace("far", domain="abroad"),
        domain(federatesWith=[{"name": "abroad"}], tokens={}),
        domain("abroad", federatesWith=[{"name": "production"}], **there | abroad),
        identity(
            "payments",
            ports=["https"],
            accepts=[accept("checkout", namespace="far", scopes=["payments.charge"])],
            authentication={"token": {}},
        ),
        identity(
            "checkout",
            "far",
            calls=[call("payments", namespace="shop", scopes=["payments.charge"])],
        ),
        builders.authority_secret(),
        *manifests,
    )


def states(cluster: Cluster) -> set[tuple[str, str]]:
    """The state of the edge as both sides tell it."""
    found = set()
    for ref in (PAYMENTS, CHECKOUT):
        (edge,) = cluster.objects["ServiceIdentity", ref]["status"]["edges"]
        found.add((edge["state"], edge.get("reason", "")))
    return found


def audiences(cluster: Cluster) -> list[str]:
    known = cluster.world.tokens.of(cluster.world.registry.domains["abroad"])
    assert known is not None
    callers = current_callers(known.view).values()
    return [audience for entry in callers for audience in entry["audiences"]]


def test_root_that_loses_its_confinement_closes_the_edge_at_every_layer() -> None:
    cluster = federation(builders.authority_secret("abroad")).settle()
    assert states(cluster) == {("Live", "")}
    assert audiences(cluster)
    named = cluster.put(builders.authority_secret("abroad", constrained=False))
    assert named >= CONCERNED
    cluster.world.tokens.view_written.clear()
    cluster.settle()
    assert states(cluster) == {("Refused", "FederatedRootUnconfined")}
    assert cluster.condition(domain_key("production"), "Ready")["reason"] == (
        "FederatedRootUnconfined"
    )
    assert "ingress" not in cluster.objects["NetworkPolicy", policy_ref(PAYMENTS)]["spec"]
    policy = cluster.objects["NetworkPolicy", policy_ref(CHECKOUT)]["spec"]
    assert [rule["ports"][0]["port"] for rule in policy["egress"]] == [53]
    for ref in (PAYMENTS, CHECKOUT):
        document = cluster.world.secrets[secret_ref(ref)].public["identity.json"]
        assert '"accepts": []' in document
        assert '"calls": []' in document
    assert audiences(cluster) == []


def test_root_that_gains_its_confinement_opens_the_edge() -> None:
    cluster = federation(builders.authority_secret("abroad", constrained=False)).settle()
    assert states(cluster) == {("Refused", "FederatedRootUnconfined")}
    assert cluster.put(builders.authority_secret("abroad")) >= CONCERNED
    assert states(cluster.settle()) == {("Live", "")}


def test_planned_unconfined_root_opens_nothing_before_it_exists() -> None:
    cluster = federation(authority={"selfManaged": {"confined": False}})
    assert cluster.world.registry.unconfined_domains == {"abroad"}


def test_deleted_trust_domain_is_no_longer_unconfined() -> None:
    cluster = federation(builders.authority_secret("abroad", constrained=False))
    assert cluster.world.registry.unconfined_domains == {"abroad"}
    cluster.drop("TrustDomain", Ref("", "abroad"))
    assert cluster.world.registry.unconfined_domains == frozenset()
