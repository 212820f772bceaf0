"""Statuses: correct conditions, stable timestamps, and whether a person must act."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders, messaging
from tests.builders import (
    HOUR,
    NOW,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    gateway_only,
    identity,
    key_of,
    namespace,
    shop,
)
from tests.strategies import clusters
from troth.resources.conditions import Condition, Truth, Verdict, placed
from troth.resources.identity.authentication import GATEWAY_TRUST_LIMIT
from troth.resources.identity.status import ServiceIdentityStatus
from troth.resources.references import Ref
from troth.resources.schema.model import Model
from troth.resources.trust_domain.status import TrustDomainStatus
from troth.resources.webhooks.endpoint_status import WebhookEndpointStatus
from troth.world.keys import domain_key


def conditions(cluster: Cluster, key: Any = None) -> dict[str, Manifest]:
    status = cluster.plan(key or key_of()).status
    assert status is not None
    return {each["type"]: each for each in status["conditions"]}


def edges(cluster: Cluster, name: str = "payments") -> list[Manifest]:
    status = cluster.plan(key_of(name)).status
    assert status is not None
    listed: list[Manifest] = status.get("edges", [])
    return listed


# Conditions


@given(
    st.sampled_from(Truth), st.sampled_from(Truth), st.sampled_from(("A", "B")), st.integers(0, 9)
)
def test_last_transition_time_changes_only_with_the_status(
    before: Truth, after: Truth, reason: str, generation: int
) -> None:
    first = Condition(type="Ready", status=before, reason="A", last_transition_time=NOW)
    verdict = Verdict(type="Ready", status=after, reason=reason)
    then = placed(verdict, (first,), generation, NOW + HOUR)
    assert then.last_transition_time == (NOW if before is after else NOW + HOUR)
    assert (then.reason, then.observed_generation) == (reason, generation)


OF_KIND: dict[str, tuple[type[Model], set[str]]] = {
    "TrustDomain": (TrustDomainStatus, {"AuthorityReady", "BundleDistributed"}),
    "ServiceIdentity": (
        ServiceIdentityStatus,
        {"CertificateIssued", "NetworkEnforced", "PeersAgree"},
    ),
    "WebhookEndpoint": (
        WebhookEndpointStatus,
        {"SecretAvailable", "GatewayConfigured", "TargetReachable"},
    ),
}


@given(clusters(), st.booleans())
def test_every_status_is_complete_and_consistent(
    manifests: list[Manifest], with_authorities: bool
) -> None:
    cluster = Cluster.of(*manifests)
    if with_authorities:
        cluster.settle()
    for key in cluster.keys():  # noqa: SIM118 - not a dict: `keys` is a method of Cluster
        found = conditions(cluster, key)
        model, own = OF_KIND[key.kind]
        assert {"Ready", "Reconciling", "Stalled", *own} <= found.keys()
        flags = {name: found[name]["status"] == "True" for name in ("Reconciling", "Stalled")}
        assert list(flags.values()).count(True) == (found["Ready"]["status"] != "True")
        for condition in found.values():
            assert condition["reason"].isalnum()
            assert condition["observedGeneration"] == 1
        model.model_validate(cluster.plan(key).status)


@given(clusters())
def test_settled_status_does_not_change_with_time(
    manifests: list[Manifest],
) -> None:
    cluster = Cluster.of(*manifests).settle()
    cluster.now += timedelta(minutes=7)
    for key in cluster.keys():  # noqa: SIM118 - not a dict: `keys` is a method of Cluster
        plan = cluster.plan(key)
        assert plan.status == plan.previous_status


def test_progress_reconciles_and_a_needed_action_stalls() -> None:
    coming = Cluster.of(namespace("shop", domain="production"), domain(), identity())
    assert conditions(coming)["Reconciling"]["status"] == "True"
    stuck = Cluster.of(namespace("shop"), domain(), identity())
    assert conditions(stuck)["Stalled"]["status"] == "True"
    assert "label the namespace" in conditions(stuck)["Ready"]["message"]


def test_condition_keeps_its_time_through_the_api_server() -> None:
    cluster = shop(identity()).settle()
    cluster.now += HOUR
    cluster.put(identity(ports=["https"], accepts=[accept("nobody")]))
    cluster.settle()
    assert conditions(cluster)["Ready"]["lastTransitionTime"] == builders.stamp(NOW)
    assert conditions(cluster)["PeersAgree"]["lastTransitionTime"] == builders.stamp(NOW + HOUR)
    assert conditions(cluster)["Ready"]["observedGeneration"] == 2


# Peers


def test_half_declared_edge_is_reported_on_both_sides() -> None:
    cluster = shop(
        identity("payments", ports=["https"]), identity("checkout", calls=[call("payments")])
    )
    for name in ("payments", "checkout"):
        (edge,) = edges(cluster, name)
        assert (edge["state"], edge["reason"]) == ("AwaitingCallee", "NotAccepted")
        assert edge["message"].endswith("add it to its accepts")


def test_stranger_does_not_affect_peers_agree() -> None:
    """Otherwise anybody who may create identities could make every service look unhealthy."""
    cluster = shop(
        identity("payments", ports=["https"]),
        *(identity(f"stranger-{number}", calls=[call("payments")]) for number in range(3)),
    )
    assert len(edges(cluster)) == 3
    assert conditions(cluster)["PeersAgree"]["status"] == "True"
    assert conditions(cluster, key_of("stranger-0"))["PeersAgree"]["status"] == "False"


@pytest.mark.parametrize("field", ["publishes", "consumes"])
def test_named_policy_that_is_missing_is_reported_until_it_names_the_identity(field: str) -> None:
    role = {"publishes": "producers", "consumes": "consumers"}[field]
    named: dict[str, Any] = {field: [{"policy": {"name": "orders"}}]}
    cluster = shop(identity(**named)).settle()

    def agreed() -> tuple[str, str]:
        found = conditions(cluster)["PeersAgree"]
        return found["reason"], found["message"]

    assert agreed()[0] == "PolicyMissing"
    assert "TopicPolicy shop/orders does not exist; create it" in agreed()[1]
    assert key_of() in cluster.put(messaging.policy())
    assert agreed()[0] == "IdentityNotNamed"
    assert f"add it to its {role}" in agreed()[1]
    agreeing: dict[str, Any] = {role: [{"identity": {"name": "payments"}}]}
    assert key_of() in cluster.put(messaging.policy(**agreeing))
    assert agreed()[0] == "AllLive"


def test_disagreeing_peers_do_not_make_a_service_unready() -> None:
    cluster = shop(identity(ports=["https"], accepts=[accept("nobody")])).settle()
    assert conditions(cluster)["PeersAgree"]["status"] == "False"
    assert conditions(cluster)["Ready"]["status"] == "True"


def test_refusal_is_reported_before_a_pending_edge() -> None:
    cluster = shop(
        identity(
            ports=["https"],
            accepts=[accept("nobody"), accept("checkout", namespace="adrift")],
        ),
        identity("checkout", "adrift", calls=[call("payments", namespace="shop")]),
        namespace("adrift"),
    )
    assert conditions(cluster)["PeersAgree"]["reason"] == "NoTrustDomain"


# Gateway-only trust


@pytest.mark.parametrize(
    ("days", "status", "reason"),
    [
        (60, "True", "UntilItsEnd"),
        (14, "True", "GatewayTrustEnding"),
        (1, "True", "GatewayTrustEnding"),
        (0, "False", "GatewayTrustExpired"),
        (91, "False", "GatewayTrustTooLong"),
    ],
)
def test_gateway_only_trust_warns_and_then_fails_closed(
    days: int, status: str, reason: str
) -> None:
    trust = gateway_only("gateway", NOW + timedelta(days=days))
    cluster = shop(
        identity(ports=["https"], accepts=[accept("gateway")], authentication=trust),
        identity("gateway", calls=[call("payments")]),
    ).settle()
    told = conditions(cluster)["GatewayTrusted"]
    assert (told["status"], told["reason"]) == (status, reason)
    policy = cluster.objects["NetworkPolicy", Ref("shop", "payments-troth")]
    assert ("ingress" in policy["spec"]) == (status == "True")


def test_both_sides_are_due_when_gateway_only_trust_ends() -> None:
    until = NOW + timedelta(hours=2)
    cluster = shop(
        identity(
            ports=["https"],
            accepts=[accept("gateway")],
            authentication=gateway_only("gateway", until),
        ),
        identity("gateway", calls=[call("payments")]),
    ).settle()
    assert cluster.plan(key_of()).due == until
    assert cluster.plan(key_of("gateway")).due == until
    cluster.now = until
    cluster.settle()
    policy = cluster.objects["NetworkPolicy", Ref("shop", "gateway-troth")]
    assert len(policy["spec"]["egress"]) == 1, "the resolver alone is left"


def test_both_sides_are_due_when_gateway_only_trust_comes_into_its_limit() -> None:
    begins = NOW + HOUR
    cluster = shop(
        identity(
            ports=["https"],
            accepts=[accept("gateway")],
            authentication=gateway_only("gateway", begins + GATEWAY_TRUST_LIMIT),
        ),
        identity("gateway", calls=[call("payments")]),
    ).settle()
    assert conditions(cluster)["Ready"]["reason"] == "GatewayTrustTooLong"
    assert cluster.plan(key_of()).due == begins
    assert cluster.plan(key_of("gateway")).due == begins
    cluster.now = begins
    cluster.settle()
    assert conditions(cluster)["Ready"]["status"] == "True"


@pytest.mark.parametrize("days", [10, 60])
def test_gateway_only_trust_names_its_owner_and_reason(days: int) -> None:
    cluster = shop(
        identity(authentication=gateway_only("gateway", NOW + timedelta(days=days)))
    ).settle()
    told = conditions(cluster)["GatewayTrusted"]["message"]
    assert "owner team payments, reason: the vendor's program speaks no TLS" in told


def test_observed_identity_outside_a_trust_domain_is_not_ready() -> None:
    outside = namespace("outside")
    trust = gateway_only("gateway", NOW + timedelta(days=10))
    observed = identity(namespace="outside", enforcement="Observe", authentication=trust)
    cluster = shop(outside, observed).settle()
    told = conditions(cluster, key_of(namespace="outside"))
    assert told["Ready"]["reason"] == told["NetworkEnforced"]["reason"] == "NoTrustDomain"
    assert told["Stalled"]["status"] == "True"


# Unreadable resources


def test_unreadable_resource_is_reported_and_suspends_its_neighbours() -> None:
    cluster = shop(
        identity(ports=["https"], accepts=[accept("checkout")]),
        identity("checkout", calls=[call("payments")]),
    ).settle()
    named = cluster.put(identity("checkout", calls=[call("payments")], unheardOf=1))
    assert {key_of(), key_of("checkout")} <= named
    told = conditions(cluster, key_of("checkout"))
    assert (told["Ready"]["status"], told["Ready"]["reason"]) == ("False", "InvalidSpec")
    assert told["Stalled"]["status"] == "True"
    assert "spec.unheardOf: unknown field" in told["Ready"]["message"]
    assert cluster.plan(key_of("checkout")).steps == ()
    (edge,) = edges(cluster)
    assert (edge["state"], edge["reason"]) == ("Suspended", "PeerInvalid")


def test_unreadable_domain_is_reported_and_nothing_is_written_for_it() -> None:
    cluster = shop(identity()).settle()
    cluster.put({**domain(unheardOf=1), "status": {}})  # no earlier spec is known
    told = conditions(cluster, domain_key("production"))
    assert told["Ready"]["reason"] == "InvalidSpec"
    assert cluster.plan(domain_key("production")).steps == ()
    assert cluster.plan(key_of()).steps == ()
    assert conditions(cluster)["Ready"]["reason"] == "TrustDomainInvalid"


def test_corrected_resource_recovers() -> None:
    cluster = shop(identity(unheardOf=1))
    cluster.settle()
    cluster.put(identity())
    assert conditions(cluster.settle())["Ready"]["status"] == "True"


# Observe


def test_observe_mode_plans_everything_and_writes_no_policy() -> None:
    watched = identity(ports=["https"], accepts=[accept("checkout")], enforcement="Observe")
    cluster = shop(watched, identity("checkout", calls=[call("payments")])).settle()
    assert ("NetworkPolicy", Ref("shop", "payments-troth")) not in cluster.objects
    assert ("Secret", Ref("shop", "payments-identity")) in cluster.objects
    assert edges(cluster)[0]["state"] == "Live"
    assert conditions(cluster)["NetworkEnforced"]["reason"] == "Observing"


def test_change_to_observe_deletes_the_policy_and_change_back_restores_it() -> None:
    cluster = shop(identity()).settle()
    cluster.put(identity(enforcement="Observe"))
    assert cluster.settle().policies() == []
    cluster.put(identity())
    assert len(cluster.settle().policies()) == 1
