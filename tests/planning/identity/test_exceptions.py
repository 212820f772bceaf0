"""Gateway-only trust and unverified peers end, however often they are extended."""

from datetime import timedelta
from typing import Any

import pytest

from tests.builders import (
    DAY,
    NOW,
    Cluster,
    Manifest,
    accept,
    call,
    gateway_only,
    identity,
    key_of,
    shop,
    stamp,
    unverified,
)
from troth.planning.identity import gateway_only as planned
from troth.planning.steps.objects import Apply
from troth.resources.references import Ref
from troth.world.outcomes.writes import ForeignFound

LEGACY = Ref("shop", "payments")
RECORD = "ConfigMap", Ref("troth-system", "troth-gateway-trust-shop.payments")
FORMER = "ConfigMap", Ref("shop", "payments-gateway-trust")
POLICY = "NetworkPolicy", Ref("shop", "payments-troth")


def legacy(cluster: Cluster | None = None, days: int = 60, **more: Any) -> Manifest:
    """Return an identity whose trust in its gateway lasts for some days from now."""
    until = (cluster.now if cluster else NOW) + days * DAY
    return identity(
        ports=["https"],
        accepts=[accept("gateway")],
        authentication=gateway_only("gateway", until),
        **more,
    )


def gateway() -> Manifest:
    return identity("gateway", calls=[call("payments")])


def trusted(of: Cluster) -> tuple[str, str]:
    found = of.condition(key_of(), "GatewayTrusted")
    return found["reason"], found["message"]


def is_open(of: Cluster, name: str = "payments") -> bool:
    side = "ingress" if name == "payments" else "egress"
    spec = of.objects["NetworkPolicy", Ref("shop", f"{name}-troth")]["spec"]
    return len(spec.get(side) or []) > (side == "egress")


def extended(of: Cluster, until_day: int) -> Cluster:
    """Extend the trust every 30 days, until a day after the first acceptance."""
    while of.now < NOW + until_day * DAY:
        of.now = min(of.now + 30 * DAY, NOW + until_day * DAY)
        of.put(legacy(of))
        of.settle()
    return of


def deleted(of: Cluster) -> None:
    """Delete the identity, and what the garbage collector deletes with it."""
    of.drop("ServiceIdentity", LEGACY)
    for place, each in list(of.objects.items()):
        owners = each["metadata"].get("ownerReferences") or []
        if any(owner["name"] == LEGACY.name for owner in owners):
            of.drop(*place)


# Gateway-only trust


def test_gateway_only_trust_ends_180_days_after_its_first_acceptance() -> None:
    it = extended(shop(legacy(), gateway()).settle(), 170)
    reason, message = trusted(it)
    assert reason == "GatewayTrustEnding"
    assert "cannot be extended under this name" in message
    assert it.plan(key_of()).due == NOW + 180 * DAY
    assert is_open(it)
    it = extended(it, 180)
    reason, message = trusted(it)
    assert reason == "GatewayTrustEnded"
    assert stamp(NOW) in message
    assert not is_open(it)
    assert not is_open(it, "gateway")


def test_new_identity_of_the_same_name_inherits_the_end() -> None:
    it = extended(shop(legacy(), gateway()).settle(), 170)
    deleted(it)
    assert RECORD in it.objects
    it.now = NOW + 180 * DAY
    it.put(legacy(it))
    it.settle()
    assert trusted(it)[0] == "GatewayTrustEnded"
    assert not is_open(it)


def test_another_name_may_ask_again() -> None:
    it = extended(shop(legacy(), gateway()).settle(), 180)
    it.put({**legacy(it), "metadata": {"name": "renamed", "namespace": "shop"}})
    it.drop("ServiceIdentity", LEGACY)
    it.settle()
    assert it.condition(key_of("renamed"), "GatewayTrusted")["reason"] == "UntilItsEnd"
    record = it.objects["ConfigMap", Ref("troth-system", "troth-gateway-trust-shop.renamed")]
    assert record["data"] == {"firstAccepted": stamp(it.now)}


@pytest.mark.parametrize("later", ["2099-01-01T00:00:00Z", "", "soon"])
def test_record_that_a_person_changed_is_restored_from_the_status(later: str) -> None:
    it = extended(shop(legacy(), gateway()).settle(), 60)
    record = it.objects[RECORD]
    affected = it.put({**record, "data": {"firstAccepted": later}})
    assert key_of() in affected
    it.settle()
    assert it.objects[RECORD]["data"] == {"firstAccepted": stamp(NOW)}
    it.drop(*RECORD)
    it.settle()
    assert it.objects[RECORD]["data"] == {"firstAccepted": stamp(NOW)}


def test_unreadable_record_without_a_status_admits_nobody() -> None:
    it = shop(legacy(), gateway()).settle()
    deleted(it)
    it.put({**it.objects[RECORD], "data": {}})
    it.put(legacy())
    it.settle()
    reason, message = trusted(it)
    assert reason == "GatewayTrustEnded"
    assert "ConfigMap troth-gateway-trust-shop.payments in Troth's namespace" in message
    assert not is_open(it)


def test_record_of_the_future_does_not_postpone_the_end() -> None:
    it = shop(legacy(), gateway()).settle()
    deleted(it)
    it.put({**it.objects[RECORD], "data": {"firstAccepted": "2099-01-01T00:00:00Z"}})
    it.put(legacy())
    it.settle()
    assert it.objects[RECORD]["data"] == {"firstAccepted": stamp(NOW)}
    it = extended(it, 180)
    assert trusted(it)[0] == "GatewayTrustEnded"
    assert not is_open(it)


@pytest.mark.faulty
def test_nobody_is_accepted_if_the_trust_cannot_be_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    it = shop(legacy(), gateway()).settle()
    assert is_open(it)
    monkeypatch.setattr(planned, "record_steps", None)
    it.settle()
    assert trusted(it)[0] == "InternalError"
    assert not is_open(it)


def test_nobody_is_accepted_if_the_record_cannot_be_written() -> None:
    it = shop(legacy(), gateway())
    it.world.observe_outcome(ForeignFound(*RECORD, it.now))
    it.visit(key_of("gateway"))
    it.visit(key_of())
    reason, message = trusted(it)
    assert reason == "Conflict"
    assert f"ConfigMap {RECORD[1]}" in message
    assert not is_open(it)
    assert it.plan(key_of()).due is not None


def test_nobody_is_accepted_before_the_record_is_written() -> None:
    it = shop(legacy(), gateway())
    first = it.plan(key_of())
    _, policy = first.steps
    assert [step.target for step in first.steps] == [RECORD, POLICY]
    assert isinstance(policy, Apply)
    assert not policy.manifest["spec"].get("ingress")
    it.settle()
    assert is_open(it)


def test_identity_named_like_its_trust_domain_keeps_its_record() -> None:
    named = {"name": "production", "namespace": "shop"}
    it = shop({**legacy(), "metadata": named}, gateway()).settle()
    assert ("ConfigMap", Ref("troth-system", "troth-gateway-trust-shop.production")) in it.objects


def test_trust_that_is_not_accepted_is_not_recorded() -> None:
    it = shop(legacy(days=120), gateway()).settle()
    assert trusted(it)[0] == "GatewayTrustTooLong"
    assert RECORD not in it.objects
    it.now += 40 * DAY
    it.settle()
    assert it.objects[RECORD]["data"] == {"firstAccepted": stamp(it.now)}


# Unverified peers


def web(*ends: timedelta | None) -> Manifest:
    """Return an identity that accepts unverified networks until these times from now."""
    accepts = []
    for number, end in enumerate(ends):
        peer = {"cidrs": [f"192.0.2.{number}/32"]}
        until = {} if end is None else {"expiresAt": stamp(NOW + end)}
        accepts.append(unverified(**peer, **until))
    return identity(ports=["https"], accepts=accepts)


def cidrs(of: Cluster) -> list[str]:
    rules = of.objects[POLICY]["spec"].get("ingress") or []
    return [peer["ipBlock"]["cidr"] for rule in rules for peer in rule["from"]]


FOUND = {
    "no end": ([40 * DAY, None], "UnverifiedWithoutEnd", 2),
    "an end": ([40 * DAY, 50 * DAY], "Unverified", 2),
    "an end soon": ([13 * DAY, None][:1], "UnverifiedEnding", 1),
    "an end in the past": ([40 * DAY, -DAY], "UnverifiedExpired", 1),
    "an end too far ahead": ([366 * DAY, 40 * DAY], "UnverifiedTooLong", 1),
}


@pytest.mark.parametrize(("ends", "reason", "open_"), FOUND.values(), ids=list(FOUND))
def test_unverified_peers_are_a_finding_and_close_at_their_end(
    ends: list[timedelta | None], reason: str, open_: int
) -> None:
    it = shop(web(*ends)).settle()
    found = it.condition(key_of(), "PeersVerified")
    assert (found["status"], found["reason"]) == ("False", reason)
    assert len(cidrs(it)) == open_
    assert it.condition(key_of(), "Ready")["status"] == "True"
    status = it.plan(key_of()).status
    assert status is not None
    states = [edge["state"] for edge in status["edges"]]
    assert states.count("Live") == open_


def test_unverified_peer_closes_when_it_is_due() -> None:
    it = shop(web(2 * DAY)).settle()
    due = it.plan(key_of()).due
    while due is not None and it.now < NOW + 2 * DAY:
        it.now = due
        it.settle()
        due = it.plan(key_of()).due
    assert it.now == NOW + 2 * DAY
    assert cidrs(it) == []
