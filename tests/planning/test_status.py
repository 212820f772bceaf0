"""Statuses tell the truth, calmly: what holds, since when, and who must do something."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import builders
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
    unverified,
)
from tests.strategies import clusters
from troth.planning.identity.edge_status import EDGE_LIMIT
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
def test_the_time_of_a_condition_moves_only_with_its_status(
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
def test_every_status_is_complete_and_in_itself_consistent(
    manifests: list[Manifest], with_authorities: bool
) -> None:
    cluster = Cluster.of(*manifests)
    if with_authorities:
        cluster.settle()
    for key in cluster.keys():  # noqa: SIM118 - a method of its own
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
def test_a_settled_status_stays_as_it_is_however_much_time_passes(
    manifests: list[Manifest],
) -> None:
    cluster = Cluster.of(*manifests).settle()
    cluster.now += timedelta(minutes=7)
    for key in cluster.keys():  # noqa: SIM118 - a method of its own
        plan = cluster.plan(key)
        assert plan.status == plan.previous_status


def test_what_is_on_its_way_reconciles_and_what_needs_a_person_stalls() -> None:
    coming = Cluster.of(namespace("shop", domain="production"), domain(), identity())
    assert conditions(coming)["Reconciling"]["status"] == "True"
    stuck = Cluster.of(namespace("shop"), domain(), identity())
    assert conditions(stuck)["Stalled"]["status"] == "True"
    assert "label the namespace" in conditions(stuck)["Ready"]["message"]


def test_a_condition_keeps_its_time_through_the_server_and_back() -> None:
    cluster = shop(identity()).settle()
    cluster.now += HOUR
    cluster.put(identity(ports=["https"], accepts=[accept("nobody")]))
    cluster.settle()
    assert conditions(cluster)["Ready"]["lastTransitionTime"] == builders.stamp(NOW)
    assert conditions(cluster)["PeersAgree"]["lastTransitionTime"] == builders.stamp(NOW + HOUR)
    assert conditions(cluster)["Ready"]["observedGeneration"] == 2


# Peers


def test_a_half_declared_edge_is_told_to_both_sides() -> None:
    cluster = shop(
        identity("payments", ports=["https"]), identity("checkout", calls=[call("payments")])
    )
    for name in ("payments", "checkout"):
        (edge,) = edges(cluster, name)
        assert (edge["state"], edge["reason"]) == ("AwaitingCallee", "NotAccepted")
        assert edge["message"].endswith("add it to its accepts")


def test_peers_agree_is_not_for_strangers_to_spoil() -> None:
    """Whoever may create identities could make any service look unwell."""
    cluster = shop(
        identity("payments", ports=["https"]),
        *(identity(f"stranger-{number}", calls=[call("payments")]) for number in range(3)),
    )
    assert len(edges(cluster)) == 3
    assert conditions(cluster)["PeersAgree"]["status"] == "True"
    assert conditions(cluster, key_of("stranger-0"))["PeersAgree"]["status"] == "False"


def test_peers_that_do_not_agree_do_not_make_a_service_unready() -> None:
    cluster = shop(identity(ports=["https"], accepts=[accept("nobody")])).settle()
    assert conditions(cluster)["PeersAgree"]["status"] == "False"
    assert conditions(cluster)["Ready"]["status"] == "True"


def test_a_refusal_is_told_before_what_is_only_awaited() -> None:
    cluster = shop(
        identity(
            ports=["https"],
            accepts=[accept("nobody"), accept("checkout", namespace="adrift")],
        ),
        identity("checkout", "adrift", calls=[call("payments", namespace="shop")]),
        namespace("adrift"),
    )
    assert conditions(cluster)["PeersAgree"]["reason"] == "NoTrustDomain"


def test_the_list_of_edges_is_bounded_and_holds_ones_own_first() -> None:
    crowd = [
        identity(
            f"stranger-{number}", f"crowd-{number % 7}", calls=[call("payments", namespace="shop")]
        )
        for number in range(EDGE_LIMIT + 10)
    ]
    mine = identity(
        ports=["https", ("http", 8080)],
        accepts=[accept("zoo"), unverified("http", cidrs=["0.0.0.0/0"])],
    )
    listed = edges(shop(mine, identity("zoo", calls=[call("payments")]), *crowd))
    assert len(listed) == EDGE_LIMIT
    assert [edge["peer"] for edge in listed[:2]] == ["shop/zoo", "0.0.0.0/0"]
    assert listed[1]["reason"] == "Unverified"


def test_ports_of_one_peer_in_one_state_share_an_entry() -> None:
    both = ["https", "http"]
    cluster = shop(
        identity(ports=["https", ("http", 8080)], accepts=[accept("checkout", *both)]),
        identity("checkout", calls=[call("payments", *both)]),
    )
    (edge,) = edges(cluster)
    assert (edge["ports"], edge["state"]) == (["http", "https"], "Live")


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


def test_both_sides_come_back_when_gateway_only_trust_ends() -> None:
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


def test_both_sides_come_back_when_gateway_only_trust_is_near_enough_to_count() -> None:
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
def test_gateway_only_trust_says_who_answers_for_it_and_why(days: int) -> None:
    cluster = shop(
        identity(authentication=gateway_only("gateway", NOW + timedelta(days=days)))
    ).settle()
    told = conditions(cluster)["GatewayTrusted"]["message"]
    assert "owner team payments, reason: the vendor's program speaks no TLS" in told


def test_nobody_is_ready_outside_a_trust_domain_though_only_observed() -> None:
    outside = namespace("outside")
    trust = gateway_only("gateway", NOW + timedelta(days=10))
    observed = identity(namespace="outside", enforcement="Observe", authentication=trust)
    cluster = shop(outside, observed).settle()
    told = conditions(cluster, key_of(namespace="outside"))
    assert told["Ready"]["reason"] == told["NetworkEnforced"]["reason"] == "NoTrustDomain"
    assert told["Stalled"]["status"] == "True"


# Resources that cannot be read


def test_a_stored_resource_that_cannot_be_read_says_so_and_suspends_its_neighbours() -> None:
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


def test_an_unreadable_domain_says_so_and_nothing_is_written_for_it() -> None:
    cluster = shop(identity()).settle()
    cluster.put(domain(unheardOf=1))
    told = conditions(cluster, domain_key("production"))
    assert told["Ready"]["reason"] == "InvalidSpec"
    assert cluster.plan(domain_key("production")).steps == ()
    assert cluster.plan(key_of()).steps == ()
    assert conditions(cluster)["Ready"]["reason"] == "TrustDomainInvalid"


def test_an_unreadable_resource_that_is_mended_heals() -> None:
    cluster = shop(identity(unheardOf=1))
    cluster.settle()
    cluster.put(identity())
    assert conditions(cluster.settle())["Ready"]["status"] == "True"


# Observe


def test_under_observe_everything_is_planned_and_no_policy_is_written() -> None:
    watched = identity(ports=["https"], accepts=[accept("checkout")], enforcement="Observe")
    cluster = shop(watched, identity("checkout", calls=[call("payments")])).settle()
    assert ("NetworkPolicy", Ref("shop", "payments-troth")) not in cluster.objects
    assert ("Secret", Ref("shop", "payments-identity")) in cluster.objects
    assert edges(cluster)[0]["state"] == "Live"
    assert conditions(cluster)["NetworkEnforced"]["reason"] == "Observing"


def test_turning_to_observe_takes_the_policy_away_and_back_again() -> None:
    cluster = shop(identity()).settle()
    cluster.put(identity(enforcement="Observe"))
    assert cluster.settle().policies() == []
    cluster.put(identity())
    assert len(cluster.settle().policies()) == 1
