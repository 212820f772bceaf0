"""A terminating resource that a foreign finalizer holds opens nothing any more."""

import copy
import json
from typing import Any

import pytest

from tests import builders
from tests.broker_builders import CHECKOUT, FULFILMENT, ORDERS, market
from tests.builders import (
    HOUR,
    NOW,
    Cluster,
    Manifest,
    accept,
    authority_secret,
    call,
    domain,
    identity,
    namespace,
    rotation,
    unverified,
)
from tests.webhook_scene import GATEWAY, scene
from troth.documents.token_grants import current_callers
from troth.planning.certificates.leaf import leaf_due
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.planning.steps.certificates import IssueLeaf
from troth.planning.trust_domain.view import readers_of
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.world.index.rotations import rotation_key
from troth.world.keys import domain_key, identity_key, view_key, webhook_key
from troth.world.reader import Reader

HOLD = "example.com/hold"
PAYMENTS, WEB = Ref("shop", "payments"), Ref("shop", "web")
DENIED = {"podSelector": {"matchLabels": {"app": "payments"}}, "policyTypes": ["Ingress", "Egress"]}
TOKEN: Manifest = {"token": {}}


def callee(**spec: Any) -> Manifest:
    accepts = [accept("web", scopes=["payments.charge"]), unverified(cidrs=["203.0.113.0/24"])]
    usual: dict[str, Any] = {"ports": ["https"], "accepts": accepts}
    return identity("payments", **usual | spec)


def shop(*manifests: Manifest, **spec: Any) -> Cluster:
    web = identity("web", calls=[call("payments", scopes=["payments.charge"])])
    usual = [namespace("shop", domain="production"), domain(**spec), authority_secret(), web]
    return Cluster.of(*usual, *(manifests or (callee(),))).settle()


def delete_held(cluster: Cluster, kind: str, ref: Ref) -> Cluster:
    """Delete a resource that another program's finalizer holds."""
    stored = copy.deepcopy(cluster.objects[kind, ref])
    stored["metadata"]["finalizers"] = [HOLD]
    cluster.put(stored)
    cluster.delete(kind, ref)
    return cluster


def terminating(cluster: Cluster) -> Cluster:
    return delete_held(cluster, "ServiceIdentity", PAYMENTS).settle()


def document(cluster: Cluster, ref: Ref) -> dict[str, Any]:
    fact = cluster.world.secrets[secret_ref(ref)]
    found: dict[str, Any] = json.loads(fact.public["identity.json"])
    return found


def spec_of(cluster: Cluster, ref: Ref) -> Manifest:
    spec: Manifest = cluster.objects["NetworkPolicy", policy_ref(ref)]["spec"]
    return spec


def verdict(cluster: Cluster, ref: Ref, type_: str = "Ready") -> tuple[str, str]:
    found = cluster.condition(identity_key(ref), type_)
    return found["status"], found["reason"]


# A ServiceIdentity


def test_policy_of_a_terminating_identity_denies_everything() -> None:
    cluster = shop()
    assert spec_of(cluster, PAYMENTS)["ingress"]
    assert spec_of(terminating(cluster), PAYMENTS) == DENIED
    assert verdict(cluster, PAYMENTS, "NetworkEnforced") == ("True", "Denied")


def test_peers_of_a_terminating_identity_close_their_side() -> None:
    cluster = terminating(shop())
    assert len(spec_of(cluster, WEB)["egress"]) == 1  # the resolver
    assert document(cluster, WEB)["calls"] == []


def test_terminating_identity_accepts_no_caller_and_trusts_no_issuer() -> None:
    cluster = shop(callee(authentication=TOKEN), tokens={})
    before = document(cluster, PAYMENTS)
    assert before["accepts"]
    assert before["issuers"]
    after = document(terminating(cluster), PAYMENTS)
    assert after["accepts"] == []
    assert after["issuers"] == after["issuerIDs"] == {}
    assert after["spiffeID"] == before["spiffeID"]


def test_issuer_issues_no_token_to_or_for_a_terminating_callee() -> None:
    starts = {"scopes": ["payments.charge"], "context": ["user"]}
    cluster = shop(callee(authentication=TOKEN, startsTransactions=starts), tokens={})
    cluster.now += HOUR
    cluster.visit(view_key("production"))
    known = cluster.world.tokens.of(cluster.world.registry.domains["production"])
    assert known is not None
    assert "startsTransactions" in str(current_callers(known.view))
    delete_held(cluster, "ServiceIdentity", PAYMENTS)
    cluster.world.tokens.view_written.clear()
    cluster.settle()
    known = cluster.world.tokens.of(cluster.world.registry.domains["production"])
    assert known is not None
    callers = current_callers(known.view)
    assert "spiffe://production.example/ns/shop/sa/payments" not in callers
    assert not any(entry["audiences"] for entry in callers.values())


def test_status_of_a_terminating_identity_names_the_finalizers() -> None:
    cluster = terminating(shop())
    ready = cluster.condition(identity_key(PAYMENTS), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Terminating")
    assert ready["message"] == (
        "ServiceIdentity shop/payments is being deleted: its edges are closed, and all traffic "
        f"of its pods is denied; to complete the deletion, remove these finalizers: {HOLD}"
    )
    assert cluster.objects["ServiceIdentity", PAYMENTS]["status"].get("edges", []) == []


def test_rule_added_to_the_policy_of_a_terminating_identity_is_removed() -> None:
    cluster = terminating(shop())
    policy = copy.deepcopy(cluster.objects["NetworkPolicy", policy_ref(PAYMENTS)])
    policy["spec"]["ingress"] = [{}]
    assert identity_key(PAYMENTS) in cluster.put(policy)
    assert spec_of(cluster.settle(), PAYMENTS) == DENIED


def test_deleted_policy_of_a_terminating_identity_is_written_again() -> None:
    cluster = terminating(shop())
    assert identity_key(PAYMENTS) in cluster.drop("NetworkPolicy", policy_ref(PAYMENTS))
    assert spec_of(cluster.settle(), PAYMENTS) == DENIED


def test_terminating_identity_without_a_trust_domain_gets_no_policy() -> None:
    cluster = Cluster.of(namespace("shop"), callee()).settle()
    assert terminating(cluster).policies() == []
    assert verdict(cluster, PAYMENTS, "NetworkEnforced") == ("False", "NoTrustDomain")


def test_terminating_identity_in_observe_mode_gets_no_policy() -> None:
    cluster = terminating(shop(callee(enforcement="Observe")))
    assert ("NetworkPolicy", policy_ref(PAYMENTS)) not in cluster.objects
    assert verdict(cluster, PAYMENTS) == ("False", "Terminating")


def test_nothing_is_written_in_a_terminating_namespace() -> None:
    cluster = delete_held(shop(), "ServiceIdentity", PAYMENTS)
    going = copy.deepcopy(cluster.objects["Namespace", Ref("", "shop")])
    going["metadata"]["deletionTimestamp"] = builders.stamp(NOW)
    assert identity_key(PAYMENTS) in cluster.put(going)
    plan = cluster.plan(identity_key(PAYMENTS))
    assert plan.steps == ()
    assert plan.status is None


def test_foreign_policy_is_left_alone_and_makes_the_identity_not_ready() -> None:
    cluster = terminating(shop())
    policy = cluster.objects["NetworkPolicy", policy_ref(PAYMENTS)]
    foreign = copy.deepcopy(policy)
    foreign["metadata"]["ownerReferences"] = []
    cluster.put(foreign)
    assert verdict(cluster, PAYMENTS) == ("False", "Conflict")


def test_leaf_of_a_terminating_identity_is_never_renewed_or_reissued() -> None:
    cluster = terminating(shop())
    cluster.now = leaf_due_of(cluster) + HOUR
    steps = cluster.plan(identity_key(PAYMENTS)).steps
    assert not [step for step in steps if isinstance(step, IssueLeaf)]
    found = cluster.condition(identity_key(PAYMENTS), "CertificateIssued")
    assert found["message"].startswith(
        "certificates are no longer issued or renewed; the one in Secret shop/payments-identity "
        "expires at "
    )
    cluster.drop("Secret", secret_ref(PAYMENTS))
    assert ("Secret", secret_ref(PAYMENTS)) not in cluster.settle().objects


def leaf_due_of(cluster: Cluster) -> Any:
    leaf = cluster.world.secrets[secret_ref(PAYMENTS)].leaf
    assert leaf is not None
    return leaf_due(leaf, cluster.objects["ServiceIdentity", PAYMENTS]["metadata"]["uid"], (), NOW)


def test_terminating_identity_does_not_block_root_rotation() -> None:
    cluster = shop()
    assert "Secret shop/payments-identity" in reading(cluster)
    assert "Secret shop/payments-identity" not in reading(terminating(cluster))


def reading(cluster: Cluster) -> set[str]:
    found = cluster.world.registry.domains["production"]
    known = cluster.world.authorities.of(found)
    assert known is not None
    assert known.authority is not None
    return {
        each.name
        for each in readers_of(known.authority, found, Reader(cluster.world), cluster.moment)
    }


def test_terminating_identity_has_no_grant_at_a_broker() -> None:
    cluster = market()
    states = {each.entry.identity: each.state for each in cluster.world.grants.of(ORDERS)}
    assert states[CHECKOUT] is GrantState.LIVE
    delete_held(cluster, "ServiceIdentity", CHECKOUT)
    after = {each.entry.identity: each for each in cluster.world.grants.of(ORDERS)}
    assert after[CHECKOUT].state is GrantState.AWAITING_IDENTITY
    assert after[CHECKOUT].reason == "IdentityTerminating"
    assert after[FULFILMENT].state is states[FULFILMENT]


def test_terminating_unreadable_identity_has_no_edge() -> None:
    cluster = shop()
    broken = copy.deepcopy(cluster.objects["ServiceIdentity", PAYMENTS])
    broken["spec"]["unknownField"] = 1
    broken["metadata"]["finalizers"] = [HOLD]
    cluster.put(broken)
    egress = spec_of(cluster.settle(), WEB)["egress"]
    assert egress != shop_dns(cluster)  # kept until the deletion begins
    named = cluster.delete("ServiceIdentity", PAYMENTS)
    assert identity_key(WEB) in named
    assert spec_of(cluster.settle(), WEB)["egress"] == shop_dns(cluster)
    assert verdict(cluster, PAYMENTS) == ("False", "InvalidSpec")


# Other resources that a foreign finalizer may hold


def test_terminating_trust_domain_governs_no_identity() -> None:
    cluster = delete_held(shop(), "TrustDomain", Ref("", "production")).settle()
    for ref in (PAYMENTS, WEB):
        assert verdict(cluster, ref) == ("False", "TrustDomainTerminating")
    assert document(cluster, PAYMENTS)["accepts"] == []
    assert document(cluster, WEB)["calls"] == []
    assert spec_of(cluster, WEB).get("egress", []) == shop_dns(cluster)
    ready = cluster.condition(domain_key("production"), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Terminating")


def shop_dns(cluster: Cluster) -> list[Manifest]:
    """Return the caller's egress rules to the resolver, which belong to no edge."""
    return [rule for rule in spec_of(cluster, WEB)["egress"] if rule["ports"][0]["port"] == 53]


def test_no_other_domain_trusts_the_roots_of_a_terminating_trust_domain() -> None:
    cluster = Cluster.of(
        namespace("shop", domain="production"),
        domain(federatesWith=[{"name": "abroad"}]),
        domain("abroad", federatesWith=[{"name": "production"}]),
        authority_secret(),
        authority_secret("abroad"),
    ).settle()
    bundle = ("ConfigMap", Ref("shop", "trust-bundle"))
    assert cluster.objects[bundle]["data"]["ca.crt"].count("BEGIN") == 2
    delete_held(cluster, "TrustDomain", Ref("", "abroad")).settle()
    assert cluster.objects[bundle]["data"]["ca.crt"].count("BEGIN") == 1


def test_terminating_webhook_endpoint_closes_its_gateways_edge() -> None:
    cluster = Cluster.of(*scene(), authority_secret()).settle()
    gateway = Ref(GATEWAY, GATEWAY)
    assert document(cluster, PAYMENTS)["webhooks"][0]["endpoints"]
    (place,) = [ref for kind, ref in cluster.objects if kind == "WebhookEndpoint"]
    delete_held(cluster, "WebhookEndpoint", place).settle()
    assert document(cluster, PAYMENTS)["accepts"] == []
    assert document(cluster, gateway)["calls"] == []
    ready = cluster.condition(webhook_key(place), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Terminating")


def test_terminating_rotation_requests_nothing() -> None:
    asked = rotation(requestedAt=builders.stamp(NOW - HOUR))
    cluster = shop(callee(), asked)
    key = rotation_key(Ref.of(asked))
    assert cluster.world.rotations.of(identity_key(PAYMENTS))
    delete_held(cluster, "CredentialRotation", Ref.of(asked))
    assert cluster.world.rotations.of(identity_key(PAYMENTS)) == ()
    ready = cluster.condition(key, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "Terminating")


@pytest.mark.parametrize("kind", ["TrustDomain", "ServiceIdentity"])
def test_rotation_of_a_terminating_resource_has_no_target(kind: str) -> None:
    target = Ref("", "production") if kind == "TrustDomain" else PAYMENTS
    asked = rotation(kind, target.name, builders.OWN if kind == "TrustDomain" else "shop")
    cluster = shop(callee(), asked)
    delete_held(cluster, kind, target)
    assert cluster.condition(rotation_key(Ref.of(asked)), "Ready")["reason"] == "TargetMissing"
