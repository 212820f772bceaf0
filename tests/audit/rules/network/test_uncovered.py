"""Workloads without an identity, in the host network, and a network that does not enforce."""

from tests.audit.scenes import files, findings, live, pod, severities
from tests.builders import NOW, Manifest, domain, identity, stamp
from tests.messaging import broker
from troth.audit.registry import RULE_BY_ID
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.reported import Severity


def proof(peer: str = "shop/web", **more: str) -> Manifest:
    return {
        "peer": peer,
        "port": "https",
        "probe": "UndeclaredEdge",
        "expectation": "Fails",
        "result": "Disproven",
        "layer": "Network",
        "provenAt": stamp(NOW),
    } | more


def proven(name: str, *proofs: Manifest) -> Manifest:
    return identity(name) | {"status": {"proofs": list(proofs)}}


def test_uncovered_pods_are_one_finding_for_each_workload() -> None:
    scene = live(*(pod("web", number=number) for number in range(3)), pod("db"))
    subjects = [str(each.subject) for each in findings("TR601", scene)]
    assert subjects == ["StatefulSet shop/db", "StatefulSet shop/web"]


def test_uncovered_pod_is_worse_where_troth_leaves_its_traffic_open() -> None:
    assert severities("TR601", live(pod("web"))) == [Severity.MEDIUM]
    assert severities("TR601", live(pod("web"), domain(isolation="Namespace"))) == [Severity.LOW]


def test_pods_of_a_broker_need_no_identity() -> None:
    ports = [{"name": "tls", "port": 9093}]
    workload = {"podSelector": {"matchLabels": {"app": "kafka"}}, "ports": ports}
    assert findings("TR601", live(broker("orders", "shop"), pod("kafka")))
    assert not findings("TR601", live(broker("orders", "shop", workload=workload), pod("kafka")))


def test_draft_of_an_identity_is_valid_and_covers_the_pods() -> None:
    ports = [{"name": "web", "containerPort": 8080}, {"containerPort": 9090}]
    uncovered = pod("web", containers=[{"name": "main", "ports": ports}])
    scene = live(uncovered)
    (finding,) = findings("TR601", scene)
    fix = RULE_BY_ID["TR601"].fix(scene, finding)
    assert not fix.steps
    (drafted,) = fix.manifests
    declared = [port.name for port in ServiceIdentity.parse(drafted).spec.workload.ports]
    assert declared == ["web", "port-9090"]
    assert not findings("TR601", live(uncovered, drafted))


def test_draft_has_the_ports_of_both_protocols_under_different_names() -> None:
    ports = [{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]
    scene = live(pod("dns", containers=[{"name": "main", "ports": ports}]))
    (finding,) = findings("TR601", scene)
    (drafted,) = RULE_BY_ID["TR601"].fix(scene, finding).manifests
    declared = ServiceIdentity.parse(drafted).spec.workload.ports
    assert [(each.name, each.port, each.protocol) for each in declared] == [
        ("tcp-53", 53, "TCP"),
        ("udp-53", 53, "UDP"),
    ]


def test_draft_does_not_select_the_version_of_a_release() -> None:
    stable = {"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "shop"}
    versions = {"helm.sh/chart": "web-1.2.3", "app.kubernetes.io/version": "1.2.3"}
    scene = live(pod("web", labels=stable | versions))
    (finding,) = findings("TR601", scene)
    (drafted,) = RULE_BY_ID["TR601"].fix(scene, finding).manifests
    assert drafted["spec"]["workload"]["podSelector"] == {"matchLabels": stable}


def test_draft_for_the_default_service_account_brings_one_of_its_own() -> None:
    scene = live(pod("web", serviceAccountName="default"))
    (finding,) = findings("TR601", scene)
    drafted, account = RULE_BY_ID["TR601"].fix(scene, finding).manifests
    assert account["metadata"]["name"] == "web"
    assert drafted["spec"]["workload"]["serviceAccountName"] == "web"


def test_pod_without_labels_has_a_way_out() -> None:
    scene = live(pod("web", labels={}))
    (finding,) = findings("TR601", scene)
    assert RULE_BY_ID["TR601"].fix(scene, finding).steps


def test_one_reached_identity_is_no_proof_against_the_cluster_network() -> None:
    assert severities("TR604", live(proven("web", proof()))) == [Severity.HIGH]
    both = live(proven("web", proof()), proven("api", proof()))
    assert severities("TR604", both) == [Severity.CRITICAL, Severity.CRITICAL]


def test_probes_that_another_layer_stopped_or_that_declare_an_edge_do_not_count() -> None:
    others = (
        proof(layer="Token"),
        proof(result="Proven"),
        proof(result="Inconclusive"),
        proof(probe="DeclaredEdge"),
    )
    assert not findings("TR604", live(proven("web", *others)))


def test_host_network_is_found_in_a_pod_whose_controller_is_unknown() -> None:
    scene = live(identity("agent"), pod("agent", kind="Machine", hostNetwork=True))
    (finding,) = findings("TR603", scene)
    assert RULE_BY_ID["TR603"].fix(scene, finding).steps


def test_files_without_a_trust_domain_have_no_uncovered_pods() -> None:
    scene = files(pod("web", "elsewhere"))
    assert not findings("TR601", scene)
