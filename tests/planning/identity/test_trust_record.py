"""The record of gateway-only trust outlives identity and namespace, and one namespace's are few."""

from datetime import datetime

import pytest

from tests.builders import DAY, NOW, Cluster, Manifest, identity, key_of, owned, shop, stamp
from tests.planning.identity.test_exceptions import (
    FORMER,
    LEGACY,
    RECORD,
    deleted,
    extended,
    gateway,
    is_open,
    legacy,
    trusted,
)
from troth.planning.identity.trust_record import RETENTION
from troth.planning.steps.objects import Apply, Remove
from troth.resources.identity.authentication import GATEWAY_TRUST_CEILING
from troth.resources.references import Ref
from troth.trust.declarations.trust_records import MOST_RECORDS

END = NOW + GATEWAY_TRUST_CEILING
FORGOTTEN = END + RETENTION


def former(since: datetime = NOW, name: str = "payments") -> Manifest:
    """Return the record that earlier versions kept beside an identity."""
    found = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-gateway-trust", "namespace": "shop"},
        "data": {"firstAccepted": stamp(since)},
    }
    return owned(found, "ServiceIdentity", name)


def record(name: str, since: datetime = NOW) -> Manifest:
    """Return the record of an identity in namespace shop."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"troth-gateway-trust-shop.{name}",
            "namespace": "troth-system",
            "labels": {"app.kubernetes.io/managed-by": "troth"},
        },
        "data": {"firstAccepted": stamp(since)},
    }


def full(of: Cluster) -> Cluster:
    """Record the trust of as many other identities of the namespace as can be recorded."""
    for number in range(MOST_RECORDS):
        of.put(record(f"preview-{number}"))
    return of


def visited(of: Cluster) -> Cluster:
    """Carry out the plan of the identity, whether it exists or not."""
    of.visit(key_of())
    of.visit(key_of())
    return of


# Deletion


def test_trust_does_not_begin_again_after_everything_in_the_namespace_was_deleted() -> None:
    it = extended(shop(legacy(), gateway()).settle(), 170)
    for place in [place for place in it.objects if place[1].namespace == "shop"]:
        it.drop(*place)
    it.now = END
    it.put(legacy(it))
    it.put(gateway())
    it.settle()
    assert trusted(it)[0] == "GatewayTrustEnded"
    assert not is_open(it)


def test_record_of_a_deleted_identity_is_removed_at_last() -> None:
    it = shop(legacy(), gateway()).settle()
    deleted(it)
    plan = it.plan(key_of())
    assert plan.due == FORGOTTEN
    assert not plan.pending(it.world)
    it.now = FORGOTTEN - DAY
    assert RECORD in visited(it).objects
    it.now = FORGOTTEN
    assert RECORD not in visited(it).objects


def test_record_of_an_existing_identity_is_never_removed() -> None:
    it = shop(legacy(), gateway()).settle()
    it.put(identity())
    it.now = FORGOTTEN + DAY
    it.settle()
    assert RECORD in it.objects
    deleted(it)
    it.put(legacy(it))
    it.settle()
    assert trusted(it)[0] == "GatewayTrustEnded"


def test_record_that_cannot_be_read_stays_without_its_identity() -> None:
    it = shop(legacy(), gateway()).settle()
    deleted(it)
    it.put({**it.objects[RECORD], "data": {}})
    it.now = FORGOTTEN
    assert RECORD in visited(it).objects


# Records of earlier versions


@pytest.mark.parametrize("since", [NOW - 100 * DAY, NOW - 30 * DAY], ids=["ends", "lasts"])
def test_former_record_is_moved_and_its_end_stays(since: datetime) -> None:
    it = shop(former(since), legacy(days=90), gateway()).settle()
    assert it.objects[RECORD]["data"] == {"firstAccepted": stamp(since)}
    assert FORMER not in it.objects
    assert is_open(it)
    deleted(it)
    it.now = since + GATEWAY_TRUST_CEILING
    it.put(legacy(it))
    it.settle()
    assert trusted(it)[0] == "GatewayTrustEnded"


def test_former_record_is_removed_only_after_the_new_one_is_written() -> None:
    it = shop(former(), legacy(), gateway())
    first = it.plan(key_of())
    assert not [step for step in first.steps if isinstance(step, Remove)]
    assert first.steps[0].target == RECORD
    it.carry_out(first.steps[0])
    (removal,) = [step for step in it.plan(key_of()).steps if isinstance(step, Remove)]
    assert removal.target == FORMER


def test_trust_of_a_former_record_stays_open_while_it_is_moved() -> None:
    it = shop(former(), legacy(), gateway())
    _, policy = it.plan(key_of()).steps
    assert isinstance(policy, Apply)
    assert policy.manifest["spec"]["ingress"]


@pytest.mark.parametrize("state", ["deleted", "terminating", "unreadable", "mtls"])
def test_former_record_is_moved_whatever_the_state_of_its_identity_is(state: str) -> None:
    it = shop(former(NOW - DAY))
    match state:
        case "terminating":
            it.put(legacy())
            it.drop("Namespace", Ref("", "shop"))
            it.put(
                {
                    "kind": "Namespace",
                    "metadata": {"name": "shop", "deletionTimestamp": stamp(NOW)},
                }
            )
        case "unreadable":
            it.put(legacy() | {"spec": {"workload": 1}})
        case "mtls":
            it.put(identity())
    visited(it)
    assert it.objects[RECORD]["data"] == {"firstAccepted": stamp(NOW - DAY)}
    assert FORMER not in it.objects


def test_earlier_time_in_a_former_record_counts_and_a_later_one_does_not() -> None:
    it = shop(legacy(), gateway()).settle()
    for since, counts in ((NOW + 9 * DAY, NOW), (NOW - 9 * DAY, NOW - 9 * DAY)):
        assert key_of() in it.put(former(since))
        it.settle()
        assert it.objects[RECORD]["data"] == {"firstAccepted": stamp(counts)}
        assert FORMER not in it.objects


def test_record_in_a_namespace_of_users_does_not_count() -> None:
    it = shop(legacy(), gateway()).settle()
    forged = record("payments", NOW - 200 * DAY)
    forged["metadata"]["namespace"] = "shop"
    it.put(forged)
    it.settle()
    assert is_open(it)


# Bounds


def test_identity_that_cannot_be_recorded_is_not_accepted_until_there_is_room() -> None:
    it = full(shop(legacy(), gateway())).settle()
    reason, message = trusted(it)
    assert reason == "TooManyTrustRecords"
    assert "namespace shop has 256 records" in message
    assert not is_open(it)
    assert not is_open(it, "gateway")
    assert RECORD not in it.objects
    assert "gatewayTrustedSince" not in it.objects["ServiceIdentity", LEGACY]["status"]
    freed = it.drop("ConfigMap", Ref("troth-system", "troth-gateway-trust-shop.preview-0"))
    assert {key_of(), key_of("gateway")} <= freed
    it.settle()
    assert is_open(it)


def test_records_of_one_namespace_leave_room_for_those_of_others() -> None:
    it = shop(legacy(), gateway())
    for number in range(2 * MOST_RECORDS):
        other = record("x")
        other["metadata"]["name"] = f"troth-gateway-trust-other.preview-{number}"
        it.put(other)
    it.settle()
    assert is_open(it)


def test_recorded_identity_stays_accepted_when_its_namespace_is_full() -> None:
    it = full(shop(legacy(), gateway()).settle()).settle()
    assert is_open(it)
