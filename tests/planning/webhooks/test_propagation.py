"""The gateway delivers to a target only after the target's pods have read the endpoint's entry."""

import copy
from datetime import timedelta
from typing import Any

import pytest

from tests import builders
from tests.builders import DAY, HOUR, NOW, Cluster, Manifest, stamp
from tests.changed_manifests import changed
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


def settled_shop(*instead: Manifest) -> Cluster:
    """Return a shop whose endpoint has received deliveries for an hour."""
    return later(later(declared(*instead).settle()), HOUR)


def restarted(cluster: Cluster, now: timedelta = HOUR) -> Cluster:
    """Return the same objects as another process observes them for the first time."""
    again = Cluster(now=cluster.now + now, version=cluster.version)
    for manifest in cluster.objects.values():
        again.see(copy.deepcopy(manifest))
    return again


def has(cluster: Cluster) -> Endpoint:
    """Return the endpoint's entry in the gateway's configuration, according to the plan."""
    (step,) = (each for each in cluster.plan(CHARGES).steps if isinstance(each, CompileEndpoint))
    return parse_endpoint(step.document)


def delivers(cluster: Cluster) -> bool:
    return has(cluster).target is not None


def reachable(cluster: Cluster) -> tuple[str, str, str]:
    found = cluster.condition(CHARGES, "TargetReachable")
    return found["status"], found["reason"], found.get("message", "")


def test_new_endpoint_opens_after_the_propagation_delay() -> None:
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


def test_gateway_configuration_is_unchanged_while_the_endpoint_waits() -> None:
    """Otherwise it would be written again for each step of the wait."""
    cluster = Cluster.of(*scene(issued(), keys(main=ONE)), leading())
    before = has(cluster).suspended
    assert "until they have read the endpoint's entry" in before
    assert "does not list the endpoint yet" in reachable(cluster)[2]
    cluster.put(builders.authority_secret())
    assert has(cluster.settle()).suspended == before
    assert "no later than" in reachable(cluster)[2]


def test_new_endpoint_of_a_known_target_waits_too() -> None:
    cluster = settled_shop(endpoint(), endpoint("other"))
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


def test_clock_set_forward_shortens_no_wait() -> None:
    cluster = declared().settle()
    cluster.now += DAY
    assert not delivers(cluster)
    cluster.uptime += PROPAGATION.total_seconds()
    assert delivers(cluster)


def test_endpoint_in_place_stays_open_after_a_restart_of_the_operator() -> None:
    cluster = restarted(settled_shop())
    assert delivers(cluster)
    assert reachable(cluster)[0] == "True"


def test_restart_of_the_operator_shortens_no_wait() -> None:
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
def test_change_outside_the_targets_entry_causes_no_wait(path: str, value: Any) -> None:
    cluster = settled_shop()
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
def test_change_of_the_targets_entry_causes_a_wait(change: Manifest) -> None:
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
    """Return the target in an unreadable version."""
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
def test_only_a_change_of_the_targets_document_causes_another_wait(
    meanwhile: Manifest | None, gone: Manifest | None, comes: Manifest, waits: bool
) -> None:
    """This holds too if the operator restarts in between and has no times of observation."""
    cluster = settled_shop(issued(), KEYS)
    if meanwhile is not None:
        cluster.put(meanwhile)
    if gone is not None:
        cluster.drop(gone["kind"], Ref.of(gone))
    cluster = restarted(cluster.settle()).settle()
    cluster.put(comes)
    assert delivers(cluster.settle()) is not waits
    assert delivers(later(cluster))


def test_pods_keep_the_files_of_a_deleted_secret() -> None:
    cluster = settled_shop()
    cluster.drop(*TOLD)
    assert delivers(cluster)
    assert delivers(restarted(cluster.settle()))


def test_new_key_after_a_loss_causes_a_wait() -> None:
    cluster = settled_shop()
    assert CHARGES in cluster.drop(*SIGNING)
    assert delivers(cluster), "the gateway puts deliveries off by itself"
    cluster.settle()
    assert reachable(cluster)[1] == "TargetPending"
    assert not delivers(later(cluster, PROPAGATION - SECOND))
    assert not delivers(restarted(cluster, SECOND)), "a restarted operator assumes no more"
    assert delivers(later(cluster, SECOND))
    assert delivers(restarted(cluster))


def test_missing_gateway_key_stops_deliveries_and_is_reported() -> None:
    cluster = declared().settle()
    cluster.drop(*SIGNING)
    later_, step = cluster.plan(CHARGES), PROPAGATION.total_seconds()
    assert later_.due is None
    cluster.uptime += step
    assert "has no signing key yet" in reachable(cluster)[2]
    assert not delivers(cluster)


def test_target_document_and_gateway_key_invalidate_the_endpoint() -> None:
    cluster = declared().settle()
    told = copy.deepcopy(cluster.objects[TOLD])
    assert CHARGES not in cluster.put(told), "as it was"
    assert CHARGES in cluster.drop(*TOLD)
    assert CHARGES in cluster.put(told)
    signing = copy.deepcopy(cluster.objects[SIGNING])
    assert CHARGES not in cluster.put(signing), "as it was"
    signing["data"].pop(GATEWAYS.active)
    assert CHARGES in cluster.put(signing)


def test_clock_set_back_makes_no_key_new() -> None:
    cluster = settled_shop()
    assert delivers(restarted(cluster, -DAY))
