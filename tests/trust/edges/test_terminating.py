"""A terminating resource has no edges, and still claims its pods until it is gone."""

from typing import Any

from tests import builders
from tests.builders import (
    HOUR,
    NOW,
    Manifest,
    accept,
    call,
    domain,
    identity,
    namespace,
    registry,
)
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.edges.declared import edges_of
from troth.trust.edges.evaluation import Edge

SHOP = namespace("shop", domain="production")
PAYMENTS, CHECKOUT = Ref("shop", "payments"), Ref("shop", "checkout")
CALLEE = identity("payments", ports=["https"], accepts=[accept("checkout")])
CALLER = identity("checkout", calls=[call("payments")])


def terminating(manifest: Manifest) -> Manifest:
    held = {"deletionTimestamp": builders.stamp(NOW - HOUR), "finalizers": ["example.com/hold"]}
    return {**manifest, "metadata": {**manifest["metadata"], **held}}


def declared(*manifests: Manifest, **spec: Any) -> Registry:
    return registry(SHOP, domain(**spec), *manifests)


def only_edge(declared: Registry, ref: Ref) -> Edge:
    (edge,) = edges_of(declared, ref, NOW)
    return edge


def test_edge_to_a_terminating_callee_is_closed() -> None:
    edge = only_edge(declared(terminating(CALLEE), CALLER), CHECKOUT)
    assert (edge.state, edge.reason) == (EdgeState.AWAITING_CALLEE, "PeerTerminating")
    assert edge.message == "ServiceIdentity shop/payments is being deleted; remove the entry"


def test_edge_from_a_terminating_caller_is_closed() -> None:
    edge = only_edge(declared(CALLEE, terminating(CALLER)), PAYMENTS)
    assert (edge.state, edge.reason) == (EdgeState.AWAITING_CALLER, "PeerTerminating")


def test_terminating_identity_declares_nothing() -> None:
    known = declared(terminating(CALLEE), identity("checkout"))
    assert edges_of(known, CHECKOUT, NOW) == ()
    assert known.naming(CHECKOUT) == frozenset()


def test_terminating_identity_still_claims_its_service_account() -> None:
    predecessor = terminating(identity("old", account="payments", ports=["https"]))
    known = declared(predecessor, CALLEE, CALLER)
    edge = only_edge(known, CHECKOUT)
    assert (edge.state, edge.reason) == (EdgeState.SUSPENDED, "SharedIdentity")
    assert edge.message == (
        "ServiceIdentity shop/old is being deleted but uses the ServiceAccount payments until it "
        "is gone; remove its finalizers"
    )
    known.drop_identity(Ref("shop", "old"))
    assert only_edge(known, CHECKOUT).state is EdgeState.LIVE


def test_terminating_identity_still_claims_its_audience() -> None:
    token = {"token": {"audience": "payments"}}
    old = terminating(identity("old", ports=["https"], authentication=token))
    callee = {**CALLEE, "spec": {**CALLEE["spec"], "authentication": token}}
    edge = only_edge(declared(old, callee, CALLER, tokens={}), CHECKOUT)
    assert (edge.state, edge.reason) == (EdgeState.REFUSED, "Conflict")


def test_deleted_identity_is_no_longer_terminating() -> None:
    known = declared(terminating(CALLEE), CALLER)
    known.drop_identity(PAYMENTS)
    assert known.claimants.keys() == {CHECKOUT}
    assert known.claimants_in("shop") == {CHECKOUT}
    assert only_edge(known, CHECKOUT).reason == "PeerMissing"


def test_edges_of_a_terminating_trust_domain_are_refused() -> None:
    known = registry(SHOP, terminating(domain()), CALLEE, CALLER)
    edge = only_edge(known, CHECKOUT)
    assert (edge.state, edge.reason) == (EdgeState.REFUSED, "TrustDomainTerminating")
    assert known.governed_by("production") == ()


def test_successor_of_a_terminating_trust_domain_opens_nothing_until_it_is_gone() -> None:
    other = domain("other", namespaceSelector={"matchLabels": {"domain": "production"}})
    known = registry(SHOP, terminating(domain()), other, CALLEE, CALLER)
    edge = only_edge(known, CHECKOUT)
    assert (edge.state, edge.reason) == (EdgeState.SUSPENDED, "NamespaceOverlap")
    known.drop_domain("production")
    assert only_edge(known, CHECKOUT).state is EdgeState.LIVE
