"""Standing exceptions: their severity, what still holds, and ways out that close nothing open."""

from datetime import timedelta

import pytest

from tests.audit.scenes import findings, live, network_policy, severities
from tests.builders import (
    DAY,
    NOW,
    Manifest,
    accept,
    call,
    domain,
    gateway_only,
    identity,
    namespace,
    owned,
    stamp,
    unverified,
)
from tests.messaging import broker
from troth.audit.finding import Patch
from troth.audit.registry import RULE_BY_ID
from troth.audit.scene import scene_of
from troth.resources.references import Ref
from troth.resources.reported import Severity
from troth.trust.edges.declared import edges_of

INGRESS = identity("ingress")
EVERY_NAMESPACE = {
    "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]
}


def trusting(until: timedelta, since: timedelta | None = None) -> Manifest:
    """Return an identity with gateway-only trust that ends and began at these times from now."""
    trust = gateway_only("ingress", NOW + until)
    found = identity(ports=["https"], accepts=[accept("ingress")], authentication=trust)
    return found | ({"status": {"gatewayTrustedSince": stamp(NOW + since)}} if since else {})


def record(since: timedelta) -> Manifest:
    """Return the record of gateway-only trust that Troth keeps."""
    found = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "payments-gateway-trust", "namespace": "shop"},
        "data": {"firstAccepted": stamp(NOW + since)},
    }
    return owned(found, "ServiceIdentity", "payments")


def test_gateway_only_trust_is_worse_once_it_was_extended_beyond_90_days() -> None:
    assert severities("TR501", live(INGRESS, trusting(80 * DAY))) == [Severity.LOW]
    assert severities("TR501", live(INGRESS, trusting(80 * DAY, -9 * DAY))) == [Severity.LOW]
    assert severities("TR501", live(INGRESS, trusting(80 * DAY, -11 * DAY))) == [Severity.MEDIUM]


def test_record_of_gateway_only_trust_counts_if_the_status_is_lost() -> None:
    scene = live(INGRESS, trusting(80 * DAY), record(-11 * DAY))
    assert severities("TR501", scene) == [Severity.MEDIUM]
    scene.remove("ConfigMap", Ref("shop", "payments-gateway-trust"))
    assert severities("TR501", scene) == [Severity.LOW]


def test_trust_that_reached_its_ceiling_has_expired_whatever_its_end_is() -> None:
    scene = live(INGRESS, trusting(10 * DAY, -181 * DAY))
    assert not findings("TR501", scene)
    assert severities("TR503", scene) == [Severity.MEDIUM]


@pytest.mark.parametrize(
    ("peer", "severity"),
    [
        ({"cidrs": ["203.0.113.0/24"], "expiresAt": stamp(NOW + DAY)}, Severity.MEDIUM),
        ({"cidrs": ["203.0.113.0/24"]}, Severity.HIGH),
        ({"cidrs": ["0.0.0.0/0"], "expiresAt": stamp(NOW + DAY)}, Severity.HIGH),
        ({"cidrs": ["::/0"], "expiresAt": stamp(NOW + DAY)}, Severity.HIGH),
        ({"cidrs": ["0.0.0.0/1", "128.0.0.0/1"], "expiresAt": stamp(NOW + DAY)}, Severity.HIGH),
        ({"namespaceSelector": EVERY_NAMESPACE, "expiresAt": stamp(NOW + DAY)}, Severity.HIGH),
        ({"podSelector": {"matchLabels": {"app": "old"}}}, Severity.HIGH),
    ],
)
def test_unverified_peer_without_end_or_limit_is_worse(peer: Manifest, severity: Severity) -> None:
    scene = live(identity(ports=["https"], accepts=[unverified(**peer)]))
    assert severities("TR502", scene) == [severity]


def test_entries_of_one_identity_are_findings_of_their_own() -> None:
    entries = [unverified(cidrs=["203.0.113.0/24"]), unverified(cidrs=["198.51.100.0/24"])]
    first, second = findings("TR502", live(identity(ports=["https"], accepts=entries)))
    assert first.id != second.id
    (kept,) = findings("TR502", live(identity(ports=["https"], accepts=entries[1:])))
    assert kept.id in {first.id, second.id}, "the ID does not depend on the position"


def test_equal_entries_are_one_finding_whose_fix_removes_all() -> None:
    """The API server rejects a status in which two findings have one ID."""
    network = {"cidrs": ["203.0.113.0/24"]}
    entries = [
        unverified(**network, expiresAt=stamp(NOW + DAY)),
        accept("web"),
        unverified(**network, reason="another"),
    ]
    scene = live(identity(ports=["https"], accepts=entries))
    (finding,) = findings("TR502", scene)
    assert severities("TR502", scene) == [Severity.HIGH], "the worst counts"
    assert {each.field for each in finding.evidence} == {
        "spec.accepts[0].unverified",
        "spec.accepts[2].unverified",
    }
    (patch,) = RULE_BY_ID["TR502"].fix(scene, finding).patches
    assert patch.patch["spec"]["accepts"] == [accept("web")]


def test_long_lists_of_networks_are_told_apart() -> None:
    long = [f"203.0.113.{number}/32" for number in range(20)]
    entries = [unverified(cidrs=[*long, f"198.51.100.{n}/32"]) for n in range(2)]
    first, second = findings("TR502", live(identity(ports=["https"], accepts=entries)))
    assert first.id != second.id


def test_expired_entry_that_the_network_still_admits_is_worse() -> None:
    entry = unverified(cidrs=["203.0.113.0/24"], expiresAt=stamp(NOW - DAY))
    expired = identity(ports=["https"], accepts=[accept("web"), entry])
    rule = {"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}], "ports": [{"port": 8443}]}
    assert severities("TR503", live(expired)) == [Severity.MEDIUM]
    open_still = live(expired, network_policy("payments-troth", ingress=[rule]))
    assert severities("TR503", open_still) == [Severity.HIGH]
    closed = live(expired, network_policy("payments-troth", ingress=[]))
    assert severities("TR503", closed) == [Severity.MEDIUM]


def test_expired_trust_that_the_network_still_admits_is_worse() -> None:
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}},
        "podSelector": {"matchLabels": {"app": "ingress"}},
    }
    policy = network_policy("payments-troth", ingress=[{"from": [peer]}])
    assert severities("TR503", live(INGRESS, trusting(-DAY), policy)) == [Severity.HIGH]


def test_fix_of_an_expired_entry_removes_that_entry_alone() -> None:
    entry = unverified(cidrs=["203.0.113.0/24"], expiresAt=stamp(NOW - DAY))
    scene = live(identity(ports=["https"], accepts=[accept("web"), entry]))
    (finding,) = findings("TR503", scene)
    fix = RULE_BY_ID["TR503"].fix(scene, finding)
    assert not fix.steps
    (patch,) = fix.patches
    assert patch.patch["spec"]["accepts"] == [accept("web")]


def test_edges_stay_open_when_consent_becomes_mutual_by_the_fix() -> None:
    declared = [
        domain(consent="Callee"),
        namespace("shop", domain="production"),
        namespace("front", domain="production"),
        identity("payments", ports=["https", ("admin", 9000)], accepts=[
            accept("web", namespace="front"), accept("batch", "admin")]),
        identity("web", "front", calls=[{"kubernetesAPI": True}]),
        identity("batch", calls=[call("payments", "admin")]),
    ]  # fmt: skip
    scene = scene_of(declared, NOW, in_cluster=True)
    (finding,) = findings("TR504", scene)
    patches = RULE_BY_ID["TR504"].fix(scene, finding).patches
    after = scene_of([patched(each, patches) for each in declared], NOW, in_cluster=True)
    assert not findings("TR504", after)
    states = {
        (edge.caller.name, edge.port): edge.state.value
        for edge in edges_of(after.world.registry, Ref("shop", "payments"), NOW)
    }
    assert states == {("web", "https"): "Live", ("batch", "admin"): "Live"}


def patched(manifest: Manifest, patches: tuple[Patch, ...]) -> Manifest:
    """Return a manifest with the patches of its spec applied."""
    for each in patches:
        if (manifest["kind"], Ref.of(manifest)) == (each.object.kind, each.object.ref):
            manifest = {**manifest, "spec": {**manifest["spec"], **each.patch["spec"]}}
    return manifest


def observed(age: timedelta, changed: timedelta | None = None) -> Manifest:
    found = identity(enforcement="Observe")
    found["metadata"]["creationTimestamp"] = stamp(NOW - age)
    condition = {
        "type": "NetworkEnforced",
        "status": "True",
        "reason": "Observing",
        "message": "",
        "lastTransitionTime": stamp(NOW - changed) if changed else "",
    }
    return found | ({"status": {"conditions": [condition]}} if changed else {})


@pytest.mark.parametrize(
    ("resource", "found"),
    [
        (observed(31 * DAY), 1),
        (observed(29 * DAY), 0),
        (observed(90 * DAY, 31 * DAY), 1),
        (observed(90 * DAY, 29 * DAY), 0),
        (identity(enforcement="Observe"), 0),
    ],
)
def test_age_of_observation_counts_from_the_last_known_change(
    resource: Manifest, found: int
) -> None:
    assert len(findings("TR505", live(resource))) == found


def test_observed_broker_is_found_and_a_planned_one_is_not() -> None:
    for mode, found in (("Observe", 1), ("Plan", 0), ("Enforce", 0)):
        described = broker("orders", "shop", mode=mode)
        described["metadata"]["creationTimestamp"] = stamp(NOW - 31 * DAY)
        assert len(findings("TR505", live(described))) == found


def test_messages_have_no_times() -> None:
    scene = live(INGRESS, trusting(10 * DAY, -100 * DAY))
    assert not any("20" in each.message for each in findings("TR501", scene))
