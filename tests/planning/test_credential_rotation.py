"""CredentialRotation: its effect on its target, and its status."""

from datetime import timedelta
from typing import Any

import pytest

from tests import builders
from tests.builders import (
    DAY,
    HOUR,
    NOW,
    OWN,
    Cluster,
    Manifest,
    domain,
    identity,
    key_of,
    namespace,
    rotation,
    secret,
    shop,
    stamp,
)
from troth.planning.steps.authorities import PrepareRoot
from troth.planning.steps.certificates import IssueLeaf
from troth.resources.references import Ref
from troth.world.index.rotations import rotation_key
from troth.world.keys import Key, domain_key

PRODUCTION = domain_key("production")
OF_PAYMENTS = rotation_key(Ref("shop", "payments-rotation"))
OF_ROOT = rotation_key(Ref(OWN, "production-rotation"))


def of_root(**spec: Any) -> Manifest:
    return rotation("TrustDomain", "production", OWN, **spec)


def ready(cluster: Cluster, key: Key) -> tuple[str, str, str]:
    condition = cluster.condition(key, "Ready")
    return condition["status"], condition["reason"], condition.get("message", "")


def status(cluster: Cluster, key: Key) -> Manifest:
    told = cluster.plan(key).status
    assert told is not None
    return dict(told)


def reissues(cluster: Cluster) -> list[str]:
    steps = cluster.plan(key_of()).steps
    return [step.reason for step in steps if isinstance(step, IssueLeaf)]


def prepares(cluster: Cluster) -> bool:
    return any(isinstance(step, PrepareRoot) for step in cluster.plan(PRODUCTION).steps)


# Leaves


def test_certificate_is_reissued_once_on_request() -> None:
    cluster = shop(identity()).settle()
    assert not reissues(cluster)
    cluster.now += HOUR
    assert key_of() in cluster.put(rotation(requestedAt=stamp(cluster.now)))
    assert reissues(cluster) == ["RotationDue"]
    cluster.settle()
    assert not reissues(cluster)
    told = status(cluster, OF_PAYMENTS)
    assert told["lastRotated"] == stamp(cluster.now)
    assert ready(cluster, OF_PAYMENTS)[:2] == ("True", "InPlace")


def test_certificate_is_reissued_when_it_is_older_than_the_interval() -> None:
    cluster = shop(identity(), rotation(every="6h")).settle()
    plan = cluster.plan(key_of())
    assert plan.due == NOW + 6 * HOUR
    assert plan.status is not None
    assert plan.status["certificate"]["renewAt"] == stamp(NOW + 6 * HOUR)
    assert status(cluster, OF_PAYMENTS)["nextRotation"] == stamp(NOW + 6 * HOUR)
    cluster.now += 6 * HOUR
    assert reissues(cluster) == ["RotationDue"]


def test_interval_longer_than_the_lifetime_lets_nothing_expire() -> None:
    cluster = shop(identity(), rotation(every="720h")).settle()
    cluster.now += 16 * HOUR
    assert reissues(cluster) == ["RenewalDue"]


def test_overlap_renews_that_long_before_expiry() -> None:
    cluster = shop(identity(), rotation(overlap="10h")).settle()
    cluster.now = NOW + 14 * HOUR - timedelta(seconds=1)
    assert not reissues(cluster)
    cluster.now = NOW + 14 * HOUR
    assert reissues(cluster) == ["RenewalDue"]


def test_impossible_overlap_is_reported_and_does_not_reissue_repeatedly() -> None:
    cluster = shop(identity(), rotation(overlap="100h")).settle()
    assert ready(cluster, OF_PAYMENTS)[:2] == ("False", "OverlapTooLong")
    assert not reissues(cluster)


def test_rotation_waits_until_its_target_exists() -> None:
    cluster = shop(rotation())
    assert ready(cluster, OF_PAYMENTS)[:2] == ("False", "TargetMissing")
    assert OF_PAYMENTS in cluster.put(identity())
    assert ready(cluster.settle(), OF_PAYMENTS)[:2] == ("True", "InPlace")


def test_nothing_is_rotated_without_a_certificate() -> None:
    legacy = identity(authentication=builders.gateway_only("gateway", NOW + DAY))
    assert ready(shop(legacy, rotation()), OF_PAYMENTS)[:2] == ("False", "NothingToRotate")


@pytest.mark.parametrize(
    ("window", "reason"),
    [
        ({"cron": "0 2 31 2 *", "duration": "1h"}, "WindowNeverOpens"),
        ({"cron": "0 2 * * *", "duration": "1h", "timeZone": "Europe/Nowhere"}, "TimeZoneUnknown"),
    ],
)
def test_impossible_window_is_reported(window: Manifest, reason: str) -> None:
    cluster = shop(identity(), rotation(every="6h", windows=[window])).settle()
    assert ready(cluster, OF_PAYMENTS)[:2] == ("False", reason)


# Roots


def test_root_is_rotated_on_request_from_troths_own_namespace() -> None:
    cluster = shop(identity()).settle()
    cluster.now += DAY
    assert not prepares(cluster)
    assert PRODUCTION in cluster.put(of_root(requestedAt=stamp(cluster.now)))
    assert prepares(cluster)
    assert status(cluster, OF_ROOT)["phase"] == "Prepared"


def test_root_is_not_rotated_on_request_from_another_namespace() -> None:
    cluster = shop(identity()).settle()
    cluster.now += DAY
    cluster.put(rotation("TrustDomain", "production", "shop", requestedAt=stamp(cluster.now)))
    assert not prepares(cluster)
    told = ready(cluster, rotation_key(Ref("shop", "production-rotation")))
    assert told[:2] == ("False", "NotFromHere")
    assert "troth-system" in told[2]


def test_root_is_rotated_when_it_is_older_than_the_interval() -> None:
    cluster = shop(of_root(every="720h")).settle()
    due = cluster.plan(PRODUCTION).due
    assert due == NOW + 30 * DAY
    assert status(cluster, OF_ROOT)["nextRotation"] == stamp(due)
    cluster.now = due
    assert prepares(cluster)


def test_rotation_of_a_given_authority_asks_its_owner() -> None:
    certificate, key = builders.root("production.example")
    cluster = Cluster.of(
        namespace("shop", domain="production"),
        domain(authority={"secretRef": {"name": "corporate"}}),
        secret("corporate", tls_crt=certificate, tls_key=key.encode()),
        of_root(requestedAt=stamp(NOW + DAY)),
    ).settle()
    assert ready(cluster, OF_ROOT)[0] == "True"
    cluster.now += DAY
    told = ready(cluster, OF_ROOT)
    assert told[:2] == ("False", "AwaitingGivenAuthority")
    assert "troth-system/corporate" in told[2]


def test_unreadable_rotation_is_reported() -> None:
    cluster = shop(identity(), {**rotation(), "spec": {"target": {"kind": "Pod", "name": "x"}}})
    assert ready(cluster, OF_PAYMENTS)[:2] == ("False", "InvalidSpec")
