"""NetworkPolicies of others: what counts as opened, as Troth's, and as a way out."""

from typing import Any

import pytest

from tests.audit.objects import deployment
from tests.audit.scenes import GOVERNED, files, findings, job, live, network_policy, pod
from tests.builders import (
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    identity,
    namespace,
    owned,
    unverified,
)
from troth.audit.facts.pods.parties import Party
from troth.audit.registry import RULE_BY_ID
from troth.audit.rules.network.widened_by_others import MOST_OPENINGS
from troth.audit.scene import Scene
from troth.resources.references import Ref

RULE = "TR602"
PAYMENTS = identity("payments", ports=["https"], accepts=[accept("web")])
WEB = identity("web", calls=[call("payments")])
ELSEWHERE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "legacy"}}}


def in_cluster(*manifests: Manifest, declared: tuple[Manifest, ...] = (PAYMENTS, WEB)) -> Scene:
    """Return a cluster in which Troth has written its policies."""
    own = Cluster.of(*GOVERNED, namespace("legacy"), *declared).settle().policies()
    pods = (pod(each["metadata"]["name"]) for each in declared)
    return live(namespace("legacy"), *declared, *own, *pods, *manifests)


def shows(scene: Scene) -> list[str]:
    return [each.shows for finding in findings(RULE, scene) for each in finding.evidence]


def to_payments(**peer: Any) -> Manifest:
    ingress = [{"from": [peer], "ports": [{"port": 8443}]}]
    return network_policy(
        "other", podSelector={"matchLabels": {"app": "payments"}}, ingress=ingress
    )


def test_pods_without_a_policy_of_their_own_show_what_is_open() -> None:
    scene = in_cluster(to_payments(**ELSEWHERE), pod("batch", "legacy"))
    assert shows(scene) == [
        (
            "lets every pod of namespace legacy, such as StatefulSet legacy/batch reach "
            "ServiceIdentity shop/payments on 8443/TCP"
        )
    ]


def test_runs_of_a_cron_job_are_named_as_the_cron_job() -> None:
    run = pod("night-1", kind="Job", labels={"app": "night"})
    within = {"podSelector": {"matchLabels": {"app": "night"}}}
    scene = in_cluster(to_payments(**within), run)
    assert "such as Job shop/night-1 reach" in shows(scene)[0]
    scene.put(job("night-1", "night"))
    assert "such as CronJob shop/night reach" in shows(scene)[0]
    (finding,) = findings(RULE, scene)
    steps = RULE_BY_ID[RULE].fix(scene, finding).steps
    assert "Declare a ServiceIdentity for CronJob shop/night, then its edges." in steps
    scene.remove("Job", Ref("shop", "night-1"))
    assert "such as Job shop/night-1 reach" in shows(scene)[0]


def test_nothing_is_open_while_no_pod_of_the_peer_exists() -> None:
    assert not findings(RULE, in_cluster(to_payments(**ELSEWHERE)))


def test_nothing_is_open_to_pods_that_may_not_call_out() -> None:
    closed = network_policy("closed", "legacy", policyTypes=["Egress"])
    scene = in_cluster(to_payments(**ELSEWHERE), pod("batch", "legacy"), closed)
    assert not findings(RULE, scene)


def test_isolated_pods_whose_own_policy_admits_the_call_show_what_is_open() -> None:
    ports = [{"port": 8443}]
    calling = network_policy(
        "calling",
        "legacy",
        policyTypes=["Egress"],
        egress=[{"to": [{"namespaceSelector": {}, "podSelector": {}}], "ports": ports}],
    )
    scene = in_cluster(to_payments(**ELSEWHERE), pod("batch", "legacy"), calling)
    assert [str(each.subject) for each in findings(RULE, scene)] == ["NetworkPolicy shop/other"]


def test_other_end_must_admit_the_same_port() -> None:
    ports = [{"port": 5432}]
    elsewhere = network_policy(
        "calling",
        "legacy",
        policyTypes=["Egress"],
        egress=[{"to": [{"namespaceSelector": {}, "podSelector": {}}], "ports": ports}],
    )
    scene = in_cluster(to_payments(**ELSEWHERE), pod("batch", "legacy"), elsewhere)
    assert not findings(RULE, scene)


def test_block_that_an_entry_covers_in_part_is_found() -> None:
    half = identity("payments", ports=["https"], accepts=[unverified(cidrs=["203.0.113.0/25"])])
    scene = in_cluster(to_payments(ipBlock={"cidr": "203.0.113.0/24"}), declared=(half,))
    assert findings(RULE, scene)


def test_replicas_that_may_reach_each_other_are_found_and_a_single_pod_is_not() -> None:
    among = network_policy(
        "among", ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]
    )
    egress = network_policy("out", egress=[{"to": [{"podSelector": {}}]}], policyTypes=["Egress"])
    selected = {"podSelector": {"matchLabels": {"app": "web"}}}
    for policy in (among, egress):
        policy["spec"] |= selected
    scene = in_cluster(among, egress, declared=(WEB,))
    assert not findings(RULE, scene)
    scene.put(pod("web", number=1))
    assert {each.subject.ref.name for each in findings(RULE, scene)} == {"among", "out"}
    scene.remove("Pod", Ref("shop", "web-1"))
    assert not findings(RULE, scene)


@pytest.mark.parametrize(
    ("cidr", "found"),
    [
        ("203.0.113.0/25", False),
        ("203.0.113.0/24", False),
        ("203.0.112.0/23", True),
        ("198.51.100.0/24", True),
        ("2001:db8::/64", False),
    ],
)
def test_addresses_count_that_no_entry_of_the_identity_covers(cidr: str, *, found: bool) -> None:
    open_to = identity(
        "payments",
        ports=["https"],
        accepts=[unverified(cidrs=["203.0.113.0/25", "203.0.113.128/25"])],
    )
    scene = in_cluster(to_payments(ipBlock={"cidr": cidr}), declared=(open_to,))
    assert bool(findings(RULE, scene)) is found


def test_every_address_covers_pods_too() -> None:
    public = identity("payments", ports=["https"], accepts=[unverified(cidrs=["0.0.0.0/0"])])
    scene = in_cluster(to_payments(**ELSEWHERE), pod("batch", "legacy"), declared=(public,))
    assert not findings(RULE, scene)


def test_every_address_covers_the_pods_that_have_a_named_port() -> None:
    """No address has the port by itself."""
    egress = [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": "grpc"}]}]
    other = network_policy("other", policyTypes=["Egress"], egress=egress)
    containers = [{"name": "main", "ports": [{"name": "grpc", "containerPort": 9090}]}]
    assert shows(in_cluster(other, pod("batch", "legacy", containers=containers)))[:1] == [
        (
            "lets ServiceIdentity shop/payments reach 0.0.0.0/0, such as StatefulSet legacy/batch "
            "on 9090/TCP"
        )
    ]
    assert not shows(in_cluster(other, pod("batch", "legacy")))


def test_policy_that_only_closes_is_not_found() -> None:
    assert not findings(RULE, in_cluster(network_policy("deny", policyTypes=["Ingress", "Egress"])))


def test_pods_in_the_host_network_are_no_ends_of_a_packet() -> None:
    scene = in_cluster(to_payments(**ELSEWHERE), pod("agent", "legacy", hostNetwork=True))
    assert not findings(RULE, scene)


def test_label_of_troth_does_not_hide_a_policy_of_somebody_else() -> None:
    hidden = owned(network_policy("allow-all", ingress=[{}]), "ServiceIdentity", "payments")
    assert [each.subject.ref.name for each in findings(RULE, in_cluster(hidden))] == ["allow-all"]


def test_identity_in_observe_mode_has_nothing_that_could_be_widened() -> None:
    observed = identity("payments", ports=["https"], enforcement="Observe")
    scene = in_cluster(network_policy("allow-all", ingress=[{}]), declared=(observed,))
    assert not findings(RULE, scene)


def test_two_policies_that_open_the_same_are_both_found() -> None:
    twice = (network_policy("one", ingress=[{}]), network_policy("two", ingress=[{}]))
    names = [each.subject.ref.name for each in findings(RULE, in_cluster(*twice))]
    assert names == ["one", "two"]


def test_evidence_of_a_policy_that_opens_much_is_limited() -> None:
    declared = tuple(identity(f"service-{number:02}") for number in range(MOST_OPENINGS + 4))
    (finding,) = findings(
        RULE, in_cluster(network_policy("allow-all", ingress=[{}]), declared=declared)
    )
    assert len(finding.evidence) == MOST_OPENINGS


def test_fix_drafts_the_edges_between_identities_that_the_policy_opens() -> None:
    accepting = identity("payments", ports=["https"])
    calling = identity("web", calls=[])
    peer = {"podSelector": {"matchLabels": {"app": "web"}}}
    opens = to_payments(**peer)
    leaves = network_policy(
        "leaves",
        podSelector={"matchLabels": {"app": "web"}},
        policyTypes=["Egress"],
        egress=[{"to": [{"podSelector": {"matchLabels": {"app": "payments"}}}]}],
    )
    scene = in_cluster(opens, leaves, declared=(accepting, calling))
    for finding in findings(RULE, scene):
        fix = RULE_BY_ID[RULE].fix(scene, finding)
        assert {str(each.object): each.patch["spec"] for each in fix.patches} == {
            "ServiceIdentity shop/payments": {
                "accepts": [{"from": {"name": "web"}, "ports": ["https"]}]
            },
            "ServiceIdentity shop/web": {
                "calls": [{"to": {"name": "payments"}, "ports": ["https"]}]
            },
        }
        assert any("kubectl delete networkpolicy" in each for each in fix.steps)


def test_fix_keeps_addresses_for_a_time_and_names_peers_without_an_identity() -> None:
    scene = in_cluster(to_payments(ipBlock={"cidr": "198.51.100.0/24"}))
    (finding,) = findings(RULE, scene)
    (patch,) = RULE_BY_ID[RULE].fix(scene, finding).patches
    assert patch.patch["spec"]["accepts"][-1]["unverified"]["expiresAt"] == "2027-03-31T12:00:00Z"
    scene = in_cluster(to_payments(**ELSEWHERE), pod("batch", "legacy"))
    (finding,) = findings(RULE, scene)
    assert "StatefulSet legacy/batch" in RULE_BY_ID[RULE].fix(scene, finding).steps[0]


def test_files_are_judged_by_the_policies_that_troth_would_write() -> None:
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "payments", "namespace": "shop"},
        "spec": {"template": {"metadata": {"labels": {"app": "payments"}}, "spec": {}}},
    }
    allow_all = network_policy("allow-all", ingress=[{}])
    assert findings(RULE, files(PAYMENTS, WEB, workload, allow_all))
    assert not findings(RULE, files(PAYMENTS, WEB, workload))


def test_parties_ignore_the_revision_of_a_workload() -> None:
    scene = live()
    for revision in ("1", "2"):
        scene.put(pod("web", labels={"app": "web", "pod-template-hash": revision}))
        scene.put(pod("web", number=1, labels={"app": "web", "pod-template-hash": "1"}))
    (party,) = scene.parties()
    assert isinstance(party, Party)
    assert party.labels == {"app": "web"}


@pytest.mark.parametrize(
    "spec",
    [
        {"podSelector": []},
        {"podSelector": {"matchLabels": {"app": ["web"]}}},
        {"ingress": ["everything"]},
        {"ingress": [{"from": [{"ipBlock": {}}]}]},
        {"ingress": [{"from": [{"podSelector": {"matchExpressions": [{}]}}]}]},
    ],
)
def test_policy_in_a_file_that_cannot_be_read_does_not_hide_another(spec: Manifest) -> None:
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "payments", "namespace": "shop"},
        "spec": {"template": {"metadata": {"labels": {"app": "payments"}}, "spec": {}}},
    }
    scene = files(
        PAYMENTS,
        WEB,
        workload,
        network_policy("broken", **spec),
        network_policy("open", ingress=[{}]),
    )
    assert [each.subject.ref.name for each in findings(RULE, scene)] == ["open"]


def test_files_in_which_two_domains_claim_the_namespace_are_judged_by_the_closed_policy() -> None:
    selector = {"matchLabels": {"domain": "production"}}
    scene = files(
        domain("second", domain="second.example", namespaceSelector=selector),
        *(PAYMENTS, deployment("payments"), network_policy("all", ingress=[{}])),
    )
    assert findings(RULE, scene)
