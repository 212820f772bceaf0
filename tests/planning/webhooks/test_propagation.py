"""No delivery goes to a target before its pods have read that they are to take it."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from tests import builders
from tests.builders import DAY, HOUR, NOW, Cluster, Manifest, stamp
from tests.changing import changed
from tests.webhook_builders import INBOUND, ONE, endpoint, issued, keys, leading
from tests.webhook_scene import GATEWAY, PROPAGATION, accepts_gateway, gateway, scene, target
from troth.documents.webhook_endpoint import Endpoint, parse_endpoint
from troth.planning.steps.webhooks import CompileEndpoint
from troth.resources.references import Ref
from troth.world.keys import webhook_key
from troth.world.observation.signing_keys import GATEWAYS

CHARGES = webhook_key(Ref("shop", "stripe-charges"))
COMPILED = "Secret", Ref(GATEWAY, "shop.stripe-charges")
TOLD = "Secret", Ref("shop", "payments-identity")
SIGNING = "Secret", Ref(GATEWAY, f"{GATEWAY}-webhook-signing")
SECOND = timedelta(seconds=1)
INBOUND_TARGET = f"{INBOUND}.target"


def declared(*instead: Manifest) -> Cluster:
    return Cluster.of(builders.authority_secret(), *scene(*instead), leading())


def later(cluster: Cluster, by: timedelta = PROPAGATION) -> Cluster:
    cluster.now += by
    cluster.uptime += by.total_seconds()
    return cluster.settle()


def standing(*instead: Manifest) -> Cluster:
    """A shop whose endpoint has been delivered to for an hour."""
    return later(later(declared(*instead).settle()), HOUR)


def restarted(cluster: Cluster, now: timedelta = HOUR) -> Cluster:
    """The same objects, as another process sees them for the first time."""
    again = Cluster(now=cluster.now + now, version=cluster.version)
    for manifest in cluster.objects.values():
        again.see(copy.deepcopy(manifest))
    return again


def has(cluster: Cluster) -> Endpoint:
    """What the gateway should have, by the plan."""
    (step,) = (each for each in cluster.plan(CHARGES).steps if isinstance(each, CompileEndpoint))
    return parse_endpoint(step.document)


def delivers(cluster: Cluster) -> bool:
    return has(cluster).target is not None


def reachable(cluster: Cluster) -> tuple[str, str, str]:
    found = cluster.condition(CHARGES, "TargetReachable")
    return found["status"], found["reason"], found.get("message", "")


def test_a_new_endpoint_is_delivered_to_once_its_target_surely_knows_of_it() -> None:
    cluster, at_last = declared().settle(), stamp(NOW + PROPAGATION)
    assert not delivers(cluster)
    assert reachable(cluster) == (
        "False",
        "TargetPending",
        (
            "the pods of shop/payments reject deliveries until they have read the endpoint's "
            f"entry: they will have read Secret shop/payments-identity no later than {at_last}"
        ),
    )
    assert cluster.condition(CHARGES, "Reconciling")["status"] == "True", "nobody has to do a thing"
    assert cluster.plan(CHARGES).due == NOW + PROPAGATION
    later(cluster, PROPAGATION - SECOND)
    assert not delivers(cluster)
    later(cluster, SECOND)
    assert delivers(cluster)
    assert reachable(cluster)[:2] == ("True", "Reachable")


def test_what_the_gateway_is_told_stays_the_same_while_it_waits() -> None:
    """Else it would be told anew with each thing that is waited for."""
    cluster = Cluster.of(*scene(issued(), keys(main=ONE)), leading())
    before = has(cluster).suspended
    assert "until they have read the endpoint's entry" in before
    assert "does not list the endpoint yet" in reachable(cluster)[2]
    cluster.put(builders.authority_secret())
    assert has(cluster.settle()).suspended == before
    assert "no later than" in reachable(cluster)[2]


def test_a_target_that_has_long_had_other_endpoints_is_waited_for_as_well() -> None:
    cluster = standing(endpoint(), endpoint("other"))
    cluster.put(endpoint("third"))
    cluster.settle()
    assert delivers(cluster)
    third = cluster.condition(webhook_key(Ref("shop", "third")), "TargetReachable")
    assert third["reason"] == "TargetPending"


def test_another_new_endpoint_prolongs_no_wait() -> None:
    cluster = declared().settle()
    later(cluster, PROPAGATION - SECOND)
    cluster.put(endpoint("other"))
    later(cluster.settle(), SECOND)
    assert delivers(cluster)


def test_a_clock_that_is_set_forward_shortens_no_wait() -> None:
    cluster = declared().settle()
    cluster.now += DAY
    assert not delivers(cluster)
    cluster.uptime += PROPAGATION.total_seconds()
    assert delivers(cluster)


def test_what_is_in_place_is_so_also_for_an_operator_that_begins_anew() -> None:
    cluster = restarted(standing())
    assert delivers(cluster)
    assert reachable(cluster)[0] == "True"


def test_an_operator_that_begins_anew_shortens_no_wait() -> None:
    begun = later(declared().settle(), PROPAGATION - SECOND)
    cluster = restarted(begun)
    assert not delivers(cluster)
    cluster.uptime += PROPAGATION.total_seconds() - 1.0
    assert not delivers(cluster)
    cluster.uptime += 1.0
    assert delivers(cluster)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{INBOUND}.tolerance", "30s"),
        (f"{INBOUND}.replayWindow", "48h"),
        (f"{INBOUND}.limits", {"body": "1Ki"}),
        (f"{INBOUND}.source", {"cidrs": ["203.0.113.0/24"]}),
        (f"{INBOUND}.scheme", "GitHub"),
        (f"{INBOUND}.publicURL", "https://hooks.shop.example/other"),
    ],
)
def test_a_change_that_is_none_of_the_targets_holds_nothing_up(path: str, value: Any) -> None:
    cluster = standing()
    cluster.put(changed(endpoint(), path, value))
    assert delivers(cluster)
    assert delivers(cluster.settle())


@pytest.mark.parametrize(
    "change",
    [
        changed(endpoint(), f"{INBOUND_TARGET}.path", "/other"),
        changed(endpoint(), f"{INBOUND_TARGET}.workflow", "refund"),
        changed(endpoint(), f"{INBOUND_TARGET}.port", "other"),
        changed(endpoint(), f"{INBOUND_TARGET}.identity.name", "ledger"),
        gateway(workload=gateway()["spec"]["workload"] | {"serviceAccountName": "other"}),
    ],
    ids=["path", "workflow", "port", "target", "the gateway's name"],
)
def test_what_the_target_must_know_anew_is_waited_for(change: Manifest) -> None:
    ports = [("webhooks", 9443), ("other", 9444)]
    accepts = [accepts_gateway("webhooks", "other")]
    service, other = leading(), leading("ledger")
    service["spec"]["ports"].append({"name": "other", "port": 444, "targetPort": 9444})
    other["spec"]["selector"] = {"app": "ledger"}
    cluster = declared(
        target(ports=ports, accepts=accepts),
        builders.identity("ledger", ports=ports, accepts=accepts),
    )
    cluster.put(service)
    cluster.put(other)
    later(cluster.settle())
    later(cluster, HOUR)
    assert delivers(cluster)
    cluster.put(change)
    assert not delivers(cluster)
    assert not delivers(later(cluster.settle(), PROPAGATION - SECOND))
    assert delivers(later(cluster, SECOND))


def unreadable() -> Manifest:
    """The target, which nobody can read."""
    broken = target()
    broken["spec"]["authentication"] = {}
    return broken


KEYS = keys(main=ONE)
SERVICE = leading()


@pytest.mark.parametrize(
    ("meanwhile", "gone", "comes", "waits"),
    [
        (target(accepts=[]), None, target(), True),
        (None, SERVICE, SERVICE, False),
        (None, KEYS, KEYS, False),
        (unreadable(), None, target(), False),
    ],
    ids=["consent", "Service", "keys", "readable target"],
)
def test_only_what_the_target_was_told_otherwise_meanwhile_is_waited_for_again(
    meanwhile: Manifest | None, gone: Manifest | None, comes: Manifest, waits: bool
) -> None:
    """Also by an operator that begins anew in between, and so knows of nothing since when."""
    cluster = standing(issued(), KEYS)
    if meanwhile is not None:
        cluster.put(meanwhile)
    if gone is not None:
        cluster.drop(gone["kind"], Ref.of(gone))
    cluster = restarted(cluster.settle()).settle()
    cluster.put(comes)
    assert delivers(cluster.settle()) is not waits
    assert delivers(later(cluster))


def test_pods_keep_the_files_of_a_secret_that_is_gone() -> None:
    cluster = standing()
    cluster.drop(*TOLD)
    assert delivers(cluster)
    assert delivers(restarted(cluster.settle()))


def test_a_key_in_place_of_one_that_was_lost_is_waited_for() -> None:
    cluster = standing()
    assert CHARGES in cluster.drop(*SIGNING)
    assert delivers(cluster), "the gateway puts deliveries off by itself"
    cluster.settle()
    assert reachable(cluster)[1] == "TargetPending"
    assert not delivers(later(cluster, PROPAGATION - SECOND))
    assert not delivers(restarted(cluster, SECOND)), "whoever begins anew does not know better"
    assert delivers(later(cluster, SECOND))
    assert delivers(restarted(cluster))


def test_without_a_key_of_the_gateways_nothing_is_delivered_and_that_is_told() -> None:
    cluster = declared().settle()
    cluster.drop(*SIGNING)
    later_, step = cluster.plan(CHARGES), PROPAGATION.total_seconds()
    assert later_.due is None
    cluster.uptime += step
    assert "has no signing key yet" in reachable(cluster)[2]
    assert not delivers(cluster)


def test_an_endpoint_is_looked_at_when_its_target_is_told_and_when_the_gateway_has_a_key() -> None:
    cluster = declared().settle()
    told = copy.deepcopy(cluster.objects[TOLD])
    assert CHARGES not in cluster.put(told), "as it was"
    assert CHARGES in cluster.drop(*TOLD)
    assert CHARGES in cluster.put(told)
    signing = copy.deepcopy(cluster.objects[SIGNING])
    assert CHARGES not in cluster.put(signing), "as it was"
    signing["data"].pop(GATEWAYS.active)
    assert CHARGES in cluster.put(signing)


def test_a_clock_that_is_set_back_makes_no_key_a_new_one() -> None:
    cluster = standing()
    assert delivers(restarted(cluster, -DAY))
